//! Jaeger's JSON into the model.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{NO_SERVICE, tag};
use crate::names::attr;
use crate::record::collect::{Collect, Source};
use crate::record::file::lenient::{Number, nullable};
use crate::record::file::sane_times;
use crate::record::model::{
    Attributes, Event, Key, Kind, Link, Origin, Scope, Span, SpanId, Status, Trace, TraceId, Value,
};

/// Attributes that the conventions define as arrays of text, and ours. A Jaeger makes them text.
const ARRAYS: [&str; 8] = [
    attr::CONTAINER_IMAGE_TAGS,
    attr::PROCESS_COMMAND_ARGS,
    attr::NAMESPACES,
    attr::CAPABILITIES,
    "container.command_args",
    "container.image.repo_digests",
    "host.ip",
    "host.mac",
];

/// Traces in Jaeger's JSON, in the order in which they first appear. An error says what was got and expected.
pub fn parse(text: &[u8]) -> Result<Vec<Trace>, String> {
    let mut collect = Collect::new();
    take(text, &mut collect)?;
    Ok(collect.finish())
}

/// Adds the traces of an answer, of a list of traces, or a single one. An error says what was got and expected.
pub fn take(text: &[u8], collect: &mut Collect) -> Result<(), String> {
    let said = |e: serde_json::Error| e.to_string().chars().take(200).collect::<String>();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if text.trim_ascii_start().first() == Some(&b'[') {
        let all: Vec<Answer> = serde_json::from_slice(text).map_err(said)?;
        return all.into_iter().try_for_each(|one| one.take(collect));
    }
    for one in serde_json::Deserializer::from_slice(text).into_iter::<Answer>() {
        one.map_err(said)?.take(collect)?;
    }
    Ok(())
}

/// What the query API answers, and what the UI downloads; or a single trace, which some files hold: their keys don't collide.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    #[serde(deserialize_with = "nullable")]
    data: Vec<TraceIn>,
    #[serde(deserialize_with = "nullable")]
    errors: Vec<Complaint>,
    #[serde(rename = "traceID", deserialize_with = "nullable")]
    id: String,
    #[serde(deserialize_with = "nullable")]
    spans: Vec<SpanIn>,
    #[serde(deserialize_with = "nullable")]
    processes: HashMap<String, ProcessIn>,
}

impl Answer {
    /// Adds all spans. A span without valid ids is an error in words.
    pub fn take(self, collect: &mut Collect) -> Result<(), String> {
        let alone = TraceIn { id: self.id, spans: self.spans, processes: self.processes };
        self.data.into_iter().chain([alone]).try_for_each(|trace| trace.take(collect))
    }

    /// What Jaeger says went wrong, if it says so.
    pub fn complaint(&self) -> Option<&str> {
        self.errors.first().map(|e| e.msg.as_str())
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Complaint {
    #[serde(deserialize_with = "nullable")]
    msg: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TraceIn {
    #[serde(rename = "traceID", deserialize_with = "nullable")]
    id: String,
    #[serde(deserialize_with = "nullable")]
    spans: Vec<SpanIn>,
    #[serde(deserialize_with = "nullable")]
    processes: HashMap<String, ProcessIn>,
}

impl TraceIn {
    fn take(self, collect: &mut Collect) -> Result<(), String> {
        let resources: HashMap<String, Attributes> =
            self.processes.into_iter().map(|(id, process)| (id, process.resource())).collect();
        let mut sources = HashMap::new();
        for span in self.spans {
            span.take(&self.id, &resources, &mut sources, collect)?;
        }
        Ok(())
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpanIn {
    #[serde(rename = "traceID", deserialize_with = "nullable")]
    trace_id: String,
    #[serde(rename = "spanID", deserialize_with = "nullable")]
    span_id: String,
    /// Jaeger before 1.8.
    #[serde(rename = "parentSpanID", deserialize_with = "nullable")]
    parent_id: String,
    #[serde(deserialize_with = "nullable")]
    operation_name: String,
    #[serde(deserialize_with = "nullable")]
    references: Vec<ReferenceIn>,
    #[serde(deserialize_with = "nullable")]
    start_time: Micros,
    #[serde(deserialize_with = "nullable")]
    duration: Micros,
    #[serde(deserialize_with = "nullable")]
    start_time_unix_nano: Number,
    #[serde(deserialize_with = "nullable")]
    end_time_unix_nano: Number,
    #[serde(deserialize_with = "nullable")]
    tags: Vec<TagIn>,
    #[serde(deserialize_with = "nullable")]
    logs: Vec<LogIn>,
    #[serde(rename = "processID", deserialize_with = "nullable")]
    process_id: String,
    process: Option<ProcessIn>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReferenceIn {
    #[serde(deserialize_with = "nullable")]
    ref_type: String,
    #[serde(rename = "traceID", deserialize_with = "nullable")]
    trace_id: String,
    #[serde(rename = "spanID", deserialize_with = "nullable")]
    span_id: String,
    #[serde(deserialize_with = "nullable")]
    attributes: Vec<TagIn>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LogIn {
    #[serde(deserialize_with = "nullable")]
    timestamp: Micros,
    #[serde(deserialize_with = "nullable")]
    time_unix_nano: Number,
    #[serde(deserialize_with = "nullable")]
    fields: Vec<TagIn>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ProcessIn {
    #[serde(deserialize_with = "nullable")]
    service_name: String,
    #[serde(deserialize_with = "nullable")]
    tags: Vec<TagIn>,
}

impl ProcessIn {
    fn resource(self) -> Attributes {
        let name = Some(self.service_name).filter(|n| !n.is_empty() && n != NO_SERVICE);
        let name = name.map(|n| (Key::Borrowed(attr::SERVICE_NAME), Value::Str(n)));
        name.into_iter().chain(self.tags.into_iter().map(TagIn::pair)).collect()
    }
}

impl SpanIn {
    fn take(
        self,
        whole: &str,
        resources: &HashMap<String, Attributes>,
        sources: &mut HashMap<(String, Library), Source>,
        collect: &mut Collect,
    ) -> Result<(), String> {
        let written = if self.trace_id.is_empty() { whole } else { &self.trace_id };
        let trace = trace_id(written).ok_or_else(|| self.wrong("trace id", written, 32))?;
        let id = span_id(&self.span_id).ok_or_else(|| self.wrong("id", &self.span_id, 16))?;
        let mut noted = Noted::default();
        let attributes: Attributes = self.tags.into_iter().filter_map(|t| noted.sift(t)).collect();
        let (start, end) = nanoseconds(
            (self.start_time, self.start_time_unix_nano),
            (self.start_time.plus(self.duration), self.end_time_unix_nano),
        );
        let ours = noted.library.name == "trace";
        let (parent, links) = related(trace, span_id(&self.parent_id), self.references, ours);
        let span = Span {
            id,
            parent,
            name: Key::Owned(self.operation_name),
            kind: noted.kind.unwrap_or(Kind::Unspecified),
            start,
            end,
            attributes,
            events: self.logs.into_iter().map(LogIn::event).collect(),
            links,
            status: noted.status.status(),
            origin: 0,
        };
        let source = match self.process {
            // A process of its own, as in Jaeger's Elasticsearch documents.
            Some(process) => collect.source(Origin { resource: process.resource(), scope: noted.library.into_scope() }),
            None => *sources.entry((self.process_id, noted.library)).or_insert_with_key(|(process, library)| {
                let resource = resources.get(process).cloned().unwrap_or_default();
                collect.source(Origin { resource, scope: library.clone().into_scope() })
            }),
        };
        collect.add(trace, noted.state, source, span);
        Ok(())
    }

    fn wrong(&self, what: &str, got: &str, digits: usize) -> String {
        let cut = |text: &str| text.chars().take(64).flat_map(char::escape_debug).collect::<String>();
        format!(
            "the span `{}` has the {what} `{}`: expected up to {digits} hex digits, not all zero",
            cut(&self.operation_name),
            cut(got)
        )
    }
}

/// Name and version of a library.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Library {
    name: String,
    version: String,
}

impl Library {
    fn into_scope(self) -> Scope {
        Scope { name: self.name, version: self.version, attributes: Attributes::new() }
    }
}

/// What the tags of a span say besides attributes.
#[derive(Default)]
struct Noted {
    kind: Option<Kind>,
    status: StatusTags,
    library: Library,
    state: Option<String>,
}

#[derive(Default)]
struct StatusTags {
    code: Option<String>,
    description: String,
    error: bool,
}

impl StatusTags {
    fn status(self) -> Status {
        match self.code.as_deref() {
            Some("ERROR") => Status::Error(self.description),
            Some("OK") => Status::Ok,
            None if self.error => Status::Error(self.description),
            _ => Status::Unset,
        }
    }
}

impl Noted {
    /// Takes a tag that is no attribute, and gives back one that is.
    fn sift(&mut self, tag: TagIn) -> Option<(Key, Value)> {
        let (key, value) = tag.pair();
        match (key.as_ref(), value) {
            (tag::KIND, Value::Str(v)) => match kind(&v) {
                Some(kind) => self.kind = Some(kind),
                None => return Some((key, Value::Str(v))),
            },
            (tag::STATUS, Value::Str(v)) => self.status.code = Some(v.to_ascii_uppercase()),
            (tag::DESCRIPTION, Value::Str(v)) => self.status.description = v,
            (tag::ERROR, Value::Bool(true)) => self.status.error = true,
            (tag::ERROR, Value::Str(v)) if v == "true" => self.status.error = true,
            (tag::SCOPE | tag::LIBRARY, Value::Str(v)) => self.library.name = v,
            (tag::SCOPE_VERSION | tag::LIBRARY_VERSION, Value::Str(v)) => self.library.version = v,
            (tag::STATE, Value::Str(v)) => self.state = Some(v),
            (tag::FORMAT, _) => {}
            (_, value) => return Some((key, value)),
        }
        None
    }
}

fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "internal" => Kind::Internal,
        "server" => Kind::Server,
        "client" => Kind::Client,
        "producer" => Kind::Producer,
        "consumer" => Kind::Consumer,
        "unspecified" => Kind::Unspecified,
        _ => return None,
    })
}

/// The parent and the links of a span. As in Jaeger the parent is the first `CHILD_OF` of the same trace, without one the first
/// `FOLLOWS_FROM`, which then is a link too. Of our own spans every link inside the trace is a recorded wait, and
/// Jaeger has lost only the word for it.
fn related(
    trace: TraceId,
    parent: Option<SpanId>,
    references: Vec<ReferenceIn>,
    ours: bool,
) -> (Option<SpanId>, Vec<Link>) {
    let mut parent = parent;
    let mut before = None;
    let mut links = Vec::new();
    for reference in references {
        // A reference to nowhere says nothing.
        let (Some(to), Some(span)) = (
            if reference.trace_id.is_empty() { Some(trace) } else { trace_id(&reference.trace_id) },
            span_id(&reference.span_id),
        ) else {
            continue;
        };
        let child = reference.ref_type.eq_ignore_ascii_case("CHILD_OF");
        if child && to == trace && parent.is_none_or(|p| p == span) {
            parent = Some(span);
            continue;
        }
        let mut attributes: Attributes = reference.attributes.into_iter().map(TagIn::pair).collect();
        if child {
            attributes.set(tag::REFERENCE, "child_of");
        } else if to == trace {
            before.get_or_insert(span);
            if ours && attributes.is_empty() {
                attributes.set(attr::WAIT_FOR, true);
            }
        }
        links.push(Link { trace: to, span, attributes });
    }
    (parent.or(before.filter(|_| !ours)), links)
}

impl LogIn {
    fn event(self) -> Event {
        let (time, _) = nanoseconds((self.timestamp, self.time_unix_nano), (self.timestamp, self.time_unix_nano));
        let mut name = None;
        let mut attributes = Vec::with_capacity(self.fields.len());
        for (key, value) in self.fields.into_iter().map(TagIn::pair) {
            match value {
                Value::Str(text) if key == tag::EVENT && name.is_none() => name = Some(text),
                value => attributes.push((key, value)),
            }
        }
        Event { name: Key::Owned(name.unwrap_or_default()), time, attributes: attributes.into_iter().collect() }
    }
}

/// Begin and end in ns: from our own fields where they say the same microsecond as Jaeger's, else from those.
fn nanoseconds(start: (Micros, Number), end: (Micros, Number)) -> (u64, u64) {
    let (exact_start, exact_end) = (start.1.time(), end.1.time());
    let near = |exact: u64, coarse: Micros| (i128::from(exact) - coarse.0).abs() < 2000;
    if exact_start > 0 && near(exact_start, start.0) && near(exact_end, end.0) {
        return sane_times(exact_start, exact_end);
    }
    let clamp = |time: Micros| time.0.clamp(0, i128::from(u64::MAX)) as u64;
    sane_times(clamp(start.0), clamp(end.0))
}

/// 1 to 32 hex digits, not all zero; Jaeger leaves out leading zeros.
fn trace_id(text: &str) -> Option<TraceId> {
    hex(text, 32).map(TraceId)
}

/// 1 to 16 hex digits, not all zero.
fn span_id(text: &str) -> Option<SpanId> {
    hex(text, 16).and_then(|id| u64::try_from(id).ok()).map(SpanId)
}

fn hex(text: &str, most: usize) -> Option<u128> {
    // `from_str_radix` would take a sign.
    let digits = text.len() <= most && text.bytes().all(|b| b.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|id| digits && *id != 0)
}

/// Microseconds in the file, kept as ns: whole numbers, or with a fraction.
#[derive(Clone, Copy, Default)]
struct Micros(i128);

impl Micros {
    fn plus(self, other: Micros) -> Micros {
        Micros(self.0.saturating_add(other.0.max(0)))
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Micros;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of microseconds")
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<Micros, E> {
                Ok(Micros(i128::from(v) * 1000))
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<Micros, E> {
                Ok(Micros(i128::from(v) * 1000))
            }
            fn visit_f64<E: Error>(self, v: f64) -> Result<Micros, E> {
                // `as` saturates, far below the end of an i128.
                Ok(Micros(i128::from((v * 1000.0).round() as i64)))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Micros, E> {
                v.parse().map(|v: i64| Micros(i128::from(v) * 1000)).map_err(|_| E::custom("expected microseconds"))
            }
        }
        d.deserialize_any(V)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TagIn {
    #[serde(deserialize_with = "nullable")]
    key: String,
    #[serde(rename = "type", deserialize_with = "nullable")]
    sort: String,
    #[serde(deserialize_with = "nullable")]
    value: Plain,
    /// Ours: the text is the JSON of an array or a map.
    #[serde(deserialize_with = "nullable")]
    is_json: bool,
}

impl TagIn {
    fn pair(self) -> (Key, Value) {
        let value = match (self.sort.to_ascii_lowercase().as_str(), self.value.0) {
            ("int64", Value::Str(v)) => v.parse().map_or(Value::Str(v), Value::Int),
            ("int64", Value::Double(v)) if v.fract() == 0.0 && v.abs() < 9e18 => Value::Int(v as i64),
            ("float64", Value::Int(v)) => Value::Double(v as f64),
            ("float64", Value::Str(v)) => v.parse().map_or(Value::Str(v), Value::Double),
            ("bool", Value::Str(v)) => v.parse().map_or(Value::Str(v), Value::Bool),
            ("binary", Value::Str(v)) => {
                base64::prelude::BASE64_STANDARD.decode(&v).map_or(Value::Str(v), Value::Bytes)
            }
            (_, Value::Str(v)) if self.is_json || ARRAYS.contains(&self.key.as_str()) => {
                match serde_json::from_str::<Plain>(&v) {
                    Ok(Plain(read @ (Value::Array(_) | Value::Map(_)))) => read,
                    _ => Value::Str(v),
                }
            }
            (_, value) => value,
        };
        (Key::Owned(self.key), value)
    }
}

/// Any JSON as a value; `null` is the empty text. serde_json refuses what is nested deeper than 128.
pub(in crate::formats) struct Plain(pub(in crate::formats) Value);

impl Default for Plain {
    fn default() -> Self {
        Plain(Value::Str(String::new()))
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Plain;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_bool<E>(self, v: bool) -> Result<Plain, E> {
                Ok(Plain(Value::Bool(v)))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Plain, E> {
                Ok(Plain(Value::Int(v)))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Plain, E> {
                Ok(Plain(Value::from(v)))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Plain, E> {
                Ok(Plain(Value::Double(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Plain, E> {
                Ok(Plain(Value::Str(v.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Plain, E> {
                Ok(Plain::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Plain, A::Error> {
                let mut out = Vec::new();
                while let Some(Plain(v)) = seq.next_element()? {
                    out.push(v);
                }
                Ok(Plain(Value::Array(out)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
                let mut out = Vec::new();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    out.push((key.into_owned(), map.next_value::<Plain>()?.0));
                }
                Ok(Plain(Value::Map(out)))
            }
        }
        d.deserialize_any(V)
    }
}
