//! Jaeger's JSON into the model.

use std::collections::HashMap;

use base64::Engine as _;
use serde::Deserialize;

use super::{NO_SERVICE, tag};
use crate::formats::ids::{self, Micros};
use crate::formats::plain::Plain;
use crate::names::attr;
use crate::record::collect::{Collect, Source};
use crate::record::file::lenient::{Number, Sifted, Sound, nullable};
use crate::record::file::mend::mend;
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
    match collect.skipped() {
        skipped if collect.spans() == 0 && skipped.count > 0 => Err(skipped.why.clone()),
        _ => Ok(collect.finish()),
    }
}

/// Adds the traces of an answer, of a list of traces, or a single one. An error says what was got and expected.
pub fn take(text: &[u8], collect: &mut Collect) -> Result<(), String> {
    let said = |e: serde_json::Error| ids::json_error(&e);
    let text = mend(ids::without_mark(text));
    let text = text.as_ref();
    if text.trim_ascii_start().first() == Some(&b'[') {
        let all: Vec<Answer> = serde_json::from_slice(text).map_err(said)?;
        all.into_iter().for_each(|one| one.take(collect));
        return Ok(());
    }
    for one in serde_json::Deserializer::from_slice(text).into_iter::<Answer>() {
        one.map_err(said)?.take(collect);
    }
    Ok(())
}

/// What the query API answers, and what the UI downloads; or a single trace, which some files hold: their keys don't
/// collide.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    #[serde(deserialize_with = "nullable")]
    data: Vec<TraceIn>,
    #[serde(deserialize_with = "nullable")]
    errors: Vec<Complaint>,
    #[serde(rename = "traceID", deserialize_with = "nullable")]
    id: String,
    spans: Sifted<SpanIn>,
    #[serde(deserialize_with = "nullable")]
    processes: HashMap<String, ProcessIn>,
}

impl Answer {
    /// Adds all spans; those without valid ids are left out.
    pub fn take(self, collect: &mut Collect) {
        let alone = TraceIn { id: self.id, spans: self.spans, processes: self.processes };
        self.data.into_iter().chain([alone]).for_each(|trace| trace.take(collect));
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
    spans: Sifted<SpanIn>,
    #[serde(deserialize_with = "nullable")]
    processes: HashMap<String, ProcessIn>,
}

impl TraceIn {
    fn take(self, collect: &mut Collect) {
        let resources: HashMap<String, Attributes> =
            self.processes.into_iter().map(|(id, process)| (id, process.resource())).collect();
        let mut sources = HashMap::new();
        collect.skip(self.spans.skipped);
        for span in self.spans.sound {
            if let Err(why) = span.take(&self.id, &resources, &mut sources, collect) {
                collect.skip_one(why);
            }
        }
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
    time_unix_nano: Option<Number>,
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

impl Sound for SpanIn {
    fn sound(&self) -> Result<(), String> {
        let ids = SpanId::from_short_hex(&self.span_id).is_some();
        if ids { Ok(()) } else { Err(ids::wrong(&self.operation_name, "id", &self.span_id, 16)) }
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
        let trace = TraceId::from_short_hex(written)
            .ok_or_else(|| ids::wrong(&self.operation_name, "trace id", written, 32))?;
        let id = SpanId::from_short_hex(&self.span_id)
            .ok_or_else(|| ids::wrong(&self.operation_name, "id", &self.span_id, 16))?;
        let mut noted = Noted::default();
        let attributes: Attributes = self.tags.into_iter().filter_map(|t| noted.sift(t)).collect();
        let (start, end) = nanoseconds(
            (self.start_time, self.start_time_unix_nano),
            (self.start_time.plus(self.duration), self.end_time_unix_nano),
        );
        let ours = noted.library.name == "trace";
        let (parent, links) = related(trace, SpanId::from_short_hex(&self.parent_id), self.references, ours);
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
            extra: None,
        };
        let source = match self.process {
            // A process of its own, as in Jaeger's Elasticsearch documents.
            Some(process) => collect.source(Origin {
                resource: process.resource(),
                scope: noted.library.into_scope(),
                ..Origin::default()
            }),
            None => *sources.entry((self.process_id, noted.library)).or_insert_with_key(|(process, library)| {
                let resource = resources.get(process).cloned().unwrap_or_default();
                collect.source(Origin { resource, scope: library.clone().into_scope(), ..Origin::default() })
            }),
        };
        collect.add(trace, noted.state, source, span);
        Ok(())
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
        Scope { name: self.name, version: self.version, ..Scope::default() }
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

/// The parent and the links of a span. As in Jaeger the parent is the first `CHILD_OF` of the same trace, without one
/// the first `FOLLOWS_FROM`, which then is a link too. Of our own spans every link inside the trace is a recorded wait,
/// and Jaeger has lost only the word for it.
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
            if reference.trace_id.is_empty() { Some(trace) } else { TraceId::from_short_hex(&reference.trace_id) },
            SpanId::from_short_hex(&reference.span_id),
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
        links.push(Link { trace: to, span, attributes, extra: None });
    }
    (parent.or(before.filter(|_| !ours)), links)
}

impl LogIn {
    fn event(self) -> Event {
        let exact = self.time_unix_nano.unwrap_or_default();
        // Ours says so where there is none.
        let time = match self.time_unix_nano {
            Some(Number(0)) => 0,
            _ => nanoseconds((self.timestamp, exact), (self.timestamp, exact)).0,
        };
        let mut name = None;
        let mut attributes = Vec::with_capacity(self.fields.len());
        for (key, value) in self.fields.into_iter().map(TagIn::pair) {
            match value {
                Value::Str(text) if key == tag::EVENT && name.is_none() => name = Some(text),
                value => attributes.push((key, value)),
            }
        }
        Event {
            name: Key::Owned(name.unwrap_or_default()),
            time,
            attributes: attributes.into_iter().collect(),
            dropped: 0,
        }
    }
}

/// Begin and end in ns: from our own fields where they say the same microsecond as Jaeger's, else from those.
fn nanoseconds(start: (Micros, Number), end: (Micros, Number)) -> (u64, u64) {
    let (exact_start, exact_end) = (start.1.time(), end.1.time());
    let near = |exact: u64, coarse: Micros| (i128::from(exact) - coarse.0).abs() < 2000;
    if exact_start > 0 && near(exact_start, start.0) && near(exact_end, end.0) {
        return sane_times(exact_start, exact_end);
    }
    sane_times(start.0.time(), end.0.time())
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
