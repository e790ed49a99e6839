//! Volumes: directories that outlive the containers that use them.
//!
//! `volumes/<name>/_data` is what containers see, `volumes/<name>/volume.json` says whose it is. Which containers use
//! one is told by their own state, so nothing has to be counted.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::durable::move_away;
use super::lock::Lock;
use super::{Maker, Store, StoreError, read_json, remove_tree};
use crate::layer::Flavor;
use crate::layer::stack::copy_tree;
use crate::record::clock::unix_now;

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// As its users name it.
    pub name: String,
    /// Made at, nanoseconds since the Unix epoch.
    pub created: u64,
    /// Made for one container, without a name given to it.
    pub anonymous: bool,
    /// Given by the user.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl Store {
    /// Where a volume's files are.
    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.path("volumes").join(name).join("_data")
    }

    /// Makes a volume if there is none of that name; whether it made it. The name has been checked.
    pub fn create_volume(
        &self,
        name: &str,
        anonymous: bool,
        labels: BTreeMap<String, String>,
    ) -> Result<bool, StoreError> {
        let path = self.path("volumes").join(name);
        if path.join("volume.json").exists() {
            return Ok(false);
        }
        let all = self.path("volumes");
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(&all).map_err(|e| StoreError::file("create", &all, e))?;
        let tmp = self.tmp()?;
        let volume = Volume { name: name.to_owned(), created: unix_now(), anonymous, labels };
        let data = tmp.path().join("_data");
        fs::create_dir(&data)
            .and_then(|()| {
                // Nothing that the store's own directory gives to what is made in it.
                let _ = rustix::fs::removexattr(&data, "system.posix_acl_default");
                super::set_mode(&data, 0o755)
            })
            .map_err(|e| StoreError::file("create", &path, e))?;
        self.make_files(tmp.path(), &[("volume.json", &serde_json::to_vec(&volume).expect("strings and numbers"))])?;
        match tmp.rename(&path) {
            Ok(_) => self.sync_directory(&all).map(|()| true),
            // Another process was faster.
            Err(_) if path.join("volume.json").exists() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Gives an empty volume what the image has at its place, with the directory's owner and mode. Two containers that
    /// start at once with the same new volume do it once.
    pub fn fill_volume(&self, name: &str, from: &OwnedFd) -> Result<bool, StoreError> {
        let data = self.volume_data(name);
        let fail = |e| StoreError::file("fill", &data, e);
        let _alone = Lock::exclusive(&self.path(format!("locks/volume-{name}")))?;
        if fs::read_dir(&data).map_err(fail)?.next().is_some() {
            return Ok(false);
        }
        let to = rustix::fs::openat(CWD, &data, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| fail(e.into()))?;
        let flavor = if self.maker == Some(Maker::Root) { Flavor::Trusted } else { Flavor::User };
        copy_tree(from, &to, flavor).map_err(|e| fail(e.into()))?;
        Ok(true)
    }

    /// All volumes by name.
    pub fn volumes(&self) -> Vec<Volume> {
        let entries = fs::read_dir(self.path("volumes")).into_iter().flatten().flatten();
        let mut all: Vec<Volume> =
            entries.filter_map(|e| read_json(&e.path().join("volume.json")).ok().flatten()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The volume of this name.
    pub fn volume(&self, name: &str) -> Result<Volume, StoreError> {
        let found = if name.contains('/') || name.starts_with('.') {
            None
        } else {
            read_json(&self.path("volumes").join(name).join("volume.json"))?
        };
        found.ok_or_else(|| StoreError::NoVolume(name.to_owned()))
    }

    /// Ids of the containers that use a volume.
    pub fn volume_users(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let uses = |c: &super::containers::Listed| c.state.mounts.iter().any(|m| m.volume.as_deref() == Some(name));
        Ok(self.containers()?.into_iter().filter(uses).map(|c| c.state.id).collect())
    }

    /// Removes a volume that no container uses.
    pub fn remove_volume(&self, name: &str) -> Result<(), StoreError> {
        let volume = self.volume(name)?;
        let users = self.volume_users(&volume.name)?;
        if !users.is_empty() {
            let by = users.iter().map(|id| id.get(..12).unwrap_or(id)).collect::<Vec<_>>().join(", ");
            return Err(StoreError::VolumeInUse { name: volume.name, by });
        }
        self.discard_volume(&volume.name)
    }

    /// Removes a volume whoever uses it: renamed out of sight first, so that nobody finds half of it.
    pub(super) fn discard_volume(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path("volumes").join(name);
        let trash = self.tmp()?;
        move_away(&path, &trash.path().join("volume"))?;
        let _ = fs::remove_file(self.path(format!("locks/volume-{name}")));
        remove_tree(&trash.path().join("volume")).map_err(|e| StoreError::file("remove", &path, e))
    }
}

/// Bytes on disk of everything below `path`.
pub fn bytes_below(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    let mut todo = vec![path.to_owned()];
    while let Some(path) = todo.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        bytes += meta.blocks() * 512;
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
        }
    }
    bytes
}
