//! What the OpenTelemetry SDKs of Python (`ConsoleSpanExporter`) and Go (`stdouttrace`) print: one JSON object a span,
//! one after the other. Nobody specifies it; the shapes are those of Python SDK 1.x and Go SDK 1.x. (The JavaScript SDK
//! prints no JSON.)

use serde::Deserialize;
use serde::de::Error as _;

use super::ids;
use super::plain::Plain;
use crate::record::collect::{Collect, Skipped};
use crate::record::file::lenient::{Enum, Number, nullable};
use crate::record::file::mend::mend;
use crate::record::file::sane_times;
use crate::record::model::{
    Attributes, Event, Key, Kind, Link, LinkExtra, Origin, Scope, Span, SpanExtra, SpanId, Status, TraceId, Value,
};
use crate::record::time::parse_rfc3339;

/// Adds all spans; those that cannot be used are left out. An error says what was got and expected.
pub fn take(text: &[u8], collect: &mut Collect) -> Result<(), String> {
    let mut skipped = Skipped::default();
    ids::each(&mend(text), &mut skipped, |raw| {
        let read = serde_json::from_str::<SpanIn>(raw.get())
            .map_err(|e| format!("a span cannot be read: {}", ids::json_error(&e)));
        if let Err(why) = read.and_then(|span| span.take(collect)) {
            collect.skip_one(why);
        }
    })?;
    collect.skip(skipped);
    Ok(())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SpanIn {
    #[serde(alias = "Name", deserialize_with = "nullable")]
    name: String,
    #[serde(alias = "SpanContext", deserialize_with = "nullable")]
    context: Context,
    #[serde(alias = "SpanKind", deserialize_with = "nullable")]
    kind: Enum,
    /// Python's.
    #[serde(deserialize_with = "nullable")]
    parent_id: String,
    /// Go's.
    #[serde(rename = "Parent", deserialize_with = "nullable")]
    parent: Context,
    #[serde(alias = "StartTime", deserialize_with = "nullable")]
    start_time: Time,
    #[serde(alias = "EndTime", deserialize_with = "nullable")]
    end_time: Time,
    #[serde(alias = "Status", deserialize_with = "nullable")]
    status: StatusIn,
    #[serde(alias = "Attributes", deserialize_with = "nullable")]
    attributes: Pairs,
    #[serde(alias = "Events", deserialize_with = "nullable")]
    events: Vec<EventIn>,
    #[serde(alias = "Links", deserialize_with = "nullable")]
    links: Vec<LinkIn>,
    #[serde(alias = "Resource", deserialize_with = "nullable")]
    resource: Pairs,
    #[serde(rename = "InstrumentationScope", deserialize_with = "nullable")]
    scope: ScopeIn,
    /// The older name, which newer versions write too.
    #[serde(rename = "InstrumentationLibrary", deserialize_with = "nullable")]
    library: ScopeIn,
    #[serde(rename = "DroppedAttributes", deserialize_with = "nullable")]
    dropped_attributes: Number,
    #[serde(rename = "DroppedEvents", deserialize_with = "nullable")]
    dropped_events: Number,
    #[serde(rename = "DroppedLinks", deserialize_with = "nullable")]
    dropped_links: Number,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    #[serde(rename = "TraceFlags", deserialize_with = "nullable")]
    trace_flags: String,
    #[serde(alias = "TraceID", deserialize_with = "nullable")]
    trace_id: String,
    #[serde(alias = "SpanID", deserialize_with = "nullable")]
    span_id: String,
    #[serde(alias = "TraceState", deserialize_with = "nullable")]
    trace_state: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusIn {
    /// Python's, by name.
    #[serde(deserialize_with = "nullable")]
    status_code: Enum,
    /// Go's: by name, or in what BuildKit stores by the number, which is not OTLP's.
    #[serde(rename = "Code", deserialize_with = "nullable")]
    code: Enum,
    #[serde(alias = "Description", deserialize_with = "nullable")]
    description: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EventIn {
    #[serde(alias = "Name", deserialize_with = "nullable")]
    name: String,
    #[serde(alias = "Time", deserialize_with = "nullable")]
    timestamp: Time,
    #[serde(alias = "Attributes", deserialize_with = "nullable")]
    attributes: Pairs,
    #[serde(rename = "DroppedAttributeCount", deserialize_with = "nullable")]
    dropped: Number,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LinkIn {
    #[serde(alias = "SpanContext", deserialize_with = "nullable")]
    context: Context,
    #[serde(alias = "Attributes", deserialize_with = "nullable")]
    attributes: Pairs,
    #[serde(rename = "DroppedAttributeCount", deserialize_with = "nullable")]
    dropped: Number,
}

impl Context {
    /// What a link says beside its ids.
    fn of_link(&self, dropped: Number) -> Option<Box<LinkExtra>> {
        let state = if self.trace_state.starts_with('[') { "" } else { &self.trace_state };
        let flags = u32::from_str_radix(&self.trace_flags, 16).unwrap_or(0);
        let extra = LinkExtra { state: state.to_owned(), flags, dropped: dropped.count() };
        (extra != LinkExtra::default()).then(|| Box::new(extra))
    }
}

impl StatusIn {
    /// And the message of one that is no error.
    fn read(self) -> (Status, String) {
        // Go's numbers: 1 is an error and 2 is well.
        let code = match self.code {
            Enum::Number(1) => Enum::StatusError,
            Enum::Number(2) => Enum::StatusOk,
            code => code,
        };
        match if code == Enum::Unknown { self.status_code } else { code } {
            Enum::StatusError => (Status::Error(self.description), String::new()),
            Enum::StatusOk => (Status::Ok, self.description),
            _ => (Status::Unset, self.description),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ScopeIn {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    version: String,
    #[serde(rename = "SchemaURL", deserialize_with = "nullable")]
    schema_url: String,
}

impl SpanIn {
    fn take(self, collect: &mut Collect) -> Result<(), String> {
        let (trace_text, id_text) = (plain_hex(&self.context.trace_id), plain_hex(&self.context.span_id));
        let trace =
            TraceId::from_short_hex(trace_text).ok_or_else(|| ids::wrong(&self.name, "trace id", trace_text, 32))?;
        let id = SpanId::from_short_hex(id_text).ok_or_else(|| ids::wrong(&self.name, "id", id_text, 16))?;
        let parent =
            [&self.parent_id, &self.parent.span_id].into_iter().find_map(|p| SpanId::from_short_hex(plain_hex(p)));
        let written = (self.start_time.0, self.end_time.0);
        let (start, end) = sane_times(written.0, written.1);
        let (status, status_message) = self.status.read();
        let extra = SpanExtra {
            flags: u32::from_str_radix(&self.context.trace_flags, 16).unwrap_or(0),
            dropped_attributes: self.dropped_attributes.count(),
            dropped_events: self.dropped_events.count(),
            dropped_links: self.dropped_links.count(),
            status_message,
            written: (written != (start, end) || written == (0, 0)).then_some(written),
            state: None,
        };
        let links = self.links.into_iter().filter_map(|l| {
            let (trace, span) = (&l.context.trace_id, &l.context.span_id);
            // A link to nowhere says nothing.
            let (trace, span) = (TraceId::from_short_hex(plain_hex(trace))?, SpanId::from_short_hex(plain_hex(span))?);
            Some(Link { trace, span, attributes: l.attributes.attributes, extra: l.context.of_link(l.dropped) })
        });
        let events = self.events.into_iter().map(|e| Event {
            name: Key::Owned(e.name),
            time: e.timestamp.0,
            attributes: e.attributes.attributes,
            dropped: e.dropped.count(),
        });
        let span = Span {
            id,
            parent,
            name: Key::Owned(self.name),
            // Python's numbers are one less than OTLP's, but it writes names.
            kind: if self.kind == Enum::Unknown { Kind::Unspecified } else { self.kind.kind() },
            start,
            end,
            attributes: self.attributes.attributes,
            events: events.collect(),
            links: links.collect(),
            status,
            origin: 0,
            extra: (extra != SpanExtra::default()).then(|| Box::new(extra)),
        };
        let scope = [self.scope, self.library].into_iter().find(|s| !s.name.is_empty()).unwrap_or_default();
        let scope =
            Scope { name: scope.name, version: scope.version, schema_url: scope.schema_url, ..Scope::default() };
        let Pairs { attributes: resource, schema_url } = self.resource;
        let source = collect.source(Origin { resource, schema_url, scope, ..Origin::default() });
        // Python prints an empty one as the list that it is.
        let state = Some(self.context.trace_state).filter(|s| !s.is_empty() && !s.starts_with('['));
        collect.add(trace, state, source, span);
        Ok(())
    }
}

/// Python writes ids as numbers.
fn plain_hex(id: &str) -> &str {
    id.strip_prefix("0x").unwrap_or(id)
}

/// Python's objects, Go's lists of `{"Key":…,"Value":{"Type":…,"Value":…}}`; Python's resource has them one level
/// deeper.
#[derive(Default)]
struct Pairs {
    attributes: Attributes,
    /// That of a resource; may be empty.
    schema_url: String,
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut schema_url = String::new();
        let pairs = match Plain::deserialize(d)?.0 {
            Value::Map(mut pairs) => {
                match pairs.iter().position(|(k, v)| k == "attributes" && matches!(v, Value::Map(_))) {
                    Some(at) => {
                        let inner = pairs.swap_remove(at).1;
                        if let Some((_, Value::Str(url))) = pairs.into_iter().find(|(k, _)| k == "schema_url") {
                            schema_url = url;
                        }
                        if let Value::Map(inner) = inner { inner } else { Vec::new() }
                    }
                    None => pairs,
                }
            }
            Value::Array(list) => list.into_iter().filter_map(go_pair).collect(),
            _ => return Err(D::Error::custom("expected attributes as an object or a list")),
        };
        let attributes = pairs.into_iter().map(|(k, v)| (Key::Owned(k), v)).collect();
        Ok(Pairs { attributes, schema_url })
    }
}

fn go_pair(pair: Value) -> Option<(String, Value)> {
    let (mut key, mut value) = (None, None);
    if let Value::Map(fields) = pair {
        for (name, field) in fields {
            match (name.as_str(), field) {
                ("Key", Value::Str(text)) => key = Some(text),
                ("Value", Value::Map(inner)) => value = go_value(inner),
                _ => {}
            }
        }
    }
    Some((key?, value?))
}

/// Go writes a real number without a fraction as a whole one; the type says what it was.
fn go_value(fields: Vec<(String, Value)>) -> Option<Value> {
    let (mut sort, mut value) = (String::new(), None);
    for (name, field) in fields {
        match (name.as_str(), field) {
            ("Type", Value::Str(text)) => sort = text,
            ("Value", field) => value = Some(field),
            _ => {}
        }
    }
    let real = |v| if let Value::Int(v) = v { Value::Double(v as f64) } else { v };
    Some(match (sort.as_str(), value?) {
        ("FLOAT64", v) => real(v),
        ("FLOAT64SLICE", Value::Array(v)) => Value::Array(v.into_iter().map(real).collect()),
        (_, v) => v,
    })
}

/// A moment in RFC 3339, as ns since the Unix epoch.
#[derive(Clone, Copy, Default)]
struct Time(u64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        let shown = || text.chars().take(40).flat_map(char::escape_debug).collect::<String>();
        parse_rfc3339(&text).map(Time).ok_or_else(|| {
            D::Error::custom(format!("`{}` is no time: expected e.g. 2026-01-31T12:00:00.123Z", shown()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_span_is_left_out() {
        for bad in ["{}", r#"{"context":{"trace_id":"0x1","span_id":"0x"}}"#, r#"{"context":3}"#, r#"{"Attributes":3}"#]
        {
            let mut collect = Collect::new();
            take(bad.as_bytes(), &mut collect).unwrap();
            assert_eq!((collect.spans(), collect.skipped().count), (0, 1), "{bad}");
        }
    }
}
