//! OTLP JSON into the model.

use std::borrow::Cow;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use serde::Deserialize;

use super::lenient::{Enum, Id, Number, Real, Sound, is_crowded, nullable, sound};
use super::{FileError, MAX_FILE};
use crate::record::collect::Collect;
use crate::record::model::{Attributes, Event, Key, Link, Origin, Scope, Span, Status, Trace, TraceId, Value};

/// Reads all traces of a file, in the order in which they first appear; lines with the same trace id are merged, and a
/// span that stands there twice in the same words (a writer that tried again) is kept once.
///
/// Times are made sane, because other programs' clocks are not: a span that ends before it starts, or has no end,
/// ends where it starts.
pub fn read(path: &Path) -> Result<Vec<Trace>, FileError> {
    parse(&bytes(path)?, path)
}

/// The same for text that is already in memory; `path` is only named in errors.
pub fn parse(text: &[u8], path: &Path) -> Result<Vec<Trace>, FileError> {
    let mut all = Collect::new();
    collect(text, path, &mut all)?;
    if all.spans() == 0 {
        return Err(FileError::NoSpans { path: path.to_owned() });
    }
    Ok(all.finish())
}

/// Adds the spans of `text` to those collected before.
pub fn collect(text: &[u8], path: &Path, collect: &mut Collect) -> Result<(), FileError> {
    each_value(text, path, |request| take(request, collect))?;
    if collect.overflow() { Err(FileError::Crowded { path: path.to_owned() }) } else { Ok(()) }
}

pub(super) fn take(request: Request<SpanIn<'_>>, collect: &mut Collect) -> Result<(), String> {
    for resource_spans in request.resource_spans() {
        let resource = attributes(resource_spans.resource.attributes);
        for scope_spans in resource_spans.scope_spans {
            let source = collect.source(Origin { resource: resource.clone(), scope: scope_spans.scope.into() });
            for wire in scope_spans.spans {
                let (id, state, span) = span(wire)?;
                collect.add(id, state, source, span);
            }
        }
    }
    Ok(())
}

/// The bytes of a file, at most [`MAX_FILE`]; also from a pipe or a device that has no size.
pub fn bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let fail = |source| FileError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    let mut out = Vec::with_capacity(size.min(MAX_FILE) as usize + 1);
    if size > MAX_FILE || file.take(MAX_FILE + 1).read_to_end(&mut out).map_err(fail)? as u64 > MAX_FILE {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    Ok(out)
}

/// Calls `take` with each JSON value of a file: one a line, one over many lines, or those of one array. serde_json itself
/// refuses what is nested deeper than 128.
pub(super) fn each_value<'a, T: Deserialize<'a>>(
    text: &'a [u8],
    path: &Path,
    mut take: impl FnMut(T) -> Result<(), String>,
) -> Result<(), FileError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(FileError::Empty { path: path.to_owned() });
    }
    if is_crowded(text) {
        return Err(FileError::Crowded { path: path.to_owned() });
    }
    let wrong = |at: usize, reason| FileError::NotOtlp {
        path: path.to_owned(),
        line: 1 + text[..at].iter().filter(|b| **b == b'\n').count(),
        reason,
    };
    if text.trim_ascii_start().first() == Some(&b'[') {
        let all: Vec<T> = serde_json::from_slice(text).map_err(|e| because(&e, path))?;
        return all.into_iter().try_for_each(take).map_err(|reason| wrong(0, reason));
    }
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<T>();
    while let Some(value) = values.next() {
        match value {
            Ok(value) => take(value).map_err(|reason| wrong(values.byte_offset(), reason))?,
            Err(e) => return Err(because(&e, path)),
        }
    }
    Ok(())
}

fn because(error: &serde_json::Error, path: &Path) -> FileError {
    let (path, line) = (path.to_owned(), error.line());
    if error.is_eof() {
        return FileError::Truncated { path, line };
    }
    // serde_json ends with ` at line 1 column 2`, which counts for nobody in a line of 100 kB, and quotes what it found,
    // however long that is.
    let text = error.to_string();
    let reason: String = text.rsplit_once(" at line ").map_or(text.as_str(), |(r, _)| r).chars().take(200).collect();
    if error.is_data() { FileError::NotOtlp { path, line, reason } } else { FileError::NotJson { path, line, reason } }
}

pub(super) fn span(wire: SpanIn<'_>) -> Result<(TraceId, Option<String>, Span), String> {
    let trace = wire.trace_id.trace().ok_or_else(|| {
        format!("the span `{}` has the trace id `{}`: expected 32 hex digits", shown(&wire.name), wire.trace_id.shown())
    })?;
    let id = wire.span_id.span().ok_or_else(|| {
        format!("the span `{}` has the id `{}`: expected 16 hex digits", shown(&wire.name), wire.span_id.shown())
    })?;
    let (start, end) = times(wire.start_time_unix_nano, wire.end_time_unix_nano);
    let span = Span {
        id,
        parent: wire.parent_span_id.span(),
        name: Key::Owned(wire.name.into_owned()),
        kind: wire.kind.kind(),
        start,
        end,
        attributes: attributes(wire.attributes),
        events: wire
            .events
            .into_iter()
            .map(|e| Event {
                name: Key::Owned(e.name),
                time: e.time_unix_nano.time(),
                attributes: attributes(e.attributes),
            })
            .collect(),
        // A link to nowhere says nothing.
        links: wire
            .links
            .into_iter()
            .filter_map(|l| {
                let trace = if l.trace_id.is_none() { trace } else { l.trace_id.trace()? };
                Some(Link { trace, span: l.span_id.span()?, attributes: attributes(l.attributes) })
            })
            .collect(),
        status: status(wire.status),
        origin: 0,
    };
    Ok((trace, (!wire.trace_state.is_empty()).then_some(wire.trace_state), span))
}

pub(super) fn times(start: Number, end: Number) -> (u64, u64) {
    sane_times(start.time(), end.time())
}

/// Times of another program made sane, ns since the Unix epoch: the end not before the start, and a start of 0, which means
/// "unknown", where the end is.
pub fn sane_times(start: u64, end: u64) -> (u64, u64) {
    let start = if start == 0 { end } else { start };
    (start, end.max(start))
}

pub(super) fn status(wire: StatusIn) -> Status {
    match wire.code {
        Enum::StatusError | Enum::Number(2) => Status::Error(wire.message),
        Enum::StatusOk | Enum::Number(1) => Status::Ok,
        _ => Status::Unset,
    }
}

pub(super) fn attributes(pairs: Vec<Pair>) -> Attributes {
    pairs.into_iter().map(|p| (Key::Owned(p.key), p.value.0)).collect()
}

impl Sound for SpanIn<'_> {
    fn sound(&self) -> Result<(), String> {
        sound_ids(&self.name, &self.trace_id, &self.span_id)
    }
}

pub(super) fn sound_ids(name: &str, trace: &Id<'_>, span: &Id<'_>) -> Result<(), String> {
    if trace.trace().is_none() {
        return Err(format!("the span `{}` has the trace id `{}`: expected 32 hex digits", shown(name), trace.shown()));
    }
    if span.span().is_none() {
        return Err(format!("the span `{}` has the id `{}`: expected 16 hex digits", shown(name), span.shown()));
    }
    Ok(())
}

fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

/// The outer layers of a line; `S` is what is wanted of a span.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "S: Sound + Deserialize<'de>"))]
pub(super) struct Request<S> {
    // Tempo's answers say `batches`.
    #[serde(alias = "resource_spans", alias = "batches", deserialize_with = "nullable")]
    resource_spans: Vec<ResourceSpans<S>>,
    /// The same once more: `{"result":…}` is what Jaeger's query API answers, `{"trace":…}` Tempo's second.
    #[serde(alias = "trace", deserialize_with = "nullable")]
    result: Option<Box<Request<S>>>,
}

impl<S> Request<S> {
    /// Of all layers of wrapping.
    pub(super) fn resource_spans(self) -> impl Iterator<Item = ResourceSpans<S>> {
        let mut next = Some(self);
        std::iter::from_fn(move || {
            let layer = next.take()?;
            next = layer.result.map(|b| *b);
            Some(layer.resource_spans)
        })
        .flatten()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "S: Sound + Deserialize<'de>"))]
pub(super) struct ResourceSpans<S> {
    #[serde(deserialize_with = "nullable")]
    resource: Resource,
    // The last is what writers before OTLP 0.19 said.
    #[serde(alias = "scope_spans", alias = "instrumentationLibrarySpans", deserialize_with = "nullable")]
    pub(super) scope_spans: Vec<ScopeSpans<S>>,
}

#[derive(Deserialize)]
#[serde(default, bound(deserialize = "S: Sound + Deserialize<'de>"))]
pub(super) struct ScopeSpans<S> {
    #[serde(alias = "instrumentationLibrary", deserialize_with = "nullable")]
    pub(super) scope: ScopeIn,
    #[serde(deserialize_with = "sound")]
    pub(super) spans: Vec<S>,
}

impl<S> ResourceSpans<S> {
    /// `service.name`, if it is text.
    pub(super) fn service(&self) -> Option<String> {
        self.resource.attributes.iter().find(|p| p.key == crate::names::attr::SERVICE_NAME).and_then(|p| {
            match &p.value.0 {
                Value::Str(name) => Some(name.clone()),
                _ => None,
            }
        })
    }
}

// Derived, these would ask for `S: Default`.
impl<S> Default for Request<S> {
    fn default() -> Self {
        Request { resource_spans: Vec::new(), result: None }
    }
}

impl<S> Default for ResourceSpans<S> {
    fn default() -> Self {
        ResourceSpans { resource: Resource::default(), scope_spans: Vec::new() }
    }
}

impl<S> Default for ScopeSpans<S> {
    fn default() -> Self {
        ScopeSpans { scope: ScopeIn::default(), spans: Vec::new() }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ScopeIn {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    version: String,
    #[serde(deserialize_with = "nullable")]
    attributes: Vec<Pair>,
}

impl From<ScopeIn> for Scope {
    fn from(wire: ScopeIn) -> Self {
        Scope { name: wire.name, version: wire.version, attributes: attributes(wire.attributes) }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Resource {
    #[serde(deserialize_with = "nullable")]
    pub(super) attributes: Vec<Pair>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SpanIn<'a> {
    #[serde(borrow, alias = "trace_id")]
    trace_id: Id<'a>,
    #[serde(borrow, alias = "span_id")]
    span_id: Id<'a>,
    #[serde(borrow, alias = "parent_span_id")]
    parent_span_id: Id<'a>,
    #[serde(alias = "trace_state", deserialize_with = "nullable")]
    trace_state: String,
    #[serde(borrow, deserialize_with = "nullable")]
    name: Cow<'a, str>,
    #[serde(deserialize_with = "nullable")]
    kind: Enum,
    #[serde(alias = "start_time_unix_nano", deserialize_with = "nullable")]
    start_time_unix_nano: Number,
    #[serde(alias = "end_time_unix_nano", deserialize_with = "nullable")]
    end_time_unix_nano: Number,
    #[serde(deserialize_with = "nullable")]
    attributes: Vec<Pair>,
    #[serde(deserialize_with = "nullable")]
    events: Vec<EventIn>,
    #[serde(borrow, deserialize_with = "nullable")]
    links: Vec<LinkIn<'a>>,
    #[serde(deserialize_with = "nullable")]
    status: StatusIn,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EventIn {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(alias = "time_unix_nano", deserialize_with = "nullable")]
    time_unix_nano: Number,
    #[serde(deserialize_with = "nullable")]
    attributes: Vec<Pair>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LinkIn<'a> {
    #[serde(borrow, alias = "trace_id")]
    trace_id: Id<'a>,
    #[serde(borrow, alias = "span_id")]
    span_id: Id<'a>,
    #[serde(deserialize_with = "nullable")]
    attributes: Vec<Pair>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct StatusIn {
    #[serde(deserialize_with = "nullable")]
    code: Enum,
    #[serde(deserialize_with = "nullable")]
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Pair {
    #[serde(deserialize_with = "nullable")]
    key: String,
    #[serde(deserialize_with = "nullable")]
    value: Any,
}

/// An attribute value; an empty one is the empty text.
#[derive(Deserialize)]
#[serde(from = "AnyIn")]
pub(super) struct Any(pub(super) Value);

impl Default for Any {
    fn default() -> Self {
        Any(Value::Str(String::new()))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnyIn {
    #[serde(alias = "string_value")]
    string_value: Option<String>,
    #[serde(alias = "bool_value")]
    bool_value: Option<bool>,
    #[serde(alias = "int_value")]
    int_value: Option<Number>,
    #[serde(alias = "double_value")]
    double_value: Option<Real>,
    #[serde(alias = "array_value")]
    array_value: Option<ArrayIn>,
    #[serde(alias = "kvlist_value")]
    kvlist_value: Option<PairsIn>,
    #[serde(alias = "bytes_value")]
    bytes_value: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ArrayIn {
    #[serde(deserialize_with = "nullable")]
    values: Vec<Any>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PairsIn {
    #[serde(deserialize_with = "nullable")]
    values: Vec<Pair>,
}

impl From<AnyIn> for Any {
    fn from(wire: AnyIn) -> Self {
        Any(match wire {
            AnyIn { string_value: Some(v), .. } => Value::Str(v),
            AnyIn { bool_value: Some(v), .. } => Value::Bool(v),
            AnyIn { int_value: Some(v), .. } => Value::Int(v.int()),
            AnyIn { double_value: Some(v), .. } => Value::Double(v.0),
            AnyIn { array_value: Some(v), .. } => Value::Array(v.values.into_iter().map(|a| a.0).collect()),
            AnyIn { kvlist_value: Some(v), .. } => {
                Value::Map(v.values.into_iter().map(|p| (p.key, p.value.0)).collect())
            }
            // Base64; what is none stays the text it is.
            AnyIn { bytes_value: Some(v), .. } => {
                base64::prelude::BASE64_STANDARD.decode(&v).map_or(Value::Str(v), Value::Bytes)
            }
            _ => return Any::default(),
        })
    }
}
