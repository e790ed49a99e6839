//! What `trace ls` shows of a file, without building the model: of all attributes only the few that are listed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::FileError;
use super::lenient::{Id, Number, Sound, nullable};
use super::mend::mend;
use super::read::{bytes, each_value, status, times};
use super::wire::{Any, Request, StatusIn, sound_ids};
use crate::names::attr;
use crate::record::collect::Skipped;
use crate::record::model::{SpanId, Status, TraceId, Value};

/// The root span of one trace, in short.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The trace.
    pub id: TraceId,
    /// Name of the root span, e.g. `run`.
    pub name: String,
    /// `service.name` of the program that recorded the root.
    pub service: Option<String>,
    /// Begin, ns since the Unix epoch.
    pub start: u64,
    /// Length, ns.
    pub duration: u64,
    /// `container.image.name` without tag.
    pub image: Option<String>,
    /// First of `container.image.tags`.
    pub tag: Option<String>,
    /// `trace.run.kind`: `cold`, `warm`, `partial`.
    pub kind: Option<String>,
    /// `trace.hub`.
    pub hub: Option<String>,
    /// `process.exit.code`.
    pub exit_code: Option<i64>,
    /// How the root ended.
    pub status: Status,
    /// Number of spans of the trace.
    pub spans: usize,
}

/// The root of each trace of a file, in the order of their first spans. Chooses the same root as
/// [`Trace::root`](crate::record::model::Trace::root); where parents go round in a circle, the longest span.
pub fn read_headers(path: &Path) -> Result<Vec<Header>, FileError> {
    let text = bytes(path)?;
    let text = mend(&text);
    let mut order: Vec<TraceId> = Vec::new();
    let mut traces: HashMap<TraceId, Vec<(u32, SpanIn<'_>)>> = HashMap::new();
    let mut services: Vec<Option<String>> = Vec::new();
    each_value(&text, path, &mut Skipped::default(), |request: Request<SpanIn<'_>>| {
        for resource in request.resource_spans() {
            services.push(resource.service());
            let service = services.len() as u32 - 1;
            for span in resource.scope_spans.into_iter().flat_map(|s| s.spans.sound) {
                let id = span.trace_id.trace().ok_or("a span has no valid trace id: expected 32 hex digits")?;
                let of_trace = traces.entry(id).or_insert_with(|| {
                    order.push(id);
                    Vec::new()
                });
                of_trace.push((service, span));
            }
        }
        Ok(())
    })?;
    if order.is_empty() {
        return Err(FileError::NoSpans { path: path.to_owned() });
    }
    let mut one = |id| header(id, traces.remove(&id)?, &services);
    Ok(order.into_iter().filter_map(&mut one).collect())
}

fn header(id: TraceId, spans: Vec<(u32, SpanIn<'_>)>, services: &[Option<String>]) -> Option<Header> {
    let ids: HashSet<SpanId> = spans.iter().filter_map(|(_, s)| s.span_id.span()).collect();
    let count = ids.len();
    let (service, root) = spans.into_iter().rev().max_by_key(|(_, s)| {
        let (start, end) = times(s.start_time_unix_nano, s.end_time_unix_nano);
        let top = s.parent_span_id.span().is_none_or(|p| !ids.contains(&p));
        (top, end - start, s.span_id.span().map(std::cmp::Reverse))
    })?;
    let (start, end) = times(root.start_time_unix_nano, root.end_time_unix_nano);
    let Listed { image, tag, kind, hub, exit_code } = root.attributes;
    Some(Header {
        id,
        name: root.name,
        service: services.get(service as usize).cloned().flatten(),
        start,
        duration: end - start,
        image,
        tag,
        kind,
        hub,
        exit_code,
        status: status(root.status).0,
        spans: count,
    })
}

impl Sound for SpanIn<'_> {
    fn sound(&self) -> Result<(), String> {
        sound_ids(&self.name, &self.trace_id, &self.span_id)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpanIn<'a> {
    #[serde(borrow, alias = "trace_id")]
    trace_id: Id<'a>,
    #[serde(borrow, alias = "span_id")]
    span_id: Id<'a>,
    #[serde(borrow, alias = "parent_span_id")]
    parent_span_id: Id<'a>,
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(alias = "start_time_unix_nano", deserialize_with = "nullable")]
    start_time_unix_nano: Number,
    #[serde(alias = "end_time_unix_nano", deserialize_with = "nullable")]
    end_time_unix_nano: Number,
    #[serde(deserialize_with = "nullable")]
    attributes: Listed,
    #[serde(deserialize_with = "nullable")]
    status: StatusIn,
}

/// The listed attributes; the others are skipped without being built.
#[derive(Default)]
struct Listed {
    image: Option<String>,
    tag: Option<String>,
    kind: Option<String>,
    hub: Option<String>,
    exit_code: Option<i64>,
}

impl Listed {
    fn take(&mut self, key: &str, value: Value) {
        match (key, value) {
            (attr::CONTAINER_IMAGE_NAME, Value::Str(v)) => self.image = Some(v),
            (attr::CONTAINER_IMAGE_TAGS, Value::Array(v)) => {
                self.tag = v.into_iter().find_map(|v| if let Value::Str(v) = v { Some(v) } else { None });
            }
            (attr::RUN_KIND, Value::Str(v)) => self.kind = Some(v),
            (attr::HUB, Value::Str(v)) => self.hub = Some(v),
            (attr::PROCESS_EXIT_CODE, Value::Int(v)) => self.exit_code = Some(v),
            _ => {}
        }
    }
}

fn is_listed(key: &str) -> bool {
    [attr::CONTAINER_IMAGE_NAME, attr::CONTAINER_IMAGE_TAGS, attr::RUN_KIND, attr::HUB, attr::PROCESS_EXIT_CODE]
        .contains(&key)
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Listed;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of attributes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Listed, A::Error> {
                let mut out = Listed::default();
                while let Some(pair) = seq.next_element::<PairIn>()? {
                    if let (Some(key), Some(value)) = (pair.0, pair.1) {
                        out.take(&key, value);
                    }
                }
                Ok(out)
            }
        }
        d.deserialize_seq(V)
    }
}

/// One attribute. Writers put the key first; a value that comes before its key is built to be safe.
struct PairIn(Option<String>, Option<Value>);

impl<'de> Deserialize<'de> for PairIn {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = PairIn;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an attribute")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PairIn, A::Error> {
                let mut out = PairIn(None, None);
                while let Some(field) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    match field.as_ref() {
                        "key" => out.0 = map.next_value::<Option<String>>()?,
                        "value" if out.0.as_deref().is_none_or(is_listed) => {
                            out.1 = map.next_value::<Option<Any>>()?.map(|a| a.0);
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(out)
            }
        }
        d.deserialize_map(V)
    }
}
