//! Blobs of which a part has arrived: `partial/<digest>`. They outlive the process that was downloading them, and the
//! next one goes on from there. Their digest is checked like that of any other when they are whole; what turns out to
//! be wrong is thrown away.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{Store, StoreError};
use crate::digest::Digest;

/// Nobody goes on with a download that was given up so long ago.
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 3600);

/// The file that this process writes a blob to, locked as long as it is open.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) path: PathBuf,
    file: File,
    /// Bytes that were there.
    pub(super) kept: u64,
}

impl Partial {
    /// For writing after what is there.
    pub(super) fn writer(&self) -> Result<File, StoreError> {
        let fail = |e| StoreError::file("write", &self.path, e);
        let mut file = self.file.try_clone().map_err(fail)?;
        file.seek(SeekFrom::Start(self.kept)).map_err(fail)?;
        Ok(file)
    }

    /// What arrives is begun anew.
    pub(super) fn empty(&mut self) -> Result<(), StoreError> {
        self.kept = 0;
        self.file.set_len(0).map_err(|e| StoreError::file("write", &self.path, e))
    }
}

impl Store {
    /// What there is of a blob of this size, for going on with it. `None` while somebody else does.
    pub(super) fn partial(&self, blob: &Digest, size: u64) -> Result<Option<Partial>, StoreError> {
        let dir = self.path("partial");
        let path = dir.join(blob.hex());
        let fail = |e| StoreError::file("write", &path, e);
        if !dir.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(fail)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fail)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(e) => return Err(fail(e.into())),
        }
        let seen = file.metadata().map_err(fail)?;
        // Whoever had the lock before may have published the file.
        if !fs::metadata(&path).is_ok_and(|m| (m.dev(), m.ino()) == (seen.dev(), seen.ino())) {
            return Ok(None);
        }
        let mut partial = Partial { path: path.clone(), file, kept: seen.len() };
        if partial.kept > size {
            partial.empty()?;
        }
        Ok(Some(partial))
    }

    /// Takes away downloads that were broken off: all of them, or those that nobody has gone on with for long. Gives
    /// the bytes.
    pub fn discard_partials(&self, all: bool) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for (_, path) in self.entries("partial") {
            bytes += discard(&path, all).map_err(|e| StoreError::file("remove", &path, e))?;
        }
        Ok(bytes)
    }
}

fn discard(path: &Path, all: bool) -> std::io::Result<u64> {
    let Ok(file) = File::open(path) else { return Ok(0) };
    let seen = file.metadata()?;
    let age = SystemTime::now().duration_since(seen.modified()?).unwrap_or_default();
    let busy = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err();
    if busy || !(all || age > FORGOTTEN) {
        return Ok(0);
    }
    fs::remove_file(path)?;
    Ok(seen.blocks() * 512)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_download_goes_on_where_it_stopped_and_only_one_does() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let blob = Digest::of(b"blob");
        let first = store.partial(&blob, 10).unwrap().unwrap();
        assert_eq!(first.kept, 0);
        first.writer().unwrap().write_all(b"01234").unwrap();
        assert!(store.partial(&blob, 10).unwrap().is_none(), "one at a time");
        assert_eq!(store.discard_partials(true).unwrap(), 0, "in use");
        drop(first);
        let second = store.partial(&blob, 10).unwrap().unwrap();
        assert_eq!(second.kept, 5);
        second.writer().unwrap().write_all(b"56789").unwrap();
        assert_eq!(fs::read(&second.path).unwrap(), b"0123456789");
        drop(second);
        assert_eq!(store.partial(&blob, 9).unwrap().unwrap().kept, 0, "longer than the blob: of another kind");
        assert_eq!(store.discard_partials(false).unwrap(), 0, "young");
        store.discard_partials(true).unwrap();
        assert_eq!(store.entries("partial").len(), 0);
    }
}
