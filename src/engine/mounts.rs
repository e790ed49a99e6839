//! What is mounted into a container: what the user asks for, what other containers have, and the volumes of its image.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Context, EngineError, MountOptions};
use crate::container::ContainerError;
use crate::container::mounts::{self, Ready, Rules};
use crate::container::options::clean;
use crate::container::options::volume::{Bind, MountRequest, Propagation, Source, Volume};
use crate::container::settings::{Powers, device_nodes};
use crate::layer::RawPath;
use crate::names::{attr, span};
use crate::record::Stage;
use crate::registry::RunConfig;
use crate::stage;
use crate::store::containers::Mounted;
use crate::store::new_id;

/// A mount that will be made.
pub struct Chosen {
    request: MountRequest,
    /// Name of the volume, if it is one.
    volume: Option<String>,
    /// The volume goes with the container.
    anonymous: bool,
}

impl Chosen {
    fn new(request: MountRequest) -> Self {
        let (volume, anonymous) = match &request.source {
            Source::Volume(Volume { name: Some(name), .. }) => (Some(name.clone()), false),
            Source::Volume(_) => (Some(new_id()), true),
            _ => (None, false),
        };
        Chosen { request, volume, anonymous }
    }

    /// What others need to know of it; nothing of a tmpfs, which is nobody else's.
    pub fn known(&self) -> Option<Mounted> {
        let host = match &self.request.source {
            Source::Bind(bind) => Some(RawPath::from(bind.path.as_os_str().as_bytes())),
            Source::Volume(_) => None,
            Source::Tmpfs(_) => return None,
        };
        Some(Mounted {
            target: RawPath::from(self.request.target.as_os_str().as_bytes()),
            volume: self.volume.clone(),
            anonymous: self.anonymous,
            host,
            read_only: self.request.read_only,
        })
    }
}

/// Settles what is mounted where. What the user asks for wins over what other containers have, and that over the image.
pub fn choose(context: &Context<'_>, options: &MountOptions, config: &RunConfig) -> Result<Vec<Chosen>, EngineError> {
    let mut by_target: BTreeMap<PathBuf, Chosen> = BTreeMap::new();
    for request in &options.requests {
        let chosen = Chosen::new(request.clone());
        if let Some(before) = by_target.insert(request.target.clone(), chosen) {
            // Of two tmpfs on one path docker takes the later.
            let both = matches!((&before.request.source, &request.source), (Source::Tmpfs(_), Source::Tmpfs(_)));
            if !both {
                return Err(ContainerError::DuplicateMount { target: request.target.clone() }.into());
            }
        }
    }
    for from in &options.volumes_from {
        for mounted in &context.store.container(&from.container)?.state.mounts {
            let chosen = taken_over(mounted, from.read_only);
            by_target.entry(chosen.request.target.clone()).or_insert(chosen);
        }
    }
    for target in config.volumes.keys() {
        let target = PathBuf::from(OsString::from_vec(clean(target.as_bytes())));
        if target == Path::new("/") {
            continue;
        }
        let request =
            MountRequest { source: Source::Volume(Volume::anonymous()), target: target.clone(), read_only: false };
        by_target.entry(target).or_insert_with(|| Chosen::new(request));
    }
    Ok(by_target.into_values().collect())
}

fn taken_over(mounted: &Mounted, read_only: bool) -> Chosen {
    let path = |raw: &RawPath| PathBuf::from(OsString::from_vec(raw.0.clone()));
    let source = match &mounted.host {
        Some(host) => Source::Bind(Bind {
            path: path(host),
            create: true,
            propagation: Propagation::default(),
            recursive: true,
            read_only_below: true,
        }),
        None => Source::Volume(Volume { name: mounted.volume.clone(), ..Volume::anonymous() }),
    };
    Chosen {
        request: MountRequest { source, target: path(&mounted.target), read_only: mounted.read_only || read_only },
        volume: mounted.volume.clone(),
        anonymous: mounted.anonymous,
    }
}

/// Makes the mounts ready (`volume.mount`), those nearest to the root first.
pub fn prepare(
    context: &Context<'_>,
    chosen: &[Chosen],
    rootfs: &OwnedFd,
    rules: Rules,
    parent: &Stage,
) -> Result<Vec<Ready>, EngineError> {
    let mut ready = Vec::with_capacity(chosen.len());
    for one in chosen {
        let stage = stage!(span::VOLUME_MOUNT, in parent);
        let kind = match one.request.source {
            Source::Bind(_) => "bind",
            Source::Volume(_) => "volume",
            Source::Tmpfs(_) => "tmpfs",
        };
        stage.set(attr::MOUNT_TYPE, kind);
        stage.set(attr::MOUNT_READ_ONLY, one.request.read_only);
        ready.push(stage.clone().end(make_ready(context, one, rootfs, rules, &stage))?);
    }
    ready.sort_by_key(Ready::depth);
    Ok(ready)
}

fn make_ready(
    context: &Context<'_>,
    chosen: &Chosen,
    rootfs: &OwnedFd,
    rules: Rules,
    stage: &Stage,
) -> Result<Ready, EngineError> {
    let MountRequest { source, target, read_only } = &chosen.request;
    let in_image = || {
        mounts::image_directory(rootfs, target).map_err(|source| ContainerError::File {
            action: "open the image's",
            path: target.clone(),
            source,
        })
    };
    Ok(match source {
        Source::Bind(bind) => mounts::bind(bind, target, *read_only, rules)?,
        Source::Tmpfs(tmpfs) => {
            // It takes the mode of what it covers, as runc does.
            let mode = in_image()?.and_then(|fd| std::fs::File::from(fd).metadata().ok()).map(|m| m.mode() & 0o7777);
            mounts::tmpfs(tmpfs, target, *read_only, mode, rules)?
        }
        Source::Volume(volume) => {
            let name = chosen.volume.as_deref().expect("every volume has been given a name");
            let labels = volume.labels.iter().cloned().collect();
            stage.set(attr::VOLUME_CREATED, context.store.create_volume(name, chosen.anonymous, labels)?);
            if volume.copy
                && let Some(directory) = in_image()?
            {
                stage.set(attr::VOLUME_FILLED, context.store.fill_volume(name, &directory)?);
            }
            let data = context.store.volume_data(name);
            mounts::volume(&data, volume.subpath.as_deref(), target, *read_only, rules)?
        }
    })
}

/// Devices that the container gets; all there are for a privileged one.
pub fn devices(powers: &Powers) -> Result<Vec<Ready>, EngineError> {
    let mut ready = Vec::new();
    let nodes =
        |path: &Path| device_nodes(path).map_err(|source| ContainerError::Device { path: path.to_owned(), source });
    if powers.privileged {
        for node in nodes(Path::new("/dev"))? {
            // One that has gone meanwhile is missed by nobody.
            ready.extend(mounts::device(&node, &node));
        }
    }
    for device in &powers.devices {
        for node in nodes(&device.host)? {
            let below = node.strip_prefix(&device.host).unwrap_or(Path::new(""));
            let target = if below == Path::new("") { device.container.clone() } else { device.container.join(below) };
            ready.push(mounts::device(&node, &target)?);
        }
    }
    Ok(ready)
}
