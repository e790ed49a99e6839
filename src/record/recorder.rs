//! A `tracing_subscriber` layer that turns spans into [`model::Span`](super::model::Span)s.
//!
//! Attributes do not go through `tracing`'s fields: those must be declared where the span is made and an unknown one is
//! dropped silently. [`Stage`](super::Stage) writes them straight to the open span instead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::span;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::clock::{Anchor, Mono};
pub use super::context::Remote;
use super::context::SAMPLED;
use super::model::{Attributes, Kind, Origin, Scope, Span, SpanId, Status, Trace, TraceId};

/// Collects the spans of one run.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    trace: TraceId,
    remote: Option<Remote>,
    anchor: Anchor,
    seed: u64,
    issued: AtomicU64,
    finished: Mutex<Vec<Span>>,
}

/// A span that has begun; lives in the registry's extensions until it closes.
pub(super) struct Open {
    pub(super) span: Span,
    /// When its work ended, if that was before it closes.
    pub(super) ended: Option<u64>,
}

impl Recorder {
    /// A recorder for a new trace, or for one that the caller began. `installed` on this thread and, by
    /// [`tracing::Dispatch`], wherever the returned dispatch is set.
    pub fn new(remote: Option<Remote>) -> Self {
        let mut random = [0u8; 24];
        fill_random(&mut random);
        let word = |i: usize| u64::from_ne_bytes(random[i * 8..i * 8 + 8].try_into().expect("8 bytes"));
        let own = (u128::from(word(0)) << 64 | u128::from(word(1))).max(1);
        Recorder(Arc::new(Inner {
            trace: remote.as_ref().map_or(TraceId(own), |r| r.trace),
            remote,
            anchor: Anchor::now(),
            seed: word(2),
            issued: AtomicU64::new(0),
            finished: Mutex::new(Vec::with_capacity(64)),
        }))
    }

    /// Makes this recorder the process's subscriber. Once per process; false if there was one.
    pub fn install(&self) -> bool {
        tracing::subscriber::set_global_default(self.subscriber()).is_ok()
    }

    /// The subscriber to install for a part of a program, e.g. one test.
    pub fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + 'static {
        Registry::default().with(self.clone())
    }

    /// The trace's id.
    pub fn trace_id(&self) -> TraceId {
        self.0.trace
    }

    /// Flags for those who hang spans under ours: the caller's, else that this trace is recorded.
    pub(super) fn flags(&self) -> u8 {
        self.0.remote.as_ref().map_or(SAMPLED, |r| r.flags)
    }

    /// Whether this trace is one that a caller began.
    pub fn has_caller(&self) -> bool {
        self.0.remote.is_some()
    }

    /// Whether the caller, if there is one, records this trace, too.
    pub fn sampled(&self) -> bool {
        self.0.remote.as_ref().is_none_or(Remote::sampled)
    }

    /// A finished span whose times were stamped elsewhere: inside the container, or by the threads of a layer.
    pub(super) fn add(&self, span: Span) {
        self.0.finished.lock().unwrap_or_else(PoisonError::into_inner).push(span);
    }

    /// When the newest finished span of this name below `parent` ended, ns since the Unix epoch.
    pub(super) fn end_of(&self, parent: Option<SpanId>, name: &str) -> Option<u64> {
        let finished = self.0.finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.iter().rev().find(|s| s.parent == parent && s.name == name).map(|s| s.end)
    }

    /// The wall-clock time of `at` in this trace.
    pub fn unix_ns(&self, at: Mono) -> u64 {
        self.0.anchor.unix_ns(at)
    }

    /// A fresh id. Unique in the process; the container's init never asks for one (see `ARCHITECTURE.md`, "The
    /// recorder").
    pub(super) fn next_id(&self) -> SpanId {
        // splitmix64 of a random start: a bijection, so ids of one trace never collide.
        let n = self.0.issued.fetch_add(1, Ordering::Relaxed);
        let mut z = self.0.seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        SpanId((z ^ (z >> 31)).max(1))
    }

    /// Everything that has finished, as a trace; spans still open are not in it.
    pub fn finish(&self, resource: Attributes) -> Trace {
        let mut spans = std::mem::take(&mut *self.0.finished.lock().unwrap_or_else(PoisonError::into_inner));
        spans.sort_by_key(|s| (s.start, std::cmp::Reverse(s.end)));
        let scope = Scope { name: "trace".into(), version: env!("CARGO_PKG_VERSION").into(), ..Scope::default() };
        let state = self.0.remote.as_ref().and_then(|r| r.state.clone());
        Trace { id: self.0.trace, state, origins: vec![Origin { resource, scope, ..Origin::default() }], spans }
    }
}

impl<S> tracing_subscriber::Layer<S> for Recorder
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    fn register_callsite(&self, meta: &'static tracing::Metadata<'static>) -> tracing::subscriber::Interest {
        // Libraries (hyper, tokio) have spans of their own; only ours are catalogued.
        if meta.is_span() && meta.target().starts_with(TARGET) {
            tracing::subscriber::Interest::always()
        } else {
            tracing::subscriber::Interest::never()
        }
    }

    fn on_new_span(&self, attrs: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let parent = span
            .parent()
            .and_then(|p| p.extensions().get::<Open>().map(|o| o.span.id))
            .or_else(|| self.0.remote.as_ref().map(|r| r.parent));
        let now = self.unix_ns(Mono::now());
        let open = Span {
            id: self.next_id(),
            parent,
            name: attrs.metadata().name().into(),
            kind: Kind::Internal,
            start: now,
            end: now,
            attributes: Attributes::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: Status::Unset,
            origin: 0,
            extra: None,
        };
        span.extensions_mut().insert(Open { span: open, ended: None });
    }

    fn on_close(&self, id: span::Id, ctx: Context<'_, S>) {
        let now = self.unix_ns(Mono::now());
        let Some(span) = ctx.span(&id) else { return };
        if let Some(Open { span: mut closed, ended }) = span.extensions_mut().remove::<Open>() {
            closed.end = ended.unwrap_or(now).max(closed.start);
            self.add(closed);
        }
    }
}

/// `tracing` target of all catalogued spans.
pub const TARGET: &str = "trace_run";

fn fill_random(buf: &mut [u8]) {
    let mut filled = 0;
    while filled < buf.len() {
        match rustix::rand::getrandom(&mut buf[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    if filled < buf.len() {
        // Sandboxes without getrandom: still distinct between processes and moments.
        let t = Mono::now().0 ^ u64::from(std::process::id()).rotate_left(40);
        for (i, b) in buf[filled..].iter_mut().enumerate() {
            *b = (t.rotate_left(7 * i as u32) & 0xff) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names;

    #[test]
    fn spans_become_a_tree_with_attributes_and_status() {
        let recorder = Recorder::new(None);
        tracing::subscriber::with_default(recorder.subscriber(), || {
            let run = crate::stage!(names::span::RUN);
            run.set(names::attr::HUB, "builtin");
            let pull = crate::stage!(names::span::IMAGE_PULL, in &run);
            pull.fail("digest", "expected a, got b");
            let at = Mono::now();
            pull.finished(crate::record::Finished::new(names::span::LAYER_VERIFY, at, Mono(at.0 + 5)));
        });
        let trace = recorder.finish(Attributes::new());
        let root = trace.root().unwrap();
        assert_eq!((root.name.as_ref(), root.parent), ("run", None));
        assert_eq!(root.attributes.str("trace.hub"), Some("builtin"));
        let pull = trace.spans.iter().find(|s| s.name == "image.pull").unwrap();
        assert_eq!(pull.parent, Some(root.id));
        assert_eq!(pull.status, Status::Error("expected a, got b".into()));
        assert_eq!(pull.attributes.str("error.type"), Some("digest"));
        let verify = trace.spans.iter().find(|s| s.name == "layer.verify").unwrap();
        assert_eq!((verify.parent, verify.duration()), (Some(pull.id), 5));
        assert_eq!(trace.spans.len(), 3);
    }
}
