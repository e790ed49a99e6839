//! OTLP as Protobuf: the body of an export request, and the same as a file. Its JSON form is our own file format, see
//! [`crate::record::file`].

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as WireValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{self as wire, ResourceSpans, ScopeSpans};

use prost::Message as _;

mod weigh;

pub(in crate::formats) use weigh::is_request;

use crate::record::collect::Collect;
use crate::record::model::{
    Attributes, Event, Key, Kind, Link, Origin, Scope, Span, SpanId, Status, Trace, TraceId, Value,
};

/// One request for all of `traces`, as OTLP 1.x has it (`opentelemetry/proto/collector/trace/v1`).
pub fn request<'a>(traces: impl IntoIterator<Item = &'a Trace>) -> ExportTraceServiceRequest {
    let resource_spans = traces
        .into_iter()
        .flat_map(|trace| {
            (0..trace.origins.len().max(1)).map(move |at| resource_spans(trace, at, trace.origins.get(at)))
        })
        .collect();
    ExportTraceServiceRequest { resource_spans }
}

/// What one program recorded of a trace.
fn resource_spans(trace: &Trace, at: usize, origin: Option<&Origin>) -> ResourceSpans {
    let spans = trace.spans.iter().filter(|s| s.origin as usize == at || trace.origins.is_empty());
    ResourceSpans {
        resource: origin.map(|o| Resource { attributes: pairs(&o.resource), ..Resource::default() }),
        scope_spans: vec![ScopeSpans {
            scope: origin.map(|o| InstrumentationScope {
                name: o.scope.name.clone(),
                version: o.scope.version.clone(),
                attributes: pairs(&o.scope.attributes),
                dropped_attributes_count: 0,
            }),
            spans: spans.map(|s| span(trace, s)).collect(),
            schema_url: String::new(),
        }],
        schema_url: String::new(),
    }
}

fn span(trace: &Trace, span: &Span) -> wire::Span {
    wire::Span {
        trace_id: trace.id.0.to_be_bytes().to_vec(),
        span_id: span.id.0.to_be_bytes().to_vec(),
        trace_state: trace.state.clone().unwrap_or_default(),
        parent_span_id: span.parent.map(|p| p.0.to_be_bytes().to_vec()).unwrap_or_default(),
        name: span.name.clone().into_owned(),
        kind: i32::from(span.kind as u8),
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: pairs(&span.attributes),
        events: span
            .events
            .iter()
            .map(|e| wire::span::Event {
                time_unix_nano: e.time,
                name: e.name.clone().into_owned(),
                attributes: pairs(&e.attributes),
                dropped_attributes_count: 0,
            })
            .collect(),
        links: span
            .links
            .iter()
            .map(|l| wire::span::Link {
                trace_id: l.trace.0.to_be_bytes().to_vec(),
                span_id: l.span.0.to_be_bytes().to_vec(),
                attributes: pairs(&l.attributes),
                ..wire::span::Link::default()
            })
            .collect(),
        status: match &span.status {
            Status::Unset => None,
            Status::Ok => Some(wire::Status { code: wire::status::StatusCode::Ok.into(), message: String::new() }),
            Status::Error(message) => {
                Some(wire::Status { code: wire::status::StatusCode::Error.into(), message: message.clone() })
            }
        },
        ..wire::Span::default()
    }
}

/// Attributes as they go over the wire.
pub(super) fn pairs(attributes: &Attributes) -> Vec<KeyValue> {
    attributes.iter().map(|(k, v)| pair(k, v)).collect()
}

fn pair(key: &str, v: &Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(v)), ..KeyValue::default() }
}

fn any(v: &Value) -> AnyValue {
    let value = match v {
        Value::Str(v) => WireValue::StringValue(v.clone()),
        Value::Int(v) => WireValue::IntValue(*v),
        Value::Double(v) => WireValue::DoubleValue(*v),
        Value::Bool(v) => WireValue::BoolValue(*v),
        Value::Array(v) => WireValue::ArrayValue(ArrayValue { values: v.iter().map(any).collect() }),
        Value::Map(v) => WireValue::KvlistValue(KeyValueList { values: v.iter().map(|(k, v)| pair(k, v)).collect() }),
        Value::Bytes(v) => WireValue::BytesValue(v.clone()),
    };
    AnyValue { value: Some(value) }
}

/// Adds the spans of a request, or of a file of `TracesData`, which is the same. prost refuses what is nested deeper than 100.
pub fn take_bytes(bytes: &[u8], collect: &mut Collect) -> Result<(), String> {
    // One resource at a time: what is decoded is larger than what it is decoded from.
    for spans in weigh::resource_spans(bytes)? {
        let decoded = ResourceSpans::decode(spans).map_err(|e| e.to_string())?;
        take(ExportTraceServiceRequest { resource_spans: vec![decoded] }, collect)?;
    }
    Ok(())
}

/// The spans of a request that came from elsewhere. A span without valid ids is an error in words (got and expected).
pub fn take(request: ExportTraceServiceRequest, collect: &mut Collect) -> Result<(), String> {
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.map(|r| r.attributes).unwrap_or_default());
        for of_scope in of_resource.scope_spans {
            let scope = of_scope.scope.unwrap_or_default();
            let scope = Scope { name: scope.name, version: scope.version, attributes: attributes(scope.attributes) };
            let source = collect.source(Origin { resource: resource.clone(), scope });
            for span in of_scope.spans {
                let id =
                    trace_id(&span.trace_id).ok_or_else(|| wrong_id("trace id", 16, &span.name, &span.trace_id))?;
                let state = (!span.trace_state.is_empty()).then(|| span.trace_state.clone());
                collect.add(id, state, source, read(id, span)?);
            }
        }
    }
    Ok(())
}

fn wrong_id(what: &str, length: usize, name: &str, id: &[u8]) -> String {
    let name: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    format!("the span `{name}` has a {what} of {} bytes: expected {length}, not all zero", id.len())
}

fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    Some(u128::from_be_bytes(bytes.try_into().ok()?)).filter(|id| *id != 0).map(TraceId)
}

fn span_id(bytes: &[u8]) -> Option<SpanId> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?)).filter(|id| *id != 0).map(SpanId)
}

fn read(trace: TraceId, span: wire::Span) -> Result<Span, String> {
    let id = span_id(&span.span_id).ok_or_else(|| wrong_id("id", 8, &span.name, &span.span_id))?;
    let (start, end) = crate::record::file::sane_times(span.start_time_unix_nano, span.end_time_unix_nano);
    let status = span.status.unwrap_or_default();
    Ok(Span {
        id,
        parent: span_id(&span.parent_span_id),
        name: Key::Owned(span.name),
        kind: match span.kind {
            1 => Kind::Internal,
            2 => Kind::Server,
            3 => Kind::Client,
            4 => Kind::Producer,
            5 => Kind::Consumer,
            _ => Kind::Unspecified,
        },
        start,
        end,
        attributes: attributes(span.attributes),
        events: span
            .events
            .into_iter()
            .map(|e| Event { name: Key::Owned(e.name), time: e.time_unix_nano, attributes: attributes(e.attributes) })
            .collect(),
        // A link to nowhere says nothing.
        links: span
            .links
            .into_iter()
            .filter_map(|l| {
                let trace = if l.trace_id.is_empty() { trace } else { trace_id(&l.trace_id)? };
                Some(Link { trace, span: span_id(&l.span_id)?, attributes: attributes(l.attributes) })
            })
            .collect(),
        status: match status.code {
            1 => Status::Ok,
            2 => Status::Error(status.message),
            _ => Status::Unset,
        },
        origin: 0,
    })
}

fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs.into_iter().map(|p| (Key::Owned(p.key), value(p.value))).collect()
}

/// An empty value is the empty text, as in [`crate::record::file`].
fn value(wire: Option<AnyValue>) -> Value {
    match wire.and_then(|v| v.value) {
        Some(WireValue::StringValue(v)) => Value::Str(v),
        Some(WireValue::IntValue(v)) => Value::Int(v),
        Some(WireValue::DoubleValue(v)) => Value::Double(v),
        Some(WireValue::BoolValue(v)) => Value::Bool(v),
        Some(WireValue::ArrayValue(v)) => Value::Array(v.values.into_iter().map(|v| value(Some(v))).collect()),
        Some(WireValue::KvlistValue(v)) => Value::Map(v.values.into_iter().map(|p| (p.key, value(p.value))).collect()),
        Some(WireValue::BytesValue(v)) => Value::Bytes(v),
        // An index into a table that only profiles have.
        Some(WireValue::StringValueStrindex(_)) | None => Value::Str(String::new()),
    }
}

#[cfg(test)]
mod tests;
