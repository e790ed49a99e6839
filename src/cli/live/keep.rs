//! What is read goes into the store, once.

use std::time::Duration;

use super::{Ended, TimeRange, Trace, count};
use crate::backend::time::rfc3339;
use crate::cli::import::{self, Kept};
use crate::error::Failure;
use crate::store::Store;

/// What came of the traces that were read.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Not in the store before.
    pub imported: u64,
    /// In the store, but with fewer spans, e.g. without those of the program in the container.
    pub completed: u64,
    /// In the store already.
    pub known: u64,
    /// Spans that are new in the store.
    pub spans: u64,
}

/// Writes traces to the store.
pub struct Keeping<'a> {
    store: &'a Store,
    /// Leave the names of other engines' spans as they are.
    keep_names: bool,
    pub tally: Tally,
}

impl<'a> Keeping<'a> {
    pub fn new(store: &'a Store, keep_names: bool) -> Self {
        Keeping { store, keep_names, tally: Tally::default() }
    }

    /// A trace that is there already keeps its spans; those it lacks are added.
    pub fn keep(&mut self, trace: Trace) -> Result<(), Box<dyn Failure>> {
        let Kept { added, known, .. } = import::keep(self.store, trace, self.keep_names)?;
        match (added, known) {
            (0, _) => self.tally.known += 1,
            (_, true) => self.tally.completed += 1,
            _ => self.tally.imported += 1,
        }
        self.tally.spans += added as u64;
        Ok(())
    }
}

impl Tally {
    pub fn is_nothing(&self) -> bool {
        self.imported + self.completed + self.known == 0
    }

    /// `imported 3 traces (96 spans), completed 1, 2 were here already`.
    pub fn words(&self) -> String {
        let mut words = format!("imported {} ({})", count(self.imported, "trace"), count(self.spans, "span"));
        if self.completed > 0 {
            words.push_str(&format!(", completed {}", self.completed));
        }
        if self.known > 0 {
            words.push_str(&format!(", {} here already", self.known));
        }
        words
    }

    pub fn json(&self, host: &str, time: TimeRange, took: Duration, ended: &Ended) -> serde_json::Value {
        serde_json::json!({
            "from": host,
            "imported": self.imported,
            "completed": self.completed,
            "known": self.known,
            "spans": self.spans,
            "start": rfc3339(time.from),
            "end": rfc3339(time.to),
            "seconds": took.as_secs_f64(),
            "interrupted": ended.interrupted,
            "error": ended.error.as_ref().map(|e| e.to_string()),
        })
    }
}
