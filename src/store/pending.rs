//! Recorded runs that are still to be sent: `pending/<trace id>` says where to and why not yet. The mark is made before
//! the first try and taken away after the last answer, so that a process that dies in between leaves it. Whoever sends
//! a run holds flock(2) on its mark.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::record::model::TraceId;

/// What a mark says. Never a secret: no headers, no user, no password, no query of the URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PendingExport {
    /// Where to, as `--otlp` takes it.
    pub url: String,
    /// Why it is still here; empty while the first try is under way.
    pub reason: String,
    /// When it was tried last, ns since the Unix epoch.
    pub at: u64,
    /// How often it was tried.
    pub tries: u32,
    /// Whether a try ended without an answer, so that it may be there already.
    pub perhaps_delivered: bool,
}

/// A mark that this process alone works on.
#[derive(Debug)]
pub struct PendingGuard {
    id: TraceId,
    path: PathBuf,
    file: File,
    mark: PendingExport,
    new: bool,
}

/// See [`Store::lock_pending`].
#[derive(Debug)]
pub enum PendingLock {
    /// This process alone works on it.
    Acquired(PendingGuard),
    /// Another process is at it.
    Busy,
    /// The run is not marked.
    NotPending,
}

impl PendingGuard {
    /// Whose.
    pub fn id(&self) -> TraceId {
        self.id
    }

    /// What it said when it was taken, or was last set to.
    pub fn mark(&self) -> &PendingExport {
        &self.mark
    }

    /// Whether there was none before.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// It stays, and says this.
    pub fn update(&mut self, mark: PendingExport) -> Result<(), StoreError> {
        let text = serde_json::to_vec(&mark).unwrap_or_default();
        // In place: whoever waits for the lock waits for this file.
        let done = self.file.rewind().and_then(|()| self.file.set_len(0)).and_then(|()| self.file.write_all(&text));
        self.mark = mark;
        done.map_err(|e| StoreError::file("write", &self.path, e))
    }

    /// It was sent, or never will be.
    pub fn remove(self) -> Result<(), StoreError> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::file("remove", &self.path, e)),
            _ => Ok(()),
        }
    }
}

impl Store {
    fn pending_path(&self, id: TraceId) -> PathBuf {
        self.path("pending").join(id.to_string())
    }

    /// Marks a run as still to be sent, and holds the mark. What an earlier mark knows about earlier tries stays.
    pub fn mark_pending(&self, id: TraceId, mark: PendingExport) -> Result<PendingLock, StoreError> {
        let dir = self.path("pending");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|e| StoreError::file("create", &dir, e))?;
        let mut lock = self.lock(id, true)?;
        if let PendingLock::Acquired(held) = &mut lock
            && held.new
        {
            held.update(mark)?;
        }
        Ok(lock)
    }

    /// Holds the mark of a run.
    pub fn lock_pending(&self, id: TraceId) -> Result<PendingLock, StoreError> {
        self.lock(id, false)
    }

    fn lock(&self, id: TraceId, make: bool) -> Result<PendingLock, StoreError> {
        let path = self.pending_path(id);
        let fail = |e: io::Error| StoreError::file("open", &path, e);
        loop {
            let opened = File::options().read(true).write(true).create(make).truncate(false).mode(0o600).open(&path);
            let mut file = match opened {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(PendingLock::NotPending),
                other => other.map_err(fail)?,
            };
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Ok(PendingLock::Busy),
                other => other.map_err(|e| fail(e.into()))?,
            }
            // Between opening and locking another process may have sent the run and removed the mark.
            if file.metadata().map_err(fail)?.nlink() == 0 {
                if make {
                    continue;
                }
                return Ok(PendingLock::NotPending);
            }
            let mut text = Vec::new();
            (&mut file).take(1 << 16).read_to_end(&mut text).map_err(fail)?;
            // One that was cut off by a crash still says that the run is to be sent.
            let mark = serde_json::from_slice(&text).unwrap_or_default();
            return Ok(PendingLock::Acquired(PendingGuard { id, path, file, mark, new: text.is_empty() }));
        }
    }

    /// What the mark of a run says just now, whoever holds it.
    pub fn read_pending(&self, id: TraceId) -> PendingExport {
        fs::read(self.pending_path(id)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// The runs that are still to be sent, in no particular order.
    pub fn pending(&self) -> Result<Vec<TraceId>, StoreError> {
        let dir = self.path("pending");
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|e| StoreError::file("read", &dir, e))?,
        };
        Ok(entries.flatten().filter_map(|e| TraceId::from_hex(e.file_name().to_str()?)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    fn held(lock: PendingLock) -> PendingGuard {
        match lock {
            PendingLock::Acquired(held) => held,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_process_at_a_time_holds_a_mark() {
        let (_dir, store) = store();
        let mark =
            PendingExport { url: "http://h".into(), reason: "down".into(), at: 7, tries: 1, perhaps_delivered: true };
        assert!(matches!(store.lock_pending(TraceId(1)).unwrap(), PendingLock::NotPending));
        let mut first = held(store.mark_pending(TraceId(1), PendingExport::default()).unwrap());
        assert!(first.is_new());
        assert!(matches!(store.lock_pending(TraceId(1)).unwrap(), PendingLock::Busy));
        assert!(matches!(store.mark_pending(TraceId(1), PendingExport::default()).unwrap(), PendingLock::Busy));
        first.update(mark.clone()).unwrap();
        first.update(mark.clone()).unwrap();
        drop(first);
        let again = held(store.mark_pending(TraceId(1), PendingExport::default()).unwrap());
        assert!(!again.is_new());
        assert_eq!(*again.mark(), mark, "what is known stays");
        assert_eq!(store.pending().unwrap(), [TraceId(1)]);
        again.remove().unwrap();
        assert_eq!(store.pending().unwrap(), []);
        assert!(matches!(store.lock_pending(TraceId(1)).unwrap(), PendingLock::NotPending));
    }

    #[test]
    fn a_damaged_mark_still_counts() {
        let (_dir, store) = store();
        drop(store.mark_pending(TraceId(1), PendingExport::default()).unwrap());
        fs::write(store.pending_path(TraceId(1)), "{\"url\":\"ht").unwrap();
        fs::write(store.path("pending").join("notes"), "").unwrap();
        assert_eq!(store.pending().unwrap(), [TraceId(1)]);
        assert_eq!(*held(store.lock_pending(TraceId(1)).unwrap()).mark(), PendingExport::default());
    }
}
