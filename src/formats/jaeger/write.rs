//! The model into Jaeger's JSON.

use serde_json::{Map, Value as Json, json};

use super::super::scene::{base64, plain, real_name};
use super::{NO_SERVICE, tag};
use crate::names::attr;
use crate::record::model::{Attributes, Event, Kind, Link, Scope, Span, Status, Trace, Value};

/// Whole numbers over this are no longer exact in a browser; Jaeger writes them as text.
const SAFE: i64 = (1 << 53) - 1;

/// All traces as one document, with a line break at the end.
pub fn render(traces: &[Trace]) -> Vec<u8> {
    let mut out = b"{\"data\":[".to_vec();
    for (i, trace) in traces.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend(document(trace).to_string().into_bytes());
    }
    out.extend(b"],\"total\":0,\"limit\":0,\"offset\":0,\"errors\":null}\n");
    out
}

fn document(trace: &Trace) -> Json {
    let mut processes = Map::new();
    // Programs are told apart by their resource; the library stands on each span.
    let mut resources: Vec<&Attributes> = Vec::new();
    let mut process_of: Vec<usize> = Vec::new();
    for origin in &trace.origins {
        let place = resources.iter().position(|r| **r == origin.resource).unwrap_or_else(|| {
            resources.push(&origin.resource);
            resources.len() - 1
        });
        process_of.push(place);
    }
    let nobody = Attributes::new();
    if resources.is_empty() {
        resources.push(&nobody);
    }
    for (place, resource) in resources.iter().enumerate() {
        let tags: Vec<Json> =
            resource.iter().filter(|(k, _)| *k != attr::SERVICE_NAME).map(|(k, v)| pair(k, v)).collect();
        let name = resource.str(attr::SERVICE_NAME).unwrap_or(NO_SERVICE);
        processes.insert(process(place), json!({"serviceName": name, "tags": tags}));
    }
    let spans: Vec<Json> = trace
        .spans
        .iter()
        .map(|s| {
            let place = process_of.get(s.origin as usize).copied().unwrap_or(0);
            span(trace, s, trace.origin(s).map(|o| &o.scope), process(place))
        })
        .collect();
    json!({"traceID": trace.id.to_string(), "spans": spans, "processes": processes, "warnings": null})
}

fn process(place: usize) -> String {
    format!("p{}", place + 1)
}

fn span(trace: &Trace, span: &Span, scope: Option<&Scope>, process: String) -> Json {
    let mut references = Vec::new();
    if let Some(parent) = span.parent {
        references.push(json!({"refType": "CHILD_OF", "traceID": trace.id.to_string(), "spanID": parent.to_string()}));
    }
    references.extend(span.links.iter().map(link));
    let mut tags: Vec<Json> = span.attributes.iter().map(|(k, v)| pair(k, v)).collect();
    let mut text = |key: &str, value: &str| {
        if !value.is_empty() {
            tags.push(json!({"key": key, "type": "string", "value": value}));
        }
    };
    if let Some(scope) = scope {
        text(tag::SCOPE, &scope.name);
        text(tag::SCOPE_VERSION, &scope.version);
    }
    text(tag::STATE, span.state(trace).unwrap_or_default());
    text(
        tag::KIND,
        match span.kind {
            Kind::Unspecified => "",
            Kind::Internal => "internal",
            Kind::Server => "server",
            Kind::Client => "client",
            Kind::Producer => "producer",
            Kind::Consumer => "consumer",
        },
    );
    match &span.status {
        Status::Unset => {}
        Status::Ok => text(tag::STATUS, "OK"),
        Status::Error(message) => {
            text(tag::STATUS, "ERROR");
            text(tag::DESCRIPTION, message);
            tags.push(json!({"key": tag::ERROR, "type": "bool", "value": true}));
        }
    }
    json!({
        "traceID": trace.id.to_string(),
        "spanID": span.id.to_string(),
        "operationName": span.name,
        "references": references,
        "startTime": span.start / 1000,
        "duration": span.duration() / 1000,
        "startTimeUnixNano": span.start.to_string(),
        "endTimeUnixNano": span.end.to_string(),
        "tags": tags,
        "logs": span.events.iter().map(|e| log(e, span.start)).collect::<Vec<_>>(),
        "processID": process,
        "warnings": null,
    })
}

fn link(link: &Link) -> Json {
    let child = link.attributes.str(tag::REFERENCE) == Some("child_of");
    let mut out = json!({
        "refType": if child { "CHILD_OF" } else { "FOLLOWS_FROM" },
        "traceID": link.trace.to_string(),
        "spanID": link.span.to_string(),
    });
    if !link.attributes.is_empty() {
        out["attributes"] = link.attributes.iter().map(|(k, v)| pair(k, v)).collect();
    }
    out
}

fn log(event: &Event, start: u64) -> Json {
    let name = json!({"key": tag::EVENT, "type": "string", "value": event.name});
    let fields: Vec<Json> = std::iter::once(name).chain(event.attributes.iter().map(|(k, v)| pair(k, v))).collect();
    // Jaeger must have a time; the second field says that there is none.
    json!({"timestamp": event.at().unwrap_or(start) / 1000, "timeUnixNano": event.time.to_string(), "fields": fields})
}

/// A tag; an array or a map is its JSON, as Jaeger has it, with a mark that it is one.
fn pair(key: &str, value: &Value) -> Json {
    let simple = |kind: &str, value: Json| json!({"key": key, "type": kind, "value": value});
    match value {
        Value::Str(v) => simple("string", v.as_str().into()),
        Value::Bool(v) => simple("bool", (*v).into()),
        Value::Int(v) if (-SAFE..=SAFE).contains(v) => simple("int64", (*v).into()),
        Value::Int(v) => simple("int64", v.to_string().into()),
        Value::Double(v) if v.is_finite() => simple("float64", (*v).into()),
        Value::Double(v) => simple("float64", real_name(*v).into()),
        Value::Bytes(v) => simple("binary", base64(v).into()),
        Value::Array(_) | Value::Map(_) => {
            json!({"key": key, "type": "string", "value": plain(value).to_string(), "isJson": true})
        }
    }
}
