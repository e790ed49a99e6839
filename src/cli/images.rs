//! `trace images` and `trace image rm`.

use super::args;
use super::output::{To, print, say, style};
use super::{Done, containers};
use crate::container::privilege::Privilege;
use crate::engine::resolve::BUILTIN;
use crate::record::clock::unix_now;
use crate::registry::ImageRef;
use crate::report::terminal::table;
use crate::report::units;
use crate::store::images::Image;
use crate::store::{Store, StoreError};

/// `trace images`.
pub fn list(args: &args::Images) -> Done {
    let store = Store::open(&Store::default_root()?)?;
    let mut images = store.images()?;
    images.sort_by_key(|i| std::cmp::Reverse(i.pulled));
    if args.json {
        for image in &images {
            print(format!("{}\n", json(image)));
        }
        return Ok(0);
    }
    let mut rows =
        vec![["REPOSITORY", "TAG", "HUB", "PLATFORM", "IMAGE ID", "PULLED", "SIZE"].map(str::to_owned).to_vec()];
    for image in &images {
        let (repository, tag, hub) = names(image);
        rows.push(vec![
            repository,
            tag,
            hub,
            image.stack.platform.clone(),
            id(image),
            units::ago(image.pulled, unix_now()),
            units::bytes(size(image)),
        ]);
    }
    print(table::table(&rows, &style(To::Stdout)));
    Ok(0)
}

fn id(image: &Image) -> String {
    image.stack.config.trim_start_matches("sha256:").chars().take(12).collect()
}

fn size(image: &Image) -> u64 {
    image.stack.layers.iter().map(|l| l.unpacked).sum()
}

/// Repository and tag as docker shows them, and where the image came from.
fn names(image: &Image) -> (String, String, String) {
    let (name, builtin) = match image.name.strip_prefix(BUILTIN).and_then(|n| n.strip_prefix('/')) {
        Some(rest) => (format!("docker.io/{rest}"), true),
        None => (image.name.clone(), false),
    };
    match ImageRef::parse(&name) {
        Ok(r) => {
            let hub = if builtin { BUILTIN } else { r.registry() };
            (r.familiar_name(), r.tag().unwrap_or("<none>").to_owned(), hub.to_owned())
        }
        Err(_) => (name, "<none>".into(), String::new()),
    }
}

fn json(image: &Image) -> serde_json::Value {
    let (repository, tag, hub) = names(image);
    serde_json::json!({
        "name": image.name,
        "repository": repository,
        "tag": tag,
        "hub": hub,
        "platform": image.stack.platform,
        "id": image.stack.config,
        "manifest": image.manifest.to_string(),
        "digest": image.tag_digest,
        "pulled_unix_ns": image.pulled,
        "size": size(image),
        "layers": image.stack.layers,
    })
}

/// `trace image rm`.
pub fn remove(names: &[String], force: bool) -> Done {
    let place = Store::default_root()?;
    // The files of an ordinary user's images can belong to other ids of its user namespace.
    let _ = Privilege::acquire();
    let store = Store::open(&place)?;
    let mut removed = Vec::new();
    for name in names {
        let wanted = ImageRef::parse(name)?.canonical();
        let builtin = wanted.strip_prefix("docker.io/").map(|rest| format!("{BUILTIN}/{rest}"));
        let keys: Vec<String> = [Some(wanted), builtin].into_iter().flatten().collect();
        let matching: Vec<Image> = store.images()?.into_iter().filter(|i| keys.contains(&i.name)).collect();
        if matching.is_empty() {
            return Err(StoreError::NoImage(name.clone()).into());
        }
        for image in &matching {
            let used = store.containers()?.into_iter().find(|c| c.state.manifest == image.manifest.to_string());
            match used {
                Some(c) if c.running || !force => {
                    return Err(StoreError::InUse { image: name.clone(), container: c.state.name }.into());
                }
                _ => {}
            }
            store.forget_image(&image.name, None)?;
            let still = store.images()?.iter().any(|i| i.stack.config == image.stack.config);
            let deleted = (!still).then(|| format!("Deleted: {}", image.stack.config));
            let (repository, tag, _) = self::names(image);
            removed.push(format!("Untagged: {repository}:{tag}"));
            removed.extend(deleted);
        }
    }
    let collected = store.collect(&mut containers::patience())?;
    print(format!("{}\n", removed.join("\n")));
    say(&format!("{} removed, {} freed", units::count(collected.layers, "layer"), units::bytes(collected.bytes)));
    Ok(0)
}
