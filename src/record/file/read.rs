//! OTLP JSON into the model.

use std::borrow::Cow;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use serde::Deserialize;

use serde_json::value::RawValue;

use super::lenient::{Enum, Id, Number, Real, Sifted, Sound, is_crowded, nullable};
use super::mend::mend;
use super::{FileError, MAX_FILE};
use crate::record::collect::{Collect, Skipped};
use crate::record::model::{
    Attributes, Entity, Event, Key, Link, LinkExtra, Origin, Scope, Span, SpanExtra, Status, Trace, TraceId, Value,
};

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
        return Err(no_spans(&all, path));
    }
    Ok(all.finish())
}

/// Why there are none: the file has none, or none that can be used.
pub fn no_spans(all: &Collect, path: &Path) -> FileError {
    let path = path.to_owned();
    match all.skipped() {
        Skipped { count: 0, .. } => FileError::NoSpans { path },
        Skipped { why, .. } => FileError::NotOtlp { path, line: 1, reason: why.clone() },
    }
}

/// Adds the spans of `text` to those collected before.
pub fn collect(text: &[u8], path: &Path, collect: &mut Collect) -> Result<(), FileError> {
    let mut lines = Skipped::default();
    each_value(&mend(text), path, &mut lines, |request| {
        take(request, collect);
        Ok(())
    })?;
    collect.skip(lines);
    if collect.overflow() { Err(FileError::Crowded { path: path.to_owned() }) } else { Ok(()) }
}

pub(super) fn take(request: Request<SpanIn<'_>>, collect: &mut Collect) {
    for resource_spans in request.resource_spans() {
        let origin = resource_spans.resource.origin(resource_spans.schema_url);
        for scope_spans in resource_spans.scope_spans {
            let scope = Scope { schema_url: scope_spans.schema_url, ..scope_spans.scope.into() };
            let source = collect.source(Origin { scope, ..origin.clone() });
            collect.skip(scope_spans.spans.skipped);
            for wire in scope_spans.spans.sound {
                match span(wire) {
                    Ok((id, state, span)) => collect.add(id, state, source, span),
                    Err(why) => collect.skip_one(why),
                }
            }
        }
    }
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

/// Calls `take` with each JSON value of a file: one a line, one over many lines, or those of one array. A line that
/// cannot be read among others that can is left out and counted in `skipped`. The text must have been through [`mend`].
pub(super) fn each_value<'a, T: Deserialize<'a>>(
    text: &'a [u8],
    path: &Path,
    skipped: &mut Skipped,
    mut take: impl FnMut(T) -> Result<(), String>,
) -> Result<(), FileError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(FileError::Empty { path: path.to_owned() });
    }
    if is_crowded(text) {
        return Err(FileError::Crowded { path: path.to_owned() });
    }
    let wrong = |at: usize, reason| FileError::NotOtlp { path: path.to_owned(), line: line_of(text, at), reason };
    if text.trim_ascii_start().first() == Some(&b'[') {
        let all: Vec<T> = serde_json::from_slice(text).map_err(|e| because(&e, path))?;
        return all.into_iter().try_for_each(take).map_err(|reason| wrong(0, reason));
    }
    let mut begin = 0;
    let mut taken = 0;
    let mut first = None;
    loop {
        let mut values = serde_json::Deserializer::from_slice(&text[begin..]).into_iter::<T>();
        let failed = loop {
            let before = values.byte_offset();
            match values.next() {
                None => break None,
                Some(Ok(value)) => {
                    taken += 1;
                    take(value).map_err(|reason| wrong(begin + values.byte_offset(), reason))?;
                }
                Some(Err(error)) => break Some((begin + before, error)),
            }
        };
        let Some((at, error)) = failed else { break };
        let at = at + text[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        let line = line_of(text, at);
        // The text has been cut to begin elsewhere than the file does.
        let error = match because(&error, path) {
            FileError::NotJson { path, line: inner, reason } => {
                FileError::NotJson { path, line: line_of(text, begin) + inner - 1, reason }
            }
            FileError::NotOtlp { path, line: inner, reason } => {
                FileError::NotOtlp { path, line: line_of(text, begin) + inner - 1, reason }
            }
            FileError::Truncated { path, .. } => FileError::Truncated { path, line: line_of(text, text.len()) },
            other => other,
        };
        let next = text[at..].iter().position(|b| *b == b'\n').map(|length| at + length + 1);
        let more = next.filter(|next| !text[*next..].trim_ascii().is_empty());
        // Only a line is left out that stands by itself: not the first of an object over many lines.
        match more {
            Some(next) if taken > 0 || stands_alone(&text[at..next]) => {
                skipped.note(format!("line {line} is not OTLP JSON"));
                first.get_or_insert(error);
                begin = next;
            }
            _ if taken > 0 && !matches!(error, FileError::Truncated { .. }) => {
                skipped.note(format!("line {line} is not OTLP JSON"));
                break;
            }
            _ => return Err(first.unwrap_or(error)),
        }
    }
    match first {
        Some(error) if taken == 0 => Err(error),
        _ => Ok(()),
    }
}

fn line_of(text: &[u8], at: usize) -> usize {
    1 + text[..at].iter().filter(|b| **b == b'\n').count()
}

/// Whether a line looks whole: what an object over many lines begins with does not end with its bracket.
fn stands_alone(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.first() != Some(&b'{') || line.last() == Some(&b'}')
}

fn because(error: &serde_json::Error, path: &Path) -> FileError {
    let (path, line) = (path.to_owned(), error.line());
    if error.is_eof() {
        return FileError::Truncated { path, line };
    }
    // serde_json ends with ` at line 1 column 2`, which counts for nobody in a line of 100 kB, and quotes what it
    // found, however long that is.
    let text = error.to_string();
    let reason: String = text.rsplit_once(" at line ").map_or(text.as_str(), |(r, _)| r).chars().take(200).collect();
    if error.is_data() { FileError::NotOtlp { path, line, reason } } else { FileError::NotJson { path, line, reason } }
}

pub(super) fn span(wire: SpanIn<'_>) -> Result<(TraceId, Option<String>, Span), String> {
    sound_ids(&wire.name, &wire.trace_id, &wire.span_id)?;
    let (Some(trace), Some(id)) = (wire.trace_id.trace(), wire.span_id.span()) else {
        return Err("a span has no ids".to_owned());
    };
    let written = (wire.start_time_unix_nano.time(), wire.end_time_unix_nano.time());
    let (start, end) = sane_times(written.0, written.1);
    let (status, status_message) = status(wire.status);
    let extra = SpanExtra {
        state: None,
        flags: wire.flags.count(),
        dropped_attributes: wire.dropped_attributes_count.count(),
        dropped_events: wire.dropped_events_count.count(),
        dropped_links: wire.dropped_links_count.count(),
        status_message,
        written: (written != (start, end) || written == (0, 0)).then_some(written),
    };
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
                dropped: e.dropped_attributes_count.count(),
            })
            .collect(),
        // A link to nowhere says nothing.
        links: wire
            .links
            .into_iter()
            .filter_map(|l| {
                let trace = if l.trace_id.is_none() { trace } else { l.trace_id.trace()? };
                let (flags, dropped) = (l.flags.count(), l.dropped_attributes_count.count());
                let extra = LinkExtra { state: l.trace_state, flags, dropped };
                let extra = (extra != LinkExtra::default()).then(|| Box::new(extra));
                Some(Link { trace, span: l.span_id.span()?, attributes: attributes(l.attributes), extra })
            })
            .collect(),
        status,
        origin: 0,
        extra: (extra != SpanExtra::default()).then(|| Box::new(extra)),
    };
    Ok((trace, (!wire.trace_state.is_empty()).then_some(wire.trace_state), span))
}

pub(super) fn times(start: Number, end: Number) -> (u64, u64) {
    sane_times(start.time(), end.time())
}

/// Times of another program made sane, ns since the Unix epoch: the end not before the start, and a start of 0, which
/// means "unknown", where the end is. What was written stays in [`SpanExtra::written`].
pub fn sane_times(start: u64, end: u64) -> (u64, u64) {
    let start = if start == 0 { end } else { start };
    (start, end.max(start))
}

/// And the message of one that is no error.
pub(super) fn status(wire: StatusIn) -> (Status, String) {
    match wire.code {
        Enum::StatusError | Enum::Number(2) => (Status::Error(wire.message), String::new()),
        Enum::StatusOk | Enum::Number(1) => (Status::Ok, wire.message),
        _ => (Status::Unset, wire.message),
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
    #[serde(alias = "schema_url", deserialize_with = "nullable")]
    schema_url: String,
    // The last is what writers before OTLP 0.19 said.
    #[serde(
        alias = "scope_spans",
        alias = "instrumentationLibrarySpans",
        alias = "instrumentation_library_spans",
        deserialize_with = "nullable"
    )]
    pub(super) scope_spans: Vec<ScopeSpans<S>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "S: Sound + Deserialize<'de>"))]
pub(super) struct ScopeSpans<S> {
    #[serde(alias = "instrumentationLibrary", alias = "instrumentation_library", deserialize_with = "nullable")]
    pub(super) scope: ScopeIn,
    pub(super) spans: Sifted<S>,
    #[serde(alias = "schema_url", deserialize_with = "nullable")]
    schema_url: String,
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
        ResourceSpans { resource: Resource::default(), schema_url: String::new(), scope_spans: Vec::new() }
    }
}

impl<S> Default for ScopeSpans<S> {
    fn default() -> Self {
        ScopeSpans { scope: ScopeIn::default(), spans: Sifted::default(), schema_url: String::new() }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScopeIn {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    version: String,
    #[serde(deserialize_with = "nullable")]
    attributes: Vec<Pair>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    dropped_attributes_count: Number,
}

impl From<ScopeIn> for Scope {
    fn from(wire: ScopeIn) -> Self {
        Scope {
            name: wire.name,
            version: wire.version,
            attributes: attributes(wire.attributes),
            schema_url: String::new(),
            dropped: wire.dropped_attributes_count.count(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Resource {
    #[serde(deserialize_with = "nullable")]
    pub(super) attributes: Vec<Pair>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    dropped_attributes_count: Number,
    #[serde(alias = "entity_refs", deserialize_with = "nullable")]
    entity_refs: Vec<EntityIn>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EntityIn {
    #[serde(alias = "schema_url", deserialize_with = "nullable")]
    schema_url: String,
    #[serde(rename = "type", deserialize_with = "nullable")]
    kind: String,
    #[serde(alias = "id_keys", deserialize_with = "nullable")]
    id_keys: Vec<String>,
    #[serde(alias = "description_keys", deserialize_with = "nullable")]
    description_keys: Vec<String>,
}

impl Resource {
    /// What it says of a program, without a library of it.
    pub(super) fn origin(self, schema_url: String) -> Origin {
        let entities = self.entity_refs.into_iter().map(|e| Entity {
            schema_url: e.schema_url,
            kind: e.kind,
            id_keys: e.id_keys,
            description_keys: e.description_keys,
        });
        Origin {
            resource: attributes(self.attributes),
            schema_url,
            dropped: self.dropped_attributes_count.count(),
            entities: entities.collect(),
            scope: Scope::default(),
        }
    }
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
    flags: Number,
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
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    dropped_attributes_count: Number,
    #[serde(alias = "dropped_events_count", deserialize_with = "nullable")]
    dropped_events_count: Number,
    #[serde(alias = "dropped_links_count", deserialize_with = "nullable")]
    dropped_links_count: Number,
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
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    dropped_attributes_count: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LinkIn<'a> {
    #[serde(borrow, alias = "trace_id")]
    trace_id: Id<'a>,
    #[serde(borrow, alias = "span_id")]
    span_id: Id<'a>,
    #[serde(alias = "trace_state", deserialize_with = "nullable")]
    trace_state: String,
    #[serde(deserialize_with = "nullable")]
    flags: Number,
    #[serde(deserialize_with = "nullable")]
    attributes: Vec<Pair>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    dropped_attributes_count: Number,
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

/// Lists and maps in each other that are kept as such; what lies deeper is kept as the JSON text that it is. Every
/// reader has this limit, so that what was read can be read again from our own file: a level takes up to 4 of the 128
/// of JSON.
pub(crate) const VALUE_DEPTH: usize = 24;

/// An attribute value; an empty one is the empty text.
pub(super) struct Any(pub(super) Value);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        thread_local! {
            static DEPTH: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
        }
        let depth = DEPTH.get();
        if depth < VALUE_DEPTH {
            DEPTH.set(depth + 1);
            let read = AnyIn::deserialize(d);
            DEPTH.set(depth);
            return read.map(Any::from);
        }
        let raw = Box::<RawValue>::deserialize(d)?;
        let leaf = serde_json::from_str::<LeafIn>(raw.get()).ok().and_then(|leaf| leaf.0);
        Ok(Any(leaf.unwrap_or_else(|| Value::Str(raw.get().to_owned()))))
    }
}

/// A value that holds no others.
struct LeafIn(Option<Value>);

impl<'de> Deserialize<'de> for LeafIn {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Fields {
            #[serde(alias = "string_value")]
            string_value: Option<String>,
            #[serde(alias = "bool_value")]
            bool_value: Option<bool>,
            #[serde(alias = "int_value")]
            int_value: Option<Number>,
            #[serde(alias = "double_value")]
            double_value: Option<Real>,
            #[serde(alias = "bytes_value")]
            bytes_value: Option<String>,
        }
        let f = Fields::deserialize(d)?;
        let leaf = AnyIn {
            string_value: f.string_value,
            bool_value: f.bool_value,
            int_value: f.int_value,
            double_value: f.double_value,
            bytes_value: f.bytes_value,
            ..AnyIn::default()
        };
        Ok(LeafIn(leaf.value()))
    }
}

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

impl AnyIn {
    fn value(self) -> Option<Value> {
        Some(match self {
            AnyIn { string_value: Some(v), .. } => Value::Str(v),
            AnyIn { bool_value: Some(v), .. } => Value::Bool(v),
            AnyIn { int_value: Some(v), .. } => v.value(),
            AnyIn { double_value: Some(v), .. } => Value::Double(v.0),
            AnyIn { array_value: Some(v), .. } => Value::Array(v.values.into_iter().map(|a| a.0).collect()),
            AnyIn { kvlist_value: Some(v), .. } => {
                Value::Map(v.values.into_iter().map(|p| (p.key, p.value.0)).collect())
            }
            // Base64; what is none stays the text it is.
            AnyIn { bytes_value: Some(v), .. } => {
                base64::prelude::BASE64_STANDARD.decode(&v).map_or(Value::Str(v), Value::Bytes)
            }
            _ => return None,
        })
    }
}

impl From<AnyIn> for Any {
    fn from(wire: AnyIn) -> Self {
        wire.value().map_or_else(Any::default, Any)
    }
}
