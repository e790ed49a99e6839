//! The model as OTLP JSON. On the warm path of every run: straight from the borrowed model to text.

use std::fmt::Display;
use std::path::Path;

use base64::Engine as _;
use serde::ser::{Serialize, SerializeMap as _, SerializeStruct as _, Serializer};

use super::FileError;
use crate::files::write_file;
use crate::record::model::{Attributes, Entity, Event, Link, Origin, Scope, Span, Status, Trace, Value};

/// The trace as one line, without the line break.
pub fn to_line(trace: &Trace) -> String {
    // Some 600 bytes a span, so that the buffer seldom grows.
    let mut out = Vec::with_capacity(1024 + trace.spans.len() * 700);
    // Writing to memory cannot fail, and every map key is text.
    serde_json::to_writer(&mut out, &Request(trace)).expect("a trace is always JSON");
    String::from_utf8(out).expect("serde_json writes UTF-8")
}

/// Writes the trace as the only line of `path`, as [`write_file`] does.
pub fn write(trace: &Trace, path: &Path) -> Result<(), FileError> {
    let mut line = to_line(trace);
    line.push('\n');
    write_file(path, line.as_bytes()).map_err(|source| FileError::Write { path: path.to_owned(), source })
}

/// 64-bit numbers and ids are strings in OTLP JSON.
struct Text<T>(T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

/// A list made on the way out.
struct List<'a, T, F>(&'a [T], F);

impl<'a, T, U: Serialize, F: Fn(&'a T) -> U> Serialize for List<'a, T, F> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.iter().map(&self.1))
    }
}

/// The same of a part of it.
struct Filtered<'a, T, W, F>(&'a [T], W, F);

impl<'a, T, W: Fn(&&'a T) -> bool, U: Serialize, F: Fn(&'a T) -> U> Serialize for Filtered<'a, T, W, F> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.iter().filter(|item| (self.1)(item)).map(&self.2))
    }
}

/// `{key: value}`.
struct One<K, V>(K, V);

impl<K: Serialize, V: Serialize> Serialize for One<K, V> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(1))?;
        map.serialize_entry(&self.0, &self.1)?;
        map.end()
    }
}

struct Request<'a>(&'a Trace);

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let trace = self.0;
        // Nearly always one.
        let origins: Vec<_> = (0..trace.origins.len().max(1)).map(|origin| ResourceSpans { trace, origin }).collect();
        One("resourceSpans", origins).serialize(s)
    }
}

/// What one program recorded of a trace.
#[derive(Clone, Copy)]
struct ResourceSpans<'a> {
    trace: &'a Trace,
    origin: usize,
}

impl Serialize for ResourceSpans<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut out = s.serialize_struct("ResourceSpans", 3)?;
        let origin = self.trace.origins.get(self.origin);
        if let Some(origin) = origin {
            out.serialize_field("resource", &ResourceOut(origin))?;
        }
        out.serialize_field("scopeSpans", &[ScopeSpans(*self)])?;
        if let Some(origin) = origin.filter(|o| !o.schema_url.is_empty()) {
            out.serialize_field("schemaUrl", &origin.schema_url)?;
        }
        out.end()
    }
}

struct ResourceOut<'a>(&'a Origin);

impl Serialize for ResourceOut<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut out = s.serialize_struct("Resource", 3)?;
        out.serialize_field("attributes", &Pairs(&self.0.resource))?;
        if self.0.dropped > 0 {
            out.serialize_field("droppedAttributesCount", &self.0.dropped)?;
        }
        if !self.0.entities.is_empty() {
            out.serialize_field("entityRefs", &List(&self.0.entities, EntityOut))?;
        }
        out.end()
    }
}

struct EntityOut<'a>(&'a Entity);

impl Serialize for EntityOut<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut out = s.serialize_struct("EntityRef", 4)?;
        if !self.0.schema_url.is_empty() {
            out.serialize_field("schemaUrl", &self.0.schema_url)?;
        }
        out.serialize_field("type", &self.0.kind)?;
        out.serialize_field("idKeys", &self.0.id_keys)?;
        if !self.0.description_keys.is_empty() {
            out.serialize_field("descriptionKeys", &self.0.description_keys)?;
        }
        out.end()
    }
}

struct ScopeSpans<'a>(ResourceSpans<'a>);

impl Serialize for ScopeSpans<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let ResourceSpans { trace, origin } = self.0;
        let mut out = s.serialize_struct("ScopeSpans", 3)?;
        let scope = trace.origins.get(origin).map(|o| &o.scope);
        if let Some(origin) = trace.origins.get(origin) {
            out.serialize_field("scope", &ScopeOut(&origin.scope))?;
        }
        let whose = |s: &&Span| s.origin as usize == origin || trace.origins.is_empty();
        out.serialize_field("spans", &Filtered(&trace.spans, whose, |span| SpanOut(trace, span)))?;
        if let Some(scope) = scope.filter(|s| !s.schema_url.is_empty()) {
            out.serialize_field("schemaUrl", &scope.schema_url)?;
        }
        out.end()
    }
}

struct ScopeOut<'a>(&'a Scope);

impl Serialize for ScopeOut<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut out = s.serialize_struct("Scope", 4)?;
        out.serialize_field("name", &self.0.name)?;
        out.serialize_field("version", &self.0.version)?;
        if !self.0.attributes.is_empty() {
            out.serialize_field("attributes", &Pairs(&self.0.attributes))?;
        }
        if self.0.dropped > 0 {
            out.serialize_field("droppedAttributesCount", &self.0.dropped)?;
        }
        out.end()
    }
}

struct SpanOut<'a>(&'a Trace, &'a Span);

impl Serialize for SpanOut<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let SpanOut(trace, span) = self;
        let mut out = s.serialize_struct("Span", 16)?;
        out.serialize_field("traceId", &Text(trace.id))?;
        out.serialize_field("spanId", &Text(span.id))?;
        if let Some(state) = span.state(trace) {
            out.serialize_field("traceState", state)?;
        }
        if let Some(parent) = span.parent {
            out.serialize_field("parentSpanId", &Text(parent))?;
        }
        let extra = span.extra.as_deref();
        if let Some(flags) = extra.map(|e| e.flags).filter(|f| *f > 0) {
            out.serialize_field("flags", &flags)?;
        }
        let (start, end) = span.written_times();
        out.serialize_field("name", &span.name)?;
        out.serialize_field("kind", &(span.kind as u8))?;
        out.serialize_field("startTimeUnixNano", &Text(start))?;
        out.serialize_field("endTimeUnixNano", &Text(end))?;
        if !span.attributes.is_empty() {
            out.serialize_field("attributes", &Pairs(&span.attributes))?;
        }
        if !span.events.is_empty() {
            out.serialize_field("events", &List(&span.events, EventOut))?;
        }
        if !span.links.is_empty() {
            out.serialize_field("links", &List(&span.links, LinkOut))?;
        }
        if let Some(extra) = extra {
            for (key, count) in [
                ("droppedAttributesCount", extra.dropped_attributes),
                ("droppedEventsCount", extra.dropped_events),
                ("droppedLinksCount", extra.dropped_links),
            ] {
                if count > 0 {
                    out.serialize_field(key, &count)?;
                }
            }
        }
        let message = extra.map_or("", |e| e.status_message.as_str());
        out.serialize_field("status", &StatusOut(&span.status, message))?;
        out.end()
    }
}

struct EventOut<'a>(&'a Event);

impl Serialize for EventOut<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut out = s.serialize_struct("Event", 4)?;
        if let Some(time) = self.0.at() {
            out.serialize_field("timeUnixNano", &Text(time))?;
        }
        out.serialize_field("name", &self.0.name)?;
        if !self.0.attributes.is_empty() {
            out.serialize_field("attributes", &Pairs(&self.0.attributes))?;
        }
        if self.0.dropped > 0 {
            out.serialize_field("droppedAttributesCount", &self.0.dropped)?;
        }
        out.end()
    }
}

struct LinkOut<'a>(&'a Link);

impl Serialize for LinkOut<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut out = s.serialize_struct("Link", 6)?;
        out.serialize_field("traceId", &Text(self.0.trace))?;
        out.serialize_field("spanId", &Text(self.0.span))?;
        let extra = self.0.extra.as_deref();
        if let Some(extra) = extra.filter(|e| !e.state.is_empty()) {
            out.serialize_field("traceState", &extra.state)?;
        }
        if !self.0.attributes.is_empty() {
            out.serialize_field("attributes", &Pairs(&self.0.attributes))?;
        }
        if let Some(extra) = extra {
            for (key, number) in [("droppedAttributesCount", extra.dropped), ("flags", extra.flags)] {
                if number > 0 {
                    out.serialize_field(key, &number)?;
                }
            }
        }
        out.end()
    }
}

/// And the message of one that is no error.
struct StatusOut<'a>(&'a Status, &'a str);

impl Serialize for StatusOut<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut out = s.serialize_struct("Status", 2)?;
        let (code, message) = match self.0 {
            Status::Unset => (0, None),
            Status::Ok => (1, None),
            Status::Error(message) => (2, Some(message.as_str())),
        };
        if let Some(message) = message.or(Some(self.1).filter(|m| !m.is_empty())) {
            out.serialize_field("message", message)?;
        }
        if code > 0 {
            out.serialize_field("code", &code)?;
        }
        out.end()
    }
}

struct Pairs<'a>(&'a Attributes);

#[derive(serde::Serialize)]
struct Pair<'a> {
    key: &'a str,
    value: Any<'a>,
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.iter().map(|(key, value)| Pair { key, value: Any(value) }))
    }
}

fn pair((key, value): &(String, Value)) -> Pair<'_> {
    Pair { key, value: Any(value) }
}

struct Any<'a>(&'a Value);

impl Serialize for Any<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Str(v) => One("stringValue", v).serialize(s),
            Value::Int(v) => One("intValue", Text(v)).serialize(s),
            Value::Bool(v) => One("boolValue", v).serialize(s),
            Value::Array(v) => One("arrayValue", One("values", List(v, Any))).serialize(s),
            Value::Map(v) => One("kvlistValue", One("values", List(v, pair))).serialize(s),
            Value::Bytes(v) => One("bytesValue", base64::prelude::BASE64_STANDARD.encode(v)).serialize(s),
            // JSON has no such numbers; Protobuf's JSON mapping names them.
            Value::Double(v) if v.is_nan() => One("doubleValue", "NaN").serialize(s),
            Value::Double(v) if v.is_infinite() => {
                One("doubleValue", if *v > 0.0 { "Infinity" } else { "-Infinity" }).serialize(s)
            }
            Value::Double(v) => One("doubleValue", v).serialize(s),
        }
    }
}
