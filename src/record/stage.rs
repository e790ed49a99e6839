//! How the engine says what it does: one [`Stage`] is one open span.
//!
//! ```ignore
//! let stage = stage!(names::span::CACHE_CHECK, in &run);
//! stage.set(names::attr::CACHE, "hit");
//! stage.end(result)            // closes, with status from the result
//! ```
//! A dropped stage closes too. Without a recorder every call is a no-op.

use tracing_subscriber::registry::{LookupSpan, Registry};

use super::clock::Mono;
use super::context;
use super::model::{Attributes, Event, Key, Kind, Link, Span, SpanId, Status, Value};
use super::recorder::{Open, Recorder};
use crate::error::Failure;
use crate::names::attr;

/// Opens a span named by a constant of [`crate::names::span`], at the root or inside another stage.
#[macro_export]
macro_rules! stage {
    ($name:expr) => {
        $crate::record::Stage::from(tracing::span!(target: "trace_run", parent: None, tracing::Level::INFO, $name))
    };
    ($name:expr, in $parent:expr) => {
        $crate::record::Stage::from(
            tracing::span!(target: "trace_run", parent: $parent.span(), tracing::Level::INFO, $name))
    };
}

/// An open span. Clones refer to the same span; it closes when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Stage(tracing::Span);

impl From<tracing::Span> for Stage {
    fn from(span: tracing::Span) -> Self {
        Stage(span)
    }
}

/// A span whose begin and end were stamped elsewhere.
#[derive(Clone, Debug)]
pub struct Finished {
    name: &'static str,
    start: Mono,
    end: Mono,
    attributes: Attributes,
    status: Status,
    waited_for: Vec<SpanId>,
}

impl Finished {
    /// From `start` to `end` on the monotonic clock.
    pub fn new(name: &'static str, start: Mono, end: Mono) -> Self {
        Finished { name, start, end, attributes: Attributes::new(), status: Status::Unset, waited_for: Vec::new() }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.set(key, value);
        self
    }

    /// Marks it as failed.
    #[must_use]
    pub fn failed(mut self, error: &dyn Failure) -> Self {
        self.attributes.set(attr::ERROR_TYPE, error.kind());
        self.status = Status::Error(error.to_string());
        self
    }

    /// It could not go on before `span`.
    #[must_use]
    pub fn after(mut self, span: Option<SpanId>) -> Self {
        self.waited_for.extend(span);
        self
    }
}

impl Stage {
    /// A stage that records nothing.
    pub fn none() -> Self {
        Stage(tracing::Span::none())
    }

    /// For the macro: the span to hang children under.
    pub fn span(&self) -> &tracing::Span {
        &self.0
    }

    fn open<T>(&self, f: impl FnOnce(&Recorder, &mut Open) -> T) -> Option<T> {
        self.0
            .with_subscriber(|(id, dispatch)| {
                let registry = dispatch.downcast_ref::<Registry>()?;
                let recorder = dispatch.downcast_ref::<Recorder>()?;
                let span = registry.span(id)?;
                let mut extensions = span.extensions_mut();
                extensions.get_mut::<Open>().map(|open| f(recorder, open))
            })
            .flatten()
    }

    /// This span's id; `None` without a recorder.
    pub fn id(&self) -> Option<SpanId> {
        self.open(|_, open| open.span.id)
    }

    /// An id for a span that is yet to be opened under this trace, see [`Stage::take_id`], and the `traceparent` for
    /// what hangs under it. `None` without a recorder.
    pub fn reserve(&self) -> Option<(SpanId, String)> {
        self.open(|recorder, _| {
            let id = recorder.next_id();
            (id, context::traceparent(recorder.trace_id(), id, recorder.flags()))
        })
    }

    /// Gives this span an id that was reserved. To be called before anything refers to the one it has.
    pub fn take_id(&self, id: SpanId) {
        self.open(|_, open| open.span.id = id);
    }

    /// Sets an attribute whose name is the user's.
    pub fn set_named(&self, key: String, value: impl Into<Value>) {
        let value = value.into();
        self.open(|_, open| open.span.attributes.set(key, value));
    }

    /// Sets an attribute.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        let value = value.into();
        self.open(|_, open| open.span.attributes.set(key, value));
    }

    /// Sets the kind; spans are INTERNAL otherwise.
    pub fn kind(&self, kind: Kind) {
        self.open(|_, open| open.span.kind = kind);
    }

    /// Moves the begin back to when the work began, for a span that could only be opened later.
    pub fn began(&self, at: Mono) {
        self.open(|recorder, open| open.span.start = recorder.unix_ns(at));
    }

    /// Moves the begin back to the instant at which the last sibling of this name ended, if there was one: what lies
    /// between two stages that meet belongs to the later one.
    pub fn began_where(&self, sibling: &'static str) {
        self.open(|recorder, open| {
            if let Some(end) = recorder.end_of(open.span.parent, sibling) {
                open.span.start = end;
            }
        });
    }

    /// Sets the end to when the work ended, for a span that closes only later.
    pub fn ended(&self, at: Mono) {
        self.open(|recorder, open| open.ended = Some(recorder.unix_ns(at)));
    }

    /// Notes a moment.
    pub fn event(&self, name: &'static str, at: Mono) {
        self.open(|recorder, open| {
            let time = recorder.unix_ns(at);
            open.span.events.push(Event { name: Key::Borrowed(name), time, attributes: Attributes::new(), dropped: 0 });
        });
    }

    /// This stage could not go on before `other`.
    pub fn wait_for(&self, other: Option<SpanId>) {
        let Some(other) = other else { return };
        self.open(|recorder, open| open.span.links.push(wait_link(recorder, other)));
    }

    /// Marks this span as failed. `kind` is of low cardinality.
    pub fn fail(&self, kind: &'static str, message: &str) {
        self.open(|_, open| {
            open.span.attributes.set(attr::ERROR_TYPE, kind);
            open.span.status = Status::Error(message.to_owned());
        });
    }

    /// Closes this span, as failed if `result` is an error.
    pub fn end<T, E: Failure>(self, result: Result<T, E>) -> Result<T, E> {
        if let Err(e) = &result {
            self.fail(e.kind(), &e.to_string());
        }
        result
    }

    /// Adds a finished child.
    pub fn finished(&self, child: Finished) -> Option<SpanId> {
        self.open(|recorder, parent| {
            let id = recorder.next_id();
            let start = recorder.unix_ns(child.start);
            recorder.add(Span {
                id,
                parent: Some(parent.span.id),
                name: Key::Borrowed(child.name),
                kind: Kind::Internal,
                start,
                end: recorder.unix_ns(child.end).max(start),
                attributes: child.attributes,
                events: Vec::new(),
                links: child.waited_for.into_iter().map(|s| wait_link(recorder, s)).collect(),
                status: child.status,
                origin: 0,
                extra: None,
            });
            id
        })
    }
}

fn wait_link(recorder: &Recorder, span: SpanId) -> Link {
    Link { trace: recorder.trace_id(), span, attributes: Attributes::new().with(attr::WAIT_FOR, true), extra: None }
}
