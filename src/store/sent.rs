//! Which runs an address has been sent: `sent/<hash of the address>`, so that `trace export --all` goes on where it was
//! interrupted and sends nothing twice. One id a line after a line with the address; appended by whoever has sent a
//! run, and with `-` before it by who adds spans to a trace.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{Store, StoreError};
use crate::digest::Digest;
use crate::record::model::TraceId;

/// Over this size, bytes, the ids of runs that are no longer recorded are dropped.
const LARGE: u64 = 1 << 20;

/// The ids of the runs that an address has been sent.
#[derive(Debug)]
pub struct SentLog {
    path: PathBuf,
    file: File,
    ids: HashSet<TraceId>,
    /// So much of the file has been read.
    read: u64,
}

impl Store {
    fn sent_path(&self, url: &str) -> PathBuf {
        self.path("sent").join(Digest::of(url.as_bytes()).short())
    }

    fn sent_file(&self, url: &str) -> Result<(PathBuf, File), StoreError> {
        let path = self.sent_path(url);
        let open = || File::options().read(true).append(true).create(true).mode(0o600).open(&path);
        let file = match open() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(self.path("sent"));
                made.and_then(|()| open())
            }
            other => other,
        };
        let mut file = file.map_err(|e| StoreError::file("open", &path, e))?;
        // The address for whoever reads the file; two that do this at once do no harm.
        if file.metadata().is_ok_and(|m| m.len() == 0) {
            file.write_all(format!("# {url}\n").as_bytes()).map_err(|e| StoreError::file("write", &path, e))?;
        }
        Ok((path, file))
    }

    /// Notes that `url` has been sent these runs.
    pub fn note_sent(&self, url: &str, ids: &[TraceId]) -> Result<(), StoreError> {
        let (path, file) = self.sent_file(url)?;
        append(&file, ids).map_err(|e| StoreError::file("write", &path, e))
    }

    /// Notes that a recorded trace has got spans that no address has been sent.
    pub fn note_grown(&self, id: TraceId) -> Result<(), StoreError> {
        for entry in fs::read_dir(self.path("sent")).into_iter().flatten().flatten() {
            let path = entry.path();
            let file = File::options().append(true).open(&path).map_err(|e| StoreError::file("open", &path, e))?;
            (&file).write_all(format!("-{id}\n").as_bytes()).map_err(|e| StoreError::file("write", &path, e))?;
        }
        Ok(())
    }

    /// An address that has been sent this run.
    pub fn sent_to(&self, id: TraceId) -> Option<String> {
        let id = id.to_string();
        fs::read_dir(self.path("sent")).into_iter().flatten().flatten().find_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            let mut lines = text.lines();
            let url = lines.next()?.strip_prefix("# ")?.to_owned();
            lines.any(|line| line == id).then_some(url)
        })
    }

    /// What `url` has been sent, locked for this process alone. `None` if another one holds the lock.
    pub fn sent_log(&self, url: &str) -> Result<Option<SentLog>, StoreError> {
        let (path, file) = self.sent_file(url)?;
        let fail = |e: io::Error| StoreError::file("read", &path, e);
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            other => other.map_err(|e| fail(e.into()))?,
        }
        let mut sent = SentLog { path: path.clone(), file, ids: HashSet::new(), read: 0 };
        sent.refresh()?;
        if sent.read > LARGE {
            sent.ids.retain(|id| self.trace_path(*id).exists());
            sent.file.set_len(0).map_err(fail)?;
            let ids: Vec<TraceId> = sent.ids.iter().copied().collect();
            (&sent.file).write_all(format!("# {url}\n").as_bytes()).map_err(fail)?;
            append(&sent.file, &ids).map_err(fail)?;
            sent.read = sent.file.metadata().map_err(fail)?.len();
        }
        Ok(Some(sent))
    }
}

fn append(mut file: &File, ids: &[TraceId]) -> io::Result<()> {
    // One write: lines of several processes don't mix.
    let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
    file.write_all(text.as_bytes())
}

impl SentLog {
    fn refresh(&mut self) -> Result<(), StoreError> {
        let fail = |e: io::Error| StoreError::file("read", &self.path, e);
        if self.file.metadata().map_err(fail)?.len() == self.read {
            return Ok(());
        }
        let mut text = Vec::new();
        self.file.seek(SeekFrom::Start(self.read)).map_err(fail)?;
        (&self.file).read_to_end(&mut text).map_err(fail)?;
        // A line that is being written is read the next time.
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        for line in String::from_utf8_lossy(&text[..whole]).lines() {
            match line.strip_prefix('-').map(TraceId::from_hex) {
                Some(grown) => drop(grown.map(|id| self.ids.remove(&id))),
                None => self.ids.extend(TraceId::from_hex(line)),
            }
        }
        self.read += whole as u64;
        Ok(())
    }

    /// Whether the address has been sent this run, as far as anybody has noted by now.
    pub fn has(&mut self, id: TraceId) -> Result<bool, StoreError> {
        self.refresh()?;
        Ok(self.ids.contains(&id))
    }

    /// Notes that it has been sent these.
    pub fn add(&mut self, ids: &[TraceId]) -> Result<(), StoreError> {
        append(&self.file, ids).map_err(|e| StoreError::file("write", &self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_knows_what_it_has_had() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.note_sent("http://a", &[TraceId(1)]).unwrap();
        let mut sent = store.sent_log("http://a").unwrap().unwrap();
        assert!(store.sent_log("http://a").unwrap().is_none(), "one at a time");
        assert!(sent.has(TraceId(1)).unwrap() && !sent.has(TraceId(2)).unwrap());
        store.note_sent("http://a", &[TraceId(2)]).unwrap();
        sent.add(&[TraceId(3)]).unwrap();
        assert!(sent.has(TraceId(2)).unwrap() && sent.has(TraceId(3)).unwrap(), "what others note meanwhile");
        drop(sent);
        assert!(!store.sent_log("http://b").unwrap().unwrap().has(TraceId(1)).unwrap());
    }

    #[test]
    fn a_trace_that_grew_is_sent_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.note_sent("http://a", &[TraceId(1), TraceId(2)]).unwrap();
        assert_eq!(store.sent_to(TraceId(2)).as_deref(), Some("http://a"));
        assert!(store.sent_to(TraceId(3)).is_none());
        store.note_grown(TraceId(1)).unwrap();
        let mut sent = store.sent_log("http://a").unwrap().unwrap();
        assert!(!sent.has(TraceId(1)).unwrap() && sent.has(TraceId(2)).unwrap());
        sent.add(&[TraceId(1)]).unwrap();
        assert!(sent.has(TraceId(1)).unwrap());
    }

    #[test]
    fn a_large_file_loses_what_is_no_longer_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.keep_trace(TraceId(7), "{}").unwrap();
        store.note_sent("u", &(1..40_000).map(TraceId).collect::<Vec<_>>()).unwrap();
        let mut sent = store.sent_log("u").unwrap().unwrap();
        assert!(sent.has(TraceId(7)).unwrap() && !sent.has(TraceId(8)).unwrap());
        store.note_sent("u", &[TraceId(8)]).unwrap();
        assert!(sent.has(TraceId(8)).unwrap());
        assert!(fs::metadata(store.sent_path("u")).unwrap().len() < 200);
    }
}
