//! From spans as they come, of many traces and programs mixed, to whole traces. Every reader of a foreign format ends
//! here.

mod settle;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

pub use settle::{adds, other_id};

use super::model::{Attributes, Origin, Span, Trace, TraceId, Value};

/// Who recorded a span, as [`Collect`] counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(usize);

/// Sorts spans into traces.
#[derive(Debug, Default)]
pub struct Collect {
    /// Their spans' `origin` stands for a source until [`Collect::finish`].
    traces: Vec<Trace>,
    places: HashMap<TraceId, usize>,
    sources: Vec<Origin>,
    /// What the sources look like, to find one again; empty while there are few.
    known: HashMap<String, usize>,
    /// Bytes of text in all sources.
    weight: usize,
    overflow: bool,
    skipped: Skipped,
}

/// What was left out, and why the first of it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many spans or lines.
    pub count: usize,
    /// Got and expected of the first.
    pub why: String,
}

impl Skipped {
    /// One more.
    pub fn note(&mut self, why: String) {
        if self.count == 0 {
            self.why = why;
        }
        self.count += 1;
    }

    /// Those of `other` too.
    pub fn add(&mut self, other: Skipped) {
        if self.count == 0 {
            self.why = other.why;
        }
        self.count += other.count;
    }
}

/// So many origins are compared one by one; files of ours have one a line and mostly the same.
const FEW: usize = 8;

/// Largest text of all origins together, in bytes. A resource stands once in a file but once in memory for each of its
/// libraries.
const MAX_WEIGHT: usize = 64 << 20;

impl Collect {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes who recorded the spans that come next.
    pub fn source(&mut self, origin: Origin) -> Source {
        if self.overflow {
            return Source(0);
        }
        let recent = self.sources.len().saturating_sub(FEW);
        if let Some(i) = self.sources[recent..].iter().position(|o| *o == origin) {
            return Source(recent + i);
        }
        self.weight = self.weight.saturating_add(weight(&origin.resource) + weight(&origin.scope.attributes));
        if self.weight > MAX_WEIGHT && !self.sources.is_empty() {
            self.overflow = true;
            return Source(0);
        }
        if self.sources.len() < FEW {
            self.sources.push(origin);
            return Source(self.sources.len() - 1);
        }
        // Numbers that are not numbers equal nothing, not even themselves; as text they do.
        let text = |o: &Origin| format!("{o:?}");
        if self.known.is_empty() {
            self.known = self.sources.iter().enumerate().map(|(i, o)| (text(o), i)).collect();
        }
        match self.known.entry(text(&origin)) {
            Entry::Occupied(slot) => Source(*slot.get()),
            Entry::Vacant(slot) => {
                self.sources.push(origin);
                Source(*slot.insert(self.sources.len() - 1))
            }
        }
    }

    /// Notes that spans or lines were left out.
    pub fn skip(&mut self, skipped: Skipped) {
        self.skipped.add(skipped);
    }

    /// Notes that a span was left out, and why: got and expected.
    pub fn skip_one(&mut self, why: String) {
        self.skipped.note(why);
    }

    /// What was left out so far.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// Adds a span. `state` is the W3C `tracestate` that stands with it; that of the first span is the trace's.
    pub fn add(&mut self, id: TraceId, state: Option<String>, source: Source, mut span: Span) {
        let at = match self.places.entry(id) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(place) => {
                self.traces.push(Trace { id, state: state.clone(), origins: Vec::new(), spans: Vec::new() });
                *place.insert(self.traces.len() - 1)
            }
        };
        let trace = &mut self.traces[at];
        if trace.state != state {
            span.extra_mut().state = Some(state.unwrap_or_default());
        }
        trace.spans.push(Span { origin: u32::try_from(source.0).unwrap_or(u32::MAX), ..span });
    }

    /// Whether the programs that recorded the spans take more memory than is allowed; what was collected is then not to
    /// be used.
    pub fn overflow(&self) -> bool {
        self.overflow
    }

    /// Spans so far.
    pub fn spans(&self) -> usize {
        self.traces.iter().map(|t| t.spans.len()).sum()
    }

    /// The traces in the order of their first spans. What was said of one span several times is brought together, see
    /// [`settle`].
    pub fn finish(self) -> Vec<Trace> {
        let Collect { mut traces, sources, .. } = self;
        for trace in &mut traces {
            settle::settle(&mut trace.spans, &sources);
            let first = trace.root().map_or(0, |s| s.origin);
            let mut places = HashMap::from([(first, 0)]);
            let mut order = vec![first];
            for span in &mut trace.spans {
                span.origin = *places.entry(span.origin).or_insert_with(|| {
                    order.push(span.origin);
                    order.len() as u32 - 1
                });
            }
            trace.origins = order.into_iter().filter_map(|i| sources.get(i as usize).cloned()).collect();
        }
        traces
    }
}

/// Bytes of text, roughly.
fn weight(attributes: &Attributes) -> usize {
    fn of(value: &Value) -> usize {
        16 + match value {
            Value::Str(v) => v.len(),
            Value::Bytes(v) => v.len(),
            Value::Array(v) => v.iter().map(of).sum(),
            Value::Map(v) => v.iter().map(|(k, v)| k.len() + of(v)).sum(),
            Value::Int(_) | Value::Double(_) | Value::Bool(_) => 0,
        }
    }
    attributes.iter().map(|(k, v)| k.len() + of(v)).sum()
}

#[cfg(test)]
mod tests;
