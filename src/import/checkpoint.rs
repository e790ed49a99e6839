//! How far an interrupted import came: `imports/<what was asked for>.json` in the store.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::backend::find::{Query, TimeRange};
use crate::digest::Digest;
use crate::store::{Store, StoreError};

/// What arrives at the back end late is not missed: the last minute is asked for again.
const LATE: u64 = 60_000_000_000;

/// So often at most it is written while it grows.
const OFTEN: Duration = Duration::from_secs(5);

/// What is here already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    from: u64,
    to: u64,
}

/// The checkpoint of one question to one back end.
pub struct Checkpoint<'a> {
    store: &'a Store,
    path: PathBuf,
    /// Ids or the newest so many have no place to go on from.
    never: bool,
    /// Of the import that was interrupted.
    before: Option<Done>,
    now: Option<Done>,
    written: Instant,
}

impl<'a> Checkpoint<'a> {
    /// Reads what there is for the same question. `never` for imports that cannot go on.
    pub fn new(store: &'a Store, host: &str, query: &Query, never: bool) -> Self {
        let question = format!("{host}\n{:?}\n{:?}\n{:?}", query.of.service, query.of.operation, query.of.tags);
        let path = store.path("imports").join(format!("{}.json", Digest::of(question.as_bytes()).short()));
        let read = || serde_json::from_slice::<Done>(&std::fs::read(&path).ok()?).ok();
        let before = if never { None } else { read().filter(|d| d.from <= d.to) };
        Checkpoint { store, before, path, never, now: None, written: Instant::now() }
    }

    /// What is left of `time`, the newest last.
    pub fn left(&self, time: TimeRange) -> Vec<TimeRange> {
        let Some(done) = self.before else { return vec![time] };
        let older = done.from.checked_sub(1).map(|to| TimeRange { from: time.from, to: time.to.min(to) });
        let newer = TimeRange { from: time.from.max(done.to.saturating_add(1)), to: time.to };
        older.into_iter().chain([newer]).filter(|s| s.from <= s.to).collect()
    }

    /// What an import that was interrupted has kept already.
    pub fn kept_before(&self) -> Option<TimeRange> {
        self.before.map(|Done { from, to }| TimeRange { from, to })
    }

    /// Everything of `time` has been kept.
    pub fn done(&mut self, time: TimeRange) -> Result<(), StoreError> {
        let to = time.to.saturating_sub(LATE);
        let mut all = Done { from: time.from, to };
        match self.before {
            // What was done before begins where this has come to.
            Some(before) if time.from <= before.to.saturating_add(1) => {
                all = Done { from: all.from.min(before.from), to: to.max(before.to) };
            }
            // There is a gap: the older part is the larger one.
            Some(_) => return Ok(()),
            None => {}
        }
        if all.from <= all.to {
            self.now = Some(all);
        }
        if self.written.elapsed() > OFTEN { self.save() } else { Ok(()) }
    }

    /// Whether the same command would not begin anew.
    pub fn goes_on(&self) -> bool {
        !self.never && (self.now.is_some() || self.before.is_some())
    }

    /// Writes it down.
    pub fn save(&mut self) -> Result<(), StoreError> {
        self.written = Instant::now();
        let Some(done) = self.now.filter(|_| !self.never) else { return Ok(()) };
        let dir = self.store.path("imports");
        std::fs::create_dir_all(&dir).map_err(|e| StoreError::file("create", &dir, e))?;
        let text = serde_json::to_vec(&done).unwrap_or_default();
        self.store.write(&self.path, &text)
    }

    /// There is nothing to go on with.
    pub fn forget(&mut self) {
        if !self.never {
            self.before = None;
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
