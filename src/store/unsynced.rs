//! Marks on what was published before it was on storage: `unsynced/<session>+<name>`, one for each pull that made
//! something.
//!
//! A mark is on storage before anything that it lists is published. In the session that made it, it says nothing: what
//! is not on storage is in memory. In any other one, each layer that it lists is checked before it is used. It goes
//! when everything is known to be on storage: after a flush of the file system that began when the pull had ended.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::durable::{Durability, move_away};
use super::lock::Lock;
use super::{Store, StoreError, session, unique_name};
use crate::digest::Digest;

/// After so long the kernel has written what it was given, unless storage is slow (`dirty_expire_centisecs` and
/// `dirty_writeback_centisecs`: 35 s).
const WRITTEN_AFTER: Duration = Duration::from_secs(40);
/// With more than that to write for everybody on the machine, bytes, a flush is left to a later command.
const QUIET: u64 = 32 << 20;

/// What a mark lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Digest of the manifest, whose stack may have layers of its own.
    pub manifest: String,
    /// The layers.
    pub layers: Vec<ListedLayer>,
}

/// A layer that a mark lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedLayer {
    /// Digest of the unpacked tar.
    pub diff_id: String,
    /// Digest of the blob.
    pub blob: String,
    /// Bytes of the blob.
    pub size: u64,
}

/// The mark of a pull that is going on. Dropped, it stays where it is.
#[derive(Debug)]
pub struct Mark {
    path: PathBuf,
    _lock: Lock,
}

/// A mark of another session.
#[derive(Clone, Debug)]
pub struct Foreign {
    path: PathBuf,
    /// What it lists; `None` if it is damaged, so that it may be anything.
    pub listed: Option<Listed>,
}

/// A foreign mark that this process alone works on.
#[derive(Debug)]
pub struct Suspect {
    mark: Foreign,
    _lock: Lock,
}

/// Marks of this session that can be taken away after a flush.
#[derive(Debug)]
pub struct Ripe(Vec<(PathBuf, Lock)>);

impl Store {
    fn marks(&self) -> impl Iterator<Item = (String, PathBuf)> {
        let entries = fs::read_dir(self.path("unsynced")).into_iter().flatten().flatten();
        entries.filter_map(|e| {
            let name = e.file_name().into_string().ok()?;
            Some((name.split_once('+')?.0.to_owned(), e.path()))
        })
    }

    /// Whether everything has to be on storage before an image is published.
    pub fn flushes_first(&self) -> bool {
        // Without a session nobody could tell later which marks are still covered by memory.
        self.durability == Durability::Full
            || self.durability == Durability::Default && session::current(&self.path("")).is_none()
    }

    /// Marks what is about to be made.
    pub fn mark_unsynced(&self, listed: &Listed) -> Result<Mark, StoreError> {
        let dir = self.path("unsynced");
        if !dir.is_dir() {
            fs::create_dir_all(&dir).map_err(|e| StoreError::file("create", &dir, e))?;
            self.sync_directory_of(&dir)?;
        }
        let session = session::current(&self.path("")).unwrap_or_default();
        let name = format!("{session}+{}", unique_name());
        let path = dir.join(&name);
        // Under its own name at once: one that is cut off says too little, but then nothing has been published under
        // it.
        self.make_files(&dir, &[(&name, &serde_json::to_vec(listed).expect("strings and numbers"))])?;
        let lock = Lock::of_directory(&path)?;
        Ok(Mark { path, _lock: lock })
    }

    /// The marks of other sessions. On the warm path one look at an empty directory.
    pub fn foreign_marks(&self) -> Vec<Foreign> {
        let mut marks = self.marks().peekable();
        if marks.peek().is_none() {
            return Vec::new();
        }
        let own = session::current(&self.path(""));
        marks
            .filter(|(session, _)| own.as_ref() != Some(session))
            .map(|(_, path)| {
                let listed = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
                Foreign { path, listed }
            })
            .collect()
    }

    /// Takes a foreign mark to work on, waiting as long as `wait` says for another process that does. `None` if there
    /// is nothing left to do.
    pub fn suspect(&self, mark: Foreign, wait: &mut dyn FnMut() -> bool) -> Result<Option<Suspect>, StoreError> {
        loop {
            let lock = Lock::try_path(&mark.path);
            if !mark.path.exists() {
                return Ok(None);
            }
            if let Some(lock) = lock {
                return Ok(Some(Suspect { mark, _lock: lock }));
            }
            if !wait() {
                return Err(StoreError::Interrupted);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Marks of pulls that have ended and whose files the kernel has surely had time to write, if a flush would be
    /// cheap now. On the warm path one look at an empty directory.
    pub fn ripe_marks(&self) -> Option<Ripe> {
        let mut marks = self.marks().peekable();
        marks.peek()?;
        if self.durability == Durability::None {
            return None;
        }
        let own = session::current(&self.path(""))?;
        let now = SystemTime::now();
        let old = |path: &PathBuf| {
            let age = fs::metadata(path).and_then(|m| m.modified()).ok().and_then(|at| now.duration_since(at).ok());
            age.is_some_and(|age| age > WRITTEN_AFTER)
        };
        let ripe: Vec<_> = marks
            .filter(|(session, path)| *session == own && old(path))
            .filter_map(|(_, path)| Some((path.clone(), Lock::try_path(&path)?)))
            .collect();
        (!ripe.is_empty() && session::unwritten() < QUIET).then_some(Ripe(ripe))
    }

    /// Flushes the file system and takes the marks away.
    pub fn settle(&self, ripe: Ripe) -> Result<(), StoreError> {
        self.sync_all()?;
        for (path, _lock) in ripe.0 {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    /// Flushes the file system before what a mark lists is published.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.sync_all()
    }

    /// Takes a mark away after [`Store::flush`].
    pub fn unmark(&self, mark: Mark) {
        let _ = fs::remove_file(&mark.path);
    }

    /// What this mark lists was found to be whole, or is gone. Read back it was, but perhaps from the memory of a
    /// session that we cannot tell from ours, so it becomes a mark of this one, ripe at once.
    pub fn adopt(&self, suspect: Suspect) -> Result<(), StoreError> {
        let session = session::current(&self.path(""));
        let Some(session) = session else {
            self.sync_all()?;
            return fs::remove_file(&suspect.mark.path).map_err(|e| StoreError::file("remove", &suspect.mark.path, e));
        };
        let fail = |e| StoreError::file("write", &suspect.mark.path, e);
        let file = fs::File::options().write(true).open(&suspect.mark.path).map_err(fail)?;
        file.set_modified(SystemTime::UNIX_EPOCH).map_err(fail)?;
        move_away(&suspect.mark.path, &self.path("unsynced").join(format!("{session}+{}", unique_name())))
    }

    /// How files have to be looked at that may not have reached storage.
    pub fn look(&self) -> crate::layer::record::Look {
        session::look(&self.path(""))
    }
}

impl Foreign {
    /// Whether it may concern an image of these layers.
    pub fn concerns(&self, layers: &[Digest]) -> bool {
        let Some(listed) = &self.listed else { return true };
        listed.layers.iter().any(|l| Digest::parse(&l.diff_id).is_ok_and(|d| layers.contains(&d)))
    }
}

impl Suspect {
    /// What it lists.
    pub fn listed(&self) -> Option<&Listed> {
        self.mark.listed.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(byte: &str) -> Listed {
        let digest = |b: &str| format!("sha256:{}", b.repeat(64));
        let layer = ListedLayer { diff_id: digest(byte), blob: digest("b"), size: 1 };
        Listed { manifest: digest("c"), layers: vec![layer] }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    fn diff_id(byte: &str) -> Digest {
        Digest::parse(&format!("sha256:{}", byte.repeat(64))).unwrap()
    }

    /// As if the machine had been started anew.
    fn reboot(store: &Store) {
        for (_, path) in store.marks() {
            fs::rename(&path, path.with_file_name(format!("before+{}", unique_name()))).unwrap();
        }
    }

    #[test]
    fn a_mark_says_nothing_until_the_session_ends() {
        let (_dir, store) = store();
        drop(store.mark_unsynced(&listed("a")).unwrap());
        assert!(store.foreign_marks().is_empty() && store.ripe_marks().is_none());
        reboot(&store);
        let mark = store.foreign_marks().pop().unwrap();
        assert_eq!(mark.listed, Some(listed("a")));
        assert!(mark.concerns(&[diff_id("b"), diff_id("a")]) && !mark.concerns(&[diff_id("b")]));
        let suspect = store.suspect(mark.clone(), &mut || false).unwrap().unwrap();
        assert!(matches!(store.suspect(mark.clone(), &mut || false), Err(StoreError::Interrupted)), "one at a time");
        store.adopt(suspect).unwrap();
        assert!(store.foreign_marks().is_empty());
        assert!(store.suspect(mark, &mut || false).unwrap().is_none(), "another process was faster");
        assert_eq!(store.marks().count(), 1, "until it is flushed");
    }

    #[test]
    fn a_mark_goes_when_its_pull_has_ended_and_storage_has_everything() {
        let (_dir, store) = store();
        let mark = store.mark_unsynced(&listed("a")).unwrap();
        let old = SystemTime::now() - WRITTEN_AFTER - Duration::from_secs(1);
        fs::File::options().write(true).open(&mark.path).unwrap().set_modified(old).unwrap();
        assert!(store.ripe_marks().is_none(), "the pull goes on");
        drop(mark);
        // Whether the machine is quiet is not up to a test.
        let ripe = store.marks().map(|(_, path)| (path.clone(), Lock::try_path(&path).unwrap())).collect();
        store.settle(Ripe(ripe)).unwrap();
        assert_eq!(store.marks().count(), 0);
    }

    #[test]
    fn a_damaged_mark_concerns_everything() {
        let (_dir, store) = store();
        for damage in ["", "{\"manifest\":"] {
            fs::write(store.path("unsynced").join(format!("before+{}", unique_name())), damage).unwrap();
        }
        for mark in store.foreign_marks() {
            assert!(mark.concerns(&[diff_id("a")]));
            let suspect = store.suspect(mark, &mut || true).unwrap().unwrap();
            assert!(store.suspicion(&suspect).layers.is_empty());
        }
    }
}
