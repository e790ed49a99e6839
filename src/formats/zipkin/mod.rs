//! Zipkin's JSON: a list of spans, or of lists of them. Times are whole microseconds; all tags are text.
//!
//! - Version 2 (`zipkin2-api.yaml`). What OpenTelemetry's exporters put into tags is taken out again, by the
//!   specification "OpenTelemetry to Zipkin Transformation".
//! - Version 1, whose spans say by annotations (`cs`, `sr`, …) which side they are of: [`v1`].
//! - A program may report a span in parts, in any order, and a server may share its client's span id (`shared`). Parts
//!   of one side are brought together here; client and server become two spans where spans become traces, in
//!   [`collect`](crate::record::collect).
//! - Thrift's structures, as some tools print them, are refused.

mod v1;

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::value::RawValue;

use super::ids::{self, Micros};
use super::plain::Plain;
use crate::names::attr;
use crate::record::collect::{Collect, Skipped};
use crate::record::file::lenient::{Number, nullable};
use crate::record::file::mend::mend;
use crate::record::file::sane_times;
use crate::record::model::{
    Attributes, Event, Key, Kind, Origin, Scope, Span, SpanExtra, SpanId, Status, TraceId, Value,
};

/// Adds the spans of a list, of a list of lists, or of several of them one after the other; those that cannot be used
/// are left out. An error says what was got and expected.
pub fn take(text: &[u8], collect: &mut Collect) -> Result<(), String> {
    let mut skipped = Skipped::default();
    let mut reports = Vec::new();
    let mut wrong = Skipped::default();
    let mut thrift = false;
    ids::each(&mend(text), &mut skipped, |raw| match Report::read(raw) {
        Ok(mut read) => reports.append(&mut read),
        Err(why) => {
            thrift |= is_thrift(raw);
            wrong.note(why);
        }
    })?;
    if thrift {
        return Err("these are the structures of Zipkin's Thrift: expected Zipkin's JSON, version 1 or 2".to_owned());
    }
    collect.skip(skipped);
    collect.skip(wrong);
    brought_together(reports).into_iter().for_each(|report| report.take(collect));
    Ok(())
}

/// Thrift has ids as numbers, and its field names.
fn is_thrift(raw: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Fields {
        trace_id: Option<Number>,
    }
    serde_json::from_str::<Fields>(raw.get()).is_ok_and(|f| f.trace_id.is_some())
}

/// One report of a span, whichever version it was written in.
struct Report {
    trace: TraceId,
    id: SpanId,
    parent: Option<SpanId>,
    name: String,
    kind: Kind,
    timestamp: Micros,
    duration: Option<Micros>,
    local: Endpoint,
    remote: Endpoint,
    annotations: Vec<Annotation>,
    tags: Vec<(String, Value)>,
}

impl Report {
    /// Of version 1 a span may be two: one object can hold both sides.
    fn read(raw: &RawValue) -> Result<Vec<Report>, String> {
        let said = |e: serde_json::Error| format!("a span cannot be read: {}", ids::json_error(&e));
        if v1::is_v1(raw) {
            return v1::read(raw).map_err(said)?;
        }
        let span: SpanIn = serde_json::from_str(raw.get()).map_err(said)?;
        let kind = match span.kind.to_ascii_uppercase().as_str() {
            "CLIENT" => Kind::Client,
            "SERVER" => Kind::Server,
            "PRODUCER" => Kind::Producer,
            "CONSUMER" => Kind::Consumer,
            // Only servers share.
            _ if span.shared => Kind::Server,
            _ => Kind::Unspecified,
        };
        let (trace, id) = ids_of(&span.name, &span.trace_id, &span.id)?;
        Ok(vec![Report {
            trace,
            id,
            parent: SpanId::from_short_hex(&span.parent_id).filter(|parent| *parent != id || !span.shared),
            name: span.name,
            kind,
            timestamp: span.timestamp,
            duration: span.duration,
            local: span.local_endpoint,
            remote: span.remote_endpoint,
            annotations: span.annotations,
            tags: span.tags.0,
        }])
    }

    /// What another report says of the same side of the same span.
    fn join(&mut self, other: Report) {
        self.parent = self.parent.or(other.parent);
        if self.name.is_empty() || self.name == "unknown" {
            self.name = other.name;
        }
        if self.kind == Kind::Unspecified {
            self.kind = other.kind;
        }
        // The earliest begin, the longest time, as Zipkin itself brings them together.
        self.timestamp = match (self.timestamp.0, other.timestamp.0) {
            (a, b) if a > 0 && b > 0 => Micros(a.min(b)),
            (a, b) => Micros(a.max(b)),
        };
        self.duration = self.duration.max(other.duration);
        self.local.join(other.local);
        self.remote.join(other.remote);
        self.annotations
            .extend(other.annotations.into_iter().filter(|a| !self.annotations.contains(a)).collect::<Vec<_>>());
        for (key, value) in other.tags {
            if self.tags.iter().all(|(k, _)| *k != key) {
                self.tags.push((key, value));
            }
        }
    }

    fn take(self, collect: &mut Collect) {
        let mut scope = Scope::default();
        let (mut code, mut error, mut state) = (None, None, None);
        let mut attributes = Vec::with_capacity(self.tags.len());
        for (key, value) in self.tags {
            match (key.as_str(), value) {
                ("otel.scope.name" | "otel.library.name", Value::Str(v)) => scope.name = v,
                ("otel.scope.version" | "otel.library.version", Value::Str(v)) => scope.version = v,
                ("otel.status_code", Value::Str(v)) => code = Some(v.to_ascii_uppercase()),
                ("w3c.tracestate", Value::Str(v)) => state = Some(v).filter(|v| !v.is_empty()),
                ("error", Value::Str(v)) => error = Some(v),
                (attr::SERVICE_NAME, Value::Str(v)) if v == self.local.service_name => {}
                (_, value) => attributes.push((Key::Owned(key), value)),
            }
        }
        let mut attributes: Attributes = attributes.into_iter().collect();
        let text = |attributes: &mut Attributes, key: &'static str, value: &str| {
            if !value.is_empty() && attributes.get(key).is_none() {
                attributes.set(key, value);
            }
        };
        text(&mut attributes, "peer.service", &self.remote.service_name);
        text(&mut attributes, attr::NETWORK_PEER_ADDRESS, self.remote.address());
        if self.remote.port.0 > 0 {
            attributes.set("network.peer.port", self.remote.port.value());
        }
        let mut resource = Attributes::new();
        text(&mut resource, attr::SERVICE_NAME, &self.local.service_name);
        text(&mut resource, "host.ip", self.local.address());
        let start = self.timestamp.time();
        // Without a duration it has not ended; without a begin its duration says nothing.
        let end = match self.duration {
            Some(duration) if start > 0 => self.timestamp.plus(duration).time(),
            _ => 0,
        };
        let (sane_start, sane_end) = sane_times(start, end);
        let written = ((start, end) != (sane_start, sane_end) || start == 0).then_some((start, end));
        let span = Span {
            id: self.id,
            parent: self.parent,
            name: Key::Owned(self.name),
            kind: self.kind,
            start: sane_start,
            end: sane_end,
            attributes,
            events: self.annotations.into_iter().map(Annotation::event).collect(),
            links: Vec::new(),
            status: match (code.as_deref(), error) {
                (Some("OK"), _) => Status::Ok,
                // Zipkin's own: a span with the tag has failed, whatever it says.
                (_, Some(message)) => Status::Error(message),
                (Some("ERROR"), None) => Status::Error(String::new()),
                _ => Status::Unset,
            },
            origin: 0,
            extra: written.map(|_| Box::new(SpanExtra { written, ..SpanExtra::default() })),
        };
        let source = collect.source(Origin { resource, scope, ..Origin::default() });
        collect.add(self.trace, state, source, span);
    }
}

fn ids_of(name: &str, trace: &str, id: &str) -> Result<(TraceId, SpanId), String> {
    let trace = TraceId::from_short_hex(trace).ok_or_else(|| ids::wrong(name, "trace id", trace, 32))?;
    let id = SpanId::from_short_hex(id).ok_or_else(|| ids::wrong(name, "id", id, 16))?;
    Ok((trace, id))
}

/// So many sides of one id are compared with.
const SIDES: usize = 16;

/// Reports of one side of one span as one. Those that say their side come first: what says none is put to that of its
/// program, and if there is none to the first.
fn brought_together(reports: Vec<Report>) -> Vec<Report> {
    let mut out: Vec<Report> = Vec::with_capacity(reports.len());
    let mut places: HashMap<(TraceId, SpanId), Vec<usize>> = HashMap::with_capacity(reports.len());
    let (sided, others): (Vec<_>, Vec<_>) = reports.into_iter().partition(|r| r.kind != Kind::Unspecified);
    for report in sided.into_iter().chain(others) {
        let places = places.entry((report.trace, report.id)).or_default();
        let one_program = |at: &usize| out[*at].local.service_name == report.local.service_name;
        let one_kind = |at: &usize| out[*at].kind == report.kind || report.kind == Kind::Unspecified;
        let unnamed = |at: &usize| out[*at].local.service_name.is_empty() || report.local.service_name.is_empty();
        // A span with times of its own that another program reported, without a side, is no part of this one.
        let late = report.kind == Kind::Unspecified && report.timestamp.0 <= 0;
        let found = (places.iter().copied().find(|at| one_kind(at) && one_program(at)))
            .or_else(|| places.iter().copied().find(|at| one_kind(at) && (unnamed(at) || late)));
        match found {
            Some(at) => out[at].join(report),
            None => {
                if places.len() < SIDES {
                    places.push(out.len());
                }
                out.push(report);
            }
        }
    }
    out
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpanIn {
    #[serde(deserialize_with = "nullable")]
    trace_id: String,
    #[serde(deserialize_with = "nullable")]
    id: String,
    #[serde(deserialize_with = "nullable")]
    parent_id: String,
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    kind: String,
    #[serde(deserialize_with = "nullable")]
    timestamp: Micros,
    duration: Option<Micros>,
    #[serde(deserialize_with = "nullable")]
    local_endpoint: Endpoint,
    #[serde(deserialize_with = "nullable")]
    remote_endpoint: Endpoint,
    #[serde(deserialize_with = "nullable")]
    annotations: Vec<Annotation>,
    #[serde(deserialize_with = "nullable")]
    tags: Tags,
    #[serde(deserialize_with = "nullable")]
    shared: bool,
}

#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    #[serde(deserialize_with = "nullable")]
    service_name: String,
    #[serde(deserialize_with = "nullable")]
    ipv4: String,
    #[serde(deserialize_with = "nullable")]
    ipv6: String,
    #[serde(deserialize_with = "nullable")]
    port: Number,
}

impl Endpoint {
    fn address(&self) -> &str {
        if self.ipv4.is_empty() { &self.ipv6 } else { &self.ipv4 }
    }

    fn join(&mut self, other: Endpoint) {
        for (mine, theirs) in
            [(&mut self.service_name, other.service_name), (&mut self.ipv4, other.ipv4), (&mut self.ipv6, other.ipv6)]
        {
            if mine.is_empty() {
                *mine = theirs;
            }
        }
        if self.port.0 == 0 {
            self.port = other.port;
        }
    }
}

#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Annotation {
    #[serde(deserialize_with = "nullable")]
    timestamp: Micros,
    #[serde(deserialize_with = "nullable")]
    value: String,
}

/// Tags in their order.
#[derive(Default)]
struct Tags(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Plain::deserialize(d)?.0 {
            Value::Map(pairs) => Ok(Tags(pairs)),
            _ => Err(D::Error::custom("expected an object of tags")),
        }
    }
}

impl Annotation {
    /// OpenTelemetry writes an event without attributes as its name, else as `{"name":{"key":value}}` or, in Go, `name:
    /// {"key":value}`.
    fn event(self) -> Event {
        let read = |text: &str| match serde_json::from_str(text) {
            Ok(Plain(Value::Map(pairs))) => Some(pairs),
            _ => None,
        };
        let whole = self.value.starts_with('{').then(|| read(&self.value)).flatten().filter(|pairs| pairs.len() == 1);
        let (name, attributes) = match (whole.and_then(|mut p| p.pop()), self.value.split_once(": {")) {
            (Some((name, Value::Map(inner))), _) => (name, inner),
            (_, Some((name, _))) => match read(&self.value[name.len() + 2..]) {
                Some(inner) => (name.to_owned(), inner),
                None => (self.value, Vec::new()),
            },
            _ => (self.value, Vec::new()),
        };
        let attributes = attributes.into_iter().map(|(k, v)| (Key::Owned(k), v)).collect();
        Event { name: Key::Owned(name), time: self.timestamp.time(), attributes, dropped: 0 }
    }
}

#[cfg(test)]
mod tests;
