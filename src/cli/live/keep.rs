//! What is read goes into the store, once.

use std::time::Duration;

use super::{Ended, Stretch, Trace, count};
use crate::backend::time::rfc3339;
use crate::error::Failure;
use crate::record::collect::Collect;
use crate::record::file;
use crate::record::model::Span;
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
    pub tally: Tally,
}

impl<'a> Keeping<'a> {
    pub fn new(store: &'a Store) -> Self {
        Keeping { store, tally: Tally::default() }
    }

    /// A trace that is there already keeps its spans; those it lacks are added.
    pub fn keep(&mut self, trace: Trace) -> Result<(), Box<dyn Failure>> {
        let path = self.store.trace_path(trace.id);
        let stored = file::read(&path).ok().and_then(|all| all.into_iter().find(|t| t.id == trace.id));
        let (whole, new) = match stored {
            None => {
                self.tally.imported += 1;
                let spans = trace.spans.len();
                (trace, spans)
            }
            Some(stored) => {
                let before = stored.spans.len();
                let whole = together(&stored, &trace);
                let new = whole.spans.len().saturating_sub(before);
                if new == 0 {
                    self.tally.known += 1;
                    return Ok(());
                }
                self.tally.completed += 1;
                (whole, new)
            }
        };
        self.store.keep_trace(whole.id, &(file::to_line(&whole) + "\n"))?;
        self.tally.spans += new as u64;
        Ok(())
    }
}

/// The spans of `first`, and those of `second` that it lacks.
fn together(first: &Trace, second: &Trace) -> Trace {
    let mut collect = Collect::new();
    let mut add = |trace: &Trace, wanted: &dyn Fn(&Span) -> bool| {
        for span in trace.spans.iter().filter(|s| wanted(s)) {
            let source = collect.source(trace.origin(span).cloned().unwrap_or_default());
            collect.add(first.id, trace.state.clone(), source, span.clone());
        }
    };
    let there: std::collections::HashSet<_> = first.spans.iter().map(|s| s.id).collect();
    add(first, &|_| true);
    add(second, &|s| !there.contains(&s.id));
    collect.finish().into_iter().next().unwrap_or_else(|| first.clone())
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

    pub fn json(&self, host: &str, time: Stretch, took: Duration, ended: &Ended) -> serde_json::Value {
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
