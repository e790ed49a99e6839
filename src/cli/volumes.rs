//! `trace volume create`, `ls`, `inspect`, `rm` and `prune`.

use std::collections::BTreeMap;

use serde_json::json;

use super::args;
use super::containers::{confirmed, open};
use super::output::{To, fail, print, style};
use super::{CliError, Done};
use crate::container::options::{environment, volume};
use crate::record::time::rfc3339;
use crate::report::terminal::table;
use crate::report::units;
use crate::store::volumes::{Volume, bytes_below};
use crate::store::{Store, new_id};

/// Does what was asked for.
pub fn volume(command: &args::Volume, verbose: bool) -> Done {
    let (store, _) = open()?;
    match command {
        args::Volume::Create { name, label } => create(&store, name.as_deref(), label),
        args::Volume::Ls { quiet, json } => list(&store, *quiet, *json),
        args::Volume::Inspect { names } => inspect(&store, names, verbose),
        args::Volume::Rm { names, force } => remove(&store, names, *force, verbose),
        args::Volume::Prune { force, all } => prune(&store, *force, *all),
    }
}

fn create(store: &Store, name: Option<&str>, labels: &[String]) -> Done {
    let name = match name.filter(|n| !n.is_empty()) {
        Some(name) => volume::check_name(name.as_bytes()).map_err(CliError::Usage)?,
        None => new_id(),
    };
    let labels: BTreeMap<_, _> =
        labels.iter().map(|l| environment::label(l)).collect::<Result<_, _>>().map_err(CliError::Usage)?;
    // A volume that is there is what was asked for, as with docker. One made by hand stays until it is removed by hand.
    store.create_volume(&name, false, labels)?;
    print(format!("{name}\n"));
    Ok(0)
}

fn list(store: &Store, quiet: bool, json: bool) -> Done {
    let volumes = store.volumes();
    if quiet || json {
        for v in &volumes {
            print(if quiet { format!("{}\n", v.name) } else { format!("{}\n", described(store, v)) });
        }
        return Ok(0);
    }
    let mut rows = vec![["DRIVER", "VOLUME NAME"].map(str::to_owned).to_vec()];
    rows.extend(volumes.into_iter().map(|v| vec!["local".to_owned(), v.name]));
    print(table::table(&rows, &style(To::Stdout)));
    Ok(0)
}

/// With docker's keys.
fn described(store: &Store, volume: &Volume) -> serde_json::Value {
    json!({
        "CreatedAt": rfc3339(volume.created),
        "Driver": "local",
        "Labels": volume.labels,
        "Mountpoint": store.volume_data(&volume.name),
        "Name": volume.name,
        "Options": null,
        "Scope": "local",
    })
}

fn inspect(store: &Store, names: &[String], verbose: bool) -> Done {
    let (mut all, mut code) = (Vec::new(), 0);
    for name in names {
        match store.volume(name) {
            Ok(volume) => all.push(described(store, &volume)),
            Err(e) => {
                fail(&e, verbose);
                code = 1;
            }
        }
    }
    print(format!("{}\n", serde_json::to_string_pretty(&all).unwrap_or_default()));
    Ok(code)
}

fn remove(store: &Store, names: &[String], force: bool, verbose: bool) -> Done {
    let mut code = 0;
    for name in names {
        match store.remove_volume(name) {
            Ok(()) => print(format!("{name}\n")),
            Err(crate::store::StoreError::NoVolume(_)) if force => {}
            Err(e) => {
                fail(&e, verbose);
                code = 1;
            }
        }
    }
    Ok(code)
}

fn prune(store: &Store, force: bool, all: bool) -> Done {
    let mut unused = Vec::new();
    for volume in store.volumes().into_iter().filter(|v| all || v.anonymous) {
        if store.volume_users(&volume.name)?.is_empty() {
            unused.push(volume.name);
        }
    }
    let what = format!("This removes {} that no container uses.", units::count(unused.len() as u64, "volume"));
    if !force && !confirmed("trace volume prune", &what)? {
        return Ok(1);
    }
    let mut bytes = 0;
    for name in &unused {
        let size = bytes_below(&store.volume_data(name));
        store.remove_volume(name)?;
        bytes += size;
        print(format!("{name}\n"));
    }
    print(format!("Removed {}: {} freed\n", units::count(unused.len() as u64, "volume"), units::bytes(bytes)));
    Ok(0)
}
