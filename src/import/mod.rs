//! Traces of other programs become recorded runs: each is merged with what the store has of it, and what came of it is
//! counted. Nothing here prints.

pub mod checkpoint;
pub mod summary;

use std::collections::{BTreeMap, HashMap};

pub use checkpoint::Checkpoint;
pub use summary::ImportSummary;

use crate::error::Failure;
use crate::formats::mapping;
use crate::names::attr;
use crate::record::collect::{self, Collect};
use crate::record::file::{self, FileError};
use crate::record::model::{Span, SpanId, Trace, TraceId};
use crate::store::{Store, StoreError};

/// What became of one trace.
#[derive(Debug)]
pub struct Imported {
    /// Its id.
    pub id: TraceId,
    /// Name of its root as it is kept.
    pub root: Option<String>,
    /// Its spans that came in, by service.
    pub services: BTreeMap<String, usize>,
    /// Those that were not there before.
    pub added: usize,
    /// Whether the trace was there before.
    pub known: bool,
    /// Its spans that got a name of ours.
    pub renamed: usize,
}

impl Imported {
    /// How many spans came in.
    pub fn spans(&self) -> usize {
        self.services.values().sum()
    }
}

/// Why a trace could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// What is there of it cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImportError {
    fn inner(&self) -> &dyn Failure {
        match self {
            ImportError::File(e) => e,
            ImportError::Store(e) => e,
        }
    }
}

impl Failure for ImportError {
    fn kind(&self) -> &'static str {
        self.inner().kind()
    }

    fn hint(&self) -> Option<String> {
        self.inner().hint()
    }

    fn exit_code(&self) -> u8 {
        self.inner().exit_code()
    }
}

/// Keeps a trace as a recorded run. If it is there already, it gets the spans it lacks: of a span that is in both the
/// one there stays, since a way through other tools only loses. Names of other engines are brought onto ours, unless
/// `keep_names`.
pub fn import(store: &Store, trace: Trace, keep_names: bool) -> Result<Imported, ImportError> {
    let path = store.trace_path(trace.id);
    let mut there = if path.exists() { file::read(&path)?.into_iter().find(|t| t.id == trace.id) } else { None };
    let known = there.is_some();
    let by_our_names = there.iter().flat_map(|t| &t.spans).any(mapping::is_mapped);
    if let Some(there) = &mut there {
        mapping::undo(there);
    }
    let services = services(&trace);
    let before = there.clone();
    let mut whole = there.map_or_else(|| trace.clone(), |there| union(there, &trace));
    let added = before.map_or(trace.spans.len(), |before| differing(&before, &whole));
    let mut renamed = if keep_names { 0 } else { mapping::apply(&mut whole) };
    let root = whole.root().map(|r| r.name.to_string());
    // Also without new spans: what was kept by its own names may be wanted by ours now, or the other way round.
    if added > 0 || by_our_names != (renamed > 0) {
        store.keep_trace(whole.id, &(file::to_line(&whole) + "\n"))?;
    } else {
        renamed = 0;
    }
    Ok(Imported { id: whole.id, root, services, added, known, renamed })
}

/// `there` with what `more` knows besides: spans, and parts of spans that had not ended.
fn union(there: Trace, more: &Trace) -> Trace {
    let mut known: HashMap<SpanId, Vec<&Span>> = HashMap::with_capacity(there.spans.len());
    for span in &there.spans {
        known.entry(span.id).or_default().push(span);
    }
    let is_new = |s: &Span| known.get(&s.id).is_none_or(|all| all.iter().any(|other| collect::adds(other, s)));
    let new = more.spans.iter().filter(|s| is_new(s)).map(|s| (more, s));
    let mut collect = Collect::new();
    for (trace, span) in there.spans.iter().map(|s| (&there, s)).chain(new) {
        let source = collect.source(trace.origin(span).cloned().unwrap_or_default());
        let mut span = span.clone();
        let state = span.state(trace).map(str::to_owned);
        if let Some(extra) = &mut span.extra {
            extra.state = None;
        }
        collect.add(there.id, state, source, span);
    }
    // All spans have one id, so there is one trace.
    collect.finish().pop().unwrap_or(there)
}

/// How many spans of `after` were not there before, or said less.
fn differing(before: &Trace, after: &Trace) -> usize {
    let said = |s: &Span| (s.written_times(), s.parent, s.attributes.iter().count(), s.events.len());
    let known: HashMap<SpanId, _> = before.spans.iter().map(|s| (s.id, said(s))).collect();
    after.spans.iter().filter(|s| known.get(&s.id) != Some(&said(s))).count()
}

/// Spans by service.
fn services(trace: &Trace) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for span in &trace.spans {
        let name = trace.origin(span).and_then(|o| o.resource.str(attr::SERVICE_NAME)).unwrap_or("an unnamed service");
        *out.entry(name.chars().take(100).collect()).or_default() += 1;
    }
    out
}
