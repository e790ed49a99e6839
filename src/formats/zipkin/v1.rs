//! Zipkin's first JSON: a span says by its annotations what happened on which side. `cs` and `cr` are a client's
//! sending and receiving, `sr` and `ss` a server's, `ms` and `mr` a message's; the endpoint of each says whose it is.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Annotation, Endpoint, Report, ids_of};
use crate::formats::ids::Micros;
use crate::formats::plain::Plain;
use crate::record::file::lenient::nullable;
use crate::record::model::{Kind, SpanId, TraceId, Value};

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
    timestamp: Micros,
    duration: Option<Micros>,
    #[serde(deserialize_with = "nullable")]
    annotations: Vec<AnnotationIn>,
    #[serde(deserialize_with = "nullable")]
    binary_annotations: Vec<TagIn>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AnnotationIn {
    #[serde(deserialize_with = "nullable")]
    timestamp: Micros,
    #[serde(deserialize_with = "nullable")]
    value: String,
    #[serde(deserialize_with = "nullable")]
    endpoint: Endpoint,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TagIn {
    #[serde(deserialize_with = "nullable")]
    key: String,
    #[serde(deserialize_with = "nullable")]
    value: Plain,
    #[serde(deserialize_with = "nullable")]
    endpoint: Endpoint,
}

/// Whether a span is of this version: it has tags in a list, or whose annotations are said by an endpoint.
pub(super) fn is_v1(raw: &RawValue) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Fields {
        binary_annotations: Option<IgnoredAny>,
        #[serde(default, deserialize_with = "nullable")]
        annotations: Vec<Marked>,
    }
    #[derive(Deserialize)]
    struct Marked {
        endpoint: Option<IgnoredAny>,
    }
    serde_json::from_str::<Fields>(raw.get())
        .is_ok_and(|f| f.binary_annotations.is_some() || f.annotations.iter().any(|a| a.endpoint.is_some()))
}

/// The sides that a span is of, one or two; of none it is a local one.
pub(super) fn read(raw: &RawValue) -> Result<Result<Vec<Report>, String>, serde_json::Error> {
    Ok(sides(serde_json::from_str(raw.get())?))
}

fn sides(span: SpanIn) -> Result<Vec<Report>, String> {
    let (trace, id) = ids_of(&span.name, &span.trace_id, &span.id)?;
    let parent = SpanId::from_short_hex(&span.parent_id);
    let mut out: Vec<Report> = Vec::new();
    for kind in [Kind::Client, Kind::Server, Kind::Producer, Kind::Consumer] {
        let (begin, end) = marks(kind);
        let at = |mark: &str| span.annotations.iter().find(|a| a.value == mark);
        let (first, last) = (at(begin), at(end));
        let Some(whose) = first.or(last) else { continue };
        let mut report = report(&span, trace, id, parent);
        report.kind = kind;
        report.local = whose.endpoint.clone();
        // What the span says of its time is its first side's; the other side's is what its annotations say.
        let told = out.is_empty() && span.timestamp.0 > 0;
        if !told {
            report.timestamp = first.map_or(Micros(0), |a| a.timestamp);
            report.duration = None;
        }
        if report.duration.is_none()
            && let (Some(first), Some(last)) = (first, last)
        {
            report.duration = Some(Micros((last.timestamp.0 - first.timestamp.0).max(0)));
        }
        out.push(report);
    }
    if out.is_empty() {
        out.push(report(&span, trace, id, parent));
        let named =
            span.annotations.iter().map(|a| &a.endpoint).chain(span.binary_annotations.iter().map(|t| &t.endpoint));
        out[0].local = named.into_iter().find(|e| !e.service_name.is_empty()).cloned().unwrap_or_default();
    }
    for annotation in span.annotations {
        if MARKS.contains(&annotation.value.as_str()) {
            continue;
        }
        let to = whose(&out, &annotation.endpoint);
        out[to].annotations.push(Annotation { timestamp: annotation.timestamp, value: annotation.value });
    }
    for TagIn { key, value, endpoint } in span.binary_annotations {
        match (key.as_str(), &value.0) {
            // Addresses of the two sides; the value only says that there is one.
            ("sa" | "ca" | "ma", Value::Bool(true)) => {
                let kind = if key == "sa" { Kind::Client } else { Kind::Server };
                let to = out.iter().position(|r| r.kind == kind).unwrap_or(0);
                if out[to].local != endpoint {
                    out[to].remote.join(endpoint);
                }
            }
            ("lc", Value::Str(component)) if component.is_empty() => {}
            _ => {
                let to = whose(&out, &endpoint);
                out[to].tags.push((key, value.0));
            }
        }
    }
    Ok(out)
}

const MARKS: [&str; 6] = ["cs", "cr", "sr", "ss", "ms", "mr"];

fn marks(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Client => ("cs", "cr"),
        Kind::Server => ("sr", "ss"),
        Kind::Producer => ("ms", ""),
        _ => ("mr", ""),
    }
}

fn report(span: &SpanIn, trace: TraceId, id: SpanId, parent: Option<SpanId>) -> Report {
    Report {
        trace,
        id,
        parent,
        name: span.name.clone(),
        kind: Kind::Unspecified,
        timestamp: span.timestamp,
        duration: span.duration,
        local: Endpoint::default(),
        remote: Endpoint::default(),
        annotations: Vec::new(),
        tags: Vec::new(),
    }
}

/// The side that an endpoint is of.
fn whose(sides: &[Report], endpoint: &Endpoint) -> usize {
    sides.iter().position(|r| r.local.service_name == endpoint.service_name).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::collect::Collect;

    #[test]
    fn both_sides_of_a_call_in_one_object_are_two_spans() {
        let text = r#"[{"traceId":"9","id":"5","name":"get","timestamp":1000000,"duration":500,"annotations":[
            {"timestamp":1000000,"value":"cs","endpoint":{"serviceName":"front","port":1}},
            {"timestamp":1000100,"value":"sr","endpoint":{"serviceName":"back"}},
            {"timestamp":1000200,"value":"thinking","endpoint":{"serviceName":"back"}},
            {"timestamp":1000400,"value":"ss","endpoint":{"serviceName":"back"}},
            {"timestamp":1000500,"value":"cr","endpoint":{"serviceName":"front"}}],
            "binaryAnnotations":[{"key":"http.path","value":"/a","endpoint":{"serviceName":"front"}},
            {"key":"sa","value":true,"endpoint":{"serviceName":"back","ipv4":"192.0.2.1"}}]},
            {"traceId":"9","parentId":"5","id":"6","name":"local","timestamp":1000150,"duration":100,
            "binaryAnnotations":[{"key":"lc","value":"","endpoint":{"serviceName":"back"}}]}]"#;
        let mut collect = Collect::new();
        crate::formats::zipkin::take(text.as_bytes(), &mut collect).unwrap();
        let trace = collect.finish().remove(0);
        let [client, server, local] = &trace.spans[..] else { panic!("{:?}", trace.spans) };
        assert_eq!((client.kind, client.start, client.duration()), (Kind::Client, 1_000_000_000, 500_000));
        assert_eq!((server.kind, server.start, server.duration()), (Kind::Server, 1_000_100_000, 300_000));
        assert_eq!((server.parent, local.parent), (Some(client.id), Some(server.id)));
        assert_eq!(
            (client.attributes.str("http.path"), client.attributes.str("peer.service")),
            (Some("/a"), Some("back"))
        );
        assert_eq!(server.events[0].name, "thinking");
    }
}
