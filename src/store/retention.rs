//! How many recorded runs are kept: the directory must not grow without bound.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::pending::PendingLock;
use super::traces::{SUFFIX, id_of};
use super::{Store, StoreError};

/// What is kept; the newest run of each image and kind always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest.
    pub runs: usize,
    /// As many of the newest as fit into so many bytes.
    pub bytes: u64,
    /// Those that are not older.
    pub age: Duration,
}

impl Default for Keep {
    /// The newest 10,000 as long as they fit into 1 GiB, of any age.
    fn default() -> Self {
        Keep { runs: 10_000, bytes: 1 << 30, age: Duration::MAX }
    }
}

impl Keep {
    /// Everything.
    pub const ALL: Keep = Keep { runs: usize::MAX, bytes: u64::MAX, age: Duration::MAX };

    /// Whether there is too much is looked up once in so many runs: with 10,000 files it takes some milliseconds.
    pub const SELDOM: u64 = 128;

    /// `all`, or limits with commas between: a number of runs, a size (`500MB`, `1GiB`), an age (`12h`, `30d`). What
    /// isn't named keeps its default.
    pub fn parse(text: &str) -> Result<Keep, String> {
        if text.trim() == "all" {
            return Ok(Keep::ALL);
        }
        let mut keep = Keep::default();
        for part in text.split(',').map(str::trim) {
            let split = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            let (number, unit) = part.split_at(split);
            let wrong = || {
                format!(
                    "`{part}` is no limit for recorded runs: expected a number of runs, a size such as `500MB` or `1GiB`, an age such as `30d`, or `all`"
                )
            };
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let times = |factor: u64| number.checked_mul(factor).ok_or_else(wrong);
            match unit.trim() {
                "" => keep.runs = usize::try_from(number).map_err(|_| wrong())?,
                "kB" => keep.bytes = times(1000)?,
                "MB" => keep.bytes = times(1_000_000)?,
                "GB" => keep.bytes = times(1_000_000_000)?,
                "KiB" => keep.bytes = times(1 << 10)?,
                "MiB" => keep.bytes = times(1 << 20)?,
                "GiB" => keep.bytes = times(1 << 30)?,
                "m" => keep.age = Duration::from_secs(times(60)?),
                "h" => keep.age = Duration::from_secs(times(3600)?),
                "d" => keep.age = Duration::from_secs(times(86_400)?),
                _ => return Err(wrong()),
            }
        }
        Ok(keep)
    }
}

/// What was taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// So many runs.
    pub runs: usize,
    /// With so many bytes.
    pub bytes: u64,
    /// So many of them were still to be sent to a tracing back end.
    pub unsent: usize,
}

impl Store {
    /// Takes away recorded runs beyond the limits, the oldest first. Others may do the same meanwhile. Those that are
    /// still to be sent go like the others, for a back end that never comes must not fill the disk; but they are
    /// counted.
    pub fn prune_traces(&self, keep: &Keep) -> Result<Pruned, StoreError> {
        let pinned: HashSet<PathBuf> = self.newest_runs().map(|id| self.trace_path(id)).collect();
        let mut pruned = Pruned::default();
        for (path, size) in prune(&self.path("traces"), SUFFIX, keep, &pinned)? {
            pruned.runs += 1;
            pruned.bytes += size;
            if let Some(id) = id_of(&path)
                && let PendingLock::Acquired(held) = self.lock_pending(id)?
            {
                pruned.unsent += 1;
                held.remove()?;
            }
        }
        // A bench's file is of no use without its runs, and small.
        let benches = self.path("bench");
        if benches.is_dir() {
            prune(&benches, ".json", &Keep { runs: keep.runs.min(1000), ..*keep }, &HashSet::new())?;
        }
        Ok(pruned)
    }
}

/// Gives what it took away, with sizes in bytes.
fn prune(dir: &Path, suffix: &str, keep: &Keep, pinned: &HashSet<PathBuf>) -> Result<Vec<(PathBuf, u64)>, StoreError> {
    let entries = fs::read_dir(dir).map_err(|e| StoreError::file("read", dir, e))?;
    let mut all: Vec<(SystemTime, PathBuf, u64)> = entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().ends_with(suffix))
        .filter_map(|e| {
            let meta = e.metadata().ok()?;
            Some((meta.modified().ok()?, e.path(), meta.len()))
        })
        .collect();
    all.sort_by(|a, b| b.cmp(a));
    let now = SystemTime::now();
    let (mut bytes, mut gone) = (0u64, Vec::new());
    for (i, (at, path, size)) in all.into_iter().enumerate() {
        bytes = bytes.saturating_add(size);
        // A file from the future is not old.
        let old = now.duration_since(at).is_ok_and(|age| age > keep.age);
        if (i < keep.runs && bytes <= keep.bytes && !old) || pinned.contains(&path) {
            continue;
        }
        match fs::remove_file(&path) {
            Ok(()) => gone.push((path, size)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(StoreError::file("remove", &path, e)),
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::super::pending::PendingExport;
    use super::*;
    use crate::record::model::TraceId;

    /// That of the run number `i`. Zero is no id.
    fn id(i: u64) -> TraceId {
        TraceId(u128::from(i) + 1)
    }

    fn store_with(n: u64) -> (tempfile::TempDir, Store, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let paths: Vec<PathBuf> = (0..n)
            .map(|i| {
                let path = store.path("traces").join(format!("{}{SUFFIX}", id(i)));
                let file = fs::File::create(&path).unwrap();
                file.set_len(100).unwrap();
                // The higher, the older.
                file.set_modified(SystemTime::now() - Duration::from_secs(60 * i)).unwrap();
                path
            })
            .collect();
        (dir, store, paths)
    }

    fn pruned(store: &Store, keep: &Keep) -> (usize, u64, usize) {
        let Pruned { runs, bytes, unsent } = store.prune_traces(keep).unwrap();
        (runs, bytes, unsent)
    }

    fn left(paths: &[PathBuf]) -> Vec<usize> {
        (0..paths.len()).filter(|i| paths[*i].exists()).collect()
    }

    #[test]
    fn the_newest_stay() {
        let (_dir, store, paths) = store_with(10);
        assert_eq!(pruned(&store, &Keep::default()), (0, 0, 0));
        let past = super::super::alike::Past { id: id(9), wall_ns: 1, pull_ns: 0 };
        store.note_run("image", "cold", "key", past).unwrap();
        assert_eq!(pruned(&store, &Keep { runs: 7, ..Keep::ALL }), (2, 200, 0));
        assert_eq!(left(&paths), [0, 1, 2, 3, 4, 5, 6, 9], "the newest cold run of an image stays");
        assert_eq!(pruned(&store, &Keep { bytes: 450, ..Keep::ALL }), (3, 300, 0));
        assert_eq!(left(&paths), [0, 1, 2, 3, 9]);
        assert_eq!(pruned(&store, &Keep { age: Duration::from_secs(90), ..Keep::ALL }), (2, 200, 0));
        assert_eq!(left(&paths), [0, 1, 9]);
        assert_eq!(pruned(&store, &Keep { runs: 0, ..Keep::ALL }), (2, 200, 0));
        assert_eq!(left(&paths), [9]);
    }

    #[test]
    fn what_was_still_to_be_sent_is_counted() {
        let (_dir, store, paths) = store_with(3);
        for run in [0, 2] {
            drop(store.mark_pending(id(run), PendingExport::default()).unwrap());
        }
        assert_eq!(pruned(&store, &Keep { runs: 1, ..Keep::ALL }), (2, 200, 1));
        assert_eq!((left(&paths), store.pending().unwrap()), (vec![0], vec![id(0)]));
    }

    #[test]
    fn what_is_not_a_trace_is_not_touched() {
        let (_dir, store, _) = store_with(3);
        let other = store.path("traces/notes.txt");
        fs::write(&other, "mine").unwrap();
        store.prune_traces(&Keep { runs: 0, ..Keep::ALL }).unwrap();
        assert!(other.exists());
    }

    #[test]
    fn limits() {
        let keep = Keep::parse("100, 2MiB,30d").unwrap();
        assert_eq!(keep, Keep { runs: 100, bytes: 2 << 20, age: Duration::from_secs(30 * 86_400) });
        assert_eq!(Keep::parse("5").unwrap(), Keep { runs: 5, ..Keep::default() });
        assert_eq!(Keep::parse("all").unwrap(), Keep::ALL);
        for bad in ["", "x", "-1", "5x", "10 apples", "99999999999999999999", "99999999999999GiB", "1,,2"] {
            assert!(Keep::parse(bad).unwrap_err().contains("expected a number of runs"), "{bad}");
        }
    }
}
