//! The only way to a name in the store: a file's content is on storage before the rename that publishes it, and the
//! directory after. What a power cut leaves is then the old or the new, never a part.
//!
//! The files of layers and their blobs are too many for that. They are covered by a mark, see [`unsynced`](super::unsynced).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::FlockOperation;

use super::lock::Lock;
use super::{Store, StoreError, Tmp, unique_name};

/// What a power cut may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is flushed: for stores that do not outlive the machine.
    None,
    /// Everything that says what is in the store is on storage before a command ends. Files of layers are written when
    /// the kernel sees fit; what is lost is noticed and pulled again.
    #[default]
    Default,
    /// Everything is on storage before a command says that an image was pulled.
    Full,
}

impl Durability {
    /// The words of `--durability`.
    pub const NAMES: [&str; 3] = ["none", "default", "full"];

    /// As given to `--durability`.
    pub fn parse(text: &str) -> Option<Self> {
        [Durability::None, Durability::Default, Durability::Full]
            .into_iter()
            .zip(Self::NAMES)
            .find_map(|(durability, name)| (name == text).then_some(durability))
    }
}

impl Store {
    /// Writes a file of the store. Readers see the old content or the new one, also after a power cut; what a killed
    /// process leaves is in `tmp/`.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        self.write_file(path, content, true)?;
        self.sync_directory_of(path)
    }

    /// The same for what may be lost, or be empty, after a power cut: recorded runs, the state of a container that
    /// goes with its process. It costs a warm run nothing.
    pub fn write_unsynced(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        self.write_file(path, content, false)
    }

    /// Without the directory; for several files in one directory, or in one that is published itself.
    pub(super) fn write_file(&self, path: &Path, content: &[u8], synced: bool) -> Result<(), StoreError> {
        let fail = |e| StoreError::file("write", path, e);
        let gate = Lock::shared(&self.path("locks/create"))?;
        let tmp = self.path("tmp").join(unique_name());
        let file = File::create_new(&tmp).map_err(fail)?;
        let done = rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(io::Error::from).and_then(|()| {
            drop(gate);
            (&file).write_all(content)?;
            if synced {
                self.sync_file(&file)?;
            }
            fs::rename(&tmp, path)
        });
        done.map_err(|e| {
            let _ = fs::remove_file(&tmp);
            fail(e)
        })
    }

    /// Makes a file in a directory that is still to be published.
    pub(super) fn make_file(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        let make = || {
            let mut file = File::create_new(path)?;
            file.write_all(content)?;
            self.sync_file(&file)
        };
        make().map_err(|e| StoreError::file("write", path, e))
    }

    pub(super) fn sync_file(&self, file: &File) -> io::Result<()> {
        if self.durability == Durability::None { Ok(()) } else { file.sync_all() }
    }

    /// Makes the names in a directory last.
    pub(super) fn sync_directory(&self, path: &Path) -> Result<(), StoreError> {
        File::open(path).and_then(|dir| self.sync_file(&dir)).map_err(|e| StoreError::file("write to storage", path, e))
    }

    pub(super) fn sync_directory_of(&self, path: &Path) -> Result<(), StoreError> {
        path.parent().map_or(Ok(()), |dir| self.sync_directory(dir))
    }

    /// Flushes the whole file system that the store is on.
    pub(super) fn sync_all(&self) -> Result<(), StoreError> {
        let fail = |e| StoreError::file("write to storage", &self.path(""), e);
        let root = File::open(self.path("")).map_err(fail)?;
        rustix::fs::syncfs(&root).map_err(|e| fail(e.into()))
    }

    /// Moves something to where it is removed when the value is dropped, if there is anything.
    pub(super) fn set_aside(&self, path: &Path) -> Result<Option<Tmp>, StoreError> {
        let tmp = self.tmp()?;
        match fs::rename(path, tmp.path().join("old")) {
            Ok(()) => Ok(Some(tmp)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::file("replace", path, e)),
        }
    }
}

/// Publishes what was made in `tmp/`, its content being on storage or marked. The caller syncs the directory.
pub(super) fn publish(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|e| StoreError::file("create", to, e))
}

/// Moves something out of its place.
pub(super) fn move_away(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|e| StoreError::file("remove", from, e))
}
