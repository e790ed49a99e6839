//! OTLP as Protobuf: the body of an export request, and the same as a file. Its JSON form is our own file format, see
//! [`crate::record::file`].

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as WireValue;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{self as wire, ResourceSpans, ScopeSpans};

mod weigh;

pub(in crate::formats) use weigh::is_request;

use crate::record::collect::Collect;
use crate::record::file::VALUE_DEPTH;
use crate::record::model::{
    Attributes, Entity, Event, Key, Kind, Link, LinkExtra, Origin, Scope, Span, SpanExtra, SpanId, Status, Trace,
    TraceId, Value,
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
        resource: origin.map(|o| Resource {
            attributes: pairs(&o.resource),
            dropped_attributes_count: o.dropped,
            entity_refs: o.entities.iter().map(entity).collect(),
        }),
        scope_spans: vec![ScopeSpans {
            scope: origin.map(|o| InstrumentationScope {
                name: o.scope.name.clone(),
                version: o.scope.version.clone(),
                attributes: pairs(&o.scope.attributes),
                dropped_attributes_count: o.scope.dropped,
            }),
            spans: spans.map(|s| span(trace, s)).collect(),
            schema_url: origin.map(|o| o.scope.schema_url.clone()).unwrap_or_default(),
        }],
        schema_url: origin.map(|o| o.schema_url.clone()).unwrap_or_default(),
    }
}

fn entity(entity: &Entity) -> EntityRef {
    EntityRef {
        schema_url: entity.schema_url.clone(),
        r#type: entity.kind.clone(),
        id_keys: entity.id_keys.clone(),
        description_keys: entity.description_keys.clone(),
    }
}

fn span(trace: &Trace, span: &Span) -> wire::Span {
    let none = SpanExtra::default();
    let extra = span.extra.as_deref().unwrap_or(&none);
    let (start, end) = span.written_times();
    wire::Span {
        trace_id: trace.id.0.to_be_bytes().to_vec(),
        span_id: span.id.0.to_be_bytes().to_vec(),
        trace_state: span.state(trace).unwrap_or_default().to_owned(),
        parent_span_id: span.parent.map(|p| p.0.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: extra.flags,
        name: span.name.clone().into_owned(),
        kind: i32::from(span.kind as u8),
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        attributes: pairs(&span.attributes),
        dropped_attributes_count: extra.dropped_attributes,
        events: span
            .events
            .iter()
            .map(|e| wire::span::Event {
                time_unix_nano: e.time,
                name: e.name.clone().into_owned(),
                attributes: pairs(&e.attributes),
                dropped_attributes_count: e.dropped,
            })
            .collect(),
        dropped_events_count: extra.dropped_events,
        links: span.links.iter().map(link).collect(),
        dropped_links_count: extra.dropped_links,
        status: match &span.status {
            Status::Unset if extra.status_message.is_empty() => None,
            Status::Unset => Some(status(wire::status::StatusCode::Unset, &extra.status_message)),
            Status::Ok => Some(status(wire::status::StatusCode::Ok, &extra.status_message)),
            Status::Error(message) => Some(status(wire::status::StatusCode::Error, message)),
        },
    }
}

fn status(code: wire::status::StatusCode, message: &str) -> wire::Status {
    wire::Status { code: code.into(), message: message.to_owned() }
}

fn link(link: &Link) -> wire::span::Link {
    let extra = link.extra.as_deref();
    wire::span::Link {
        trace_id: link.trace.0.to_be_bytes().to_vec(),
        span_id: link.span.0.to_be_bytes().to_vec(),
        trace_state: extra.map(|e| e.state.clone()).unwrap_or_default(),
        attributes: pairs(&link.attributes),
        dropped_attributes_count: extra.map_or(0, |e| e.dropped),
        flags: extra.map_or(0, |e| e.flags),
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

/// Adds the spans of a request, or of a file of `TracesData`, which is the same. A span that cannot be used is left
/// out.
pub fn take_bytes(bytes: &[u8], collect: &mut Collect) -> Result<(), String> {
    // One resource at a time: what is decoded is larger than what it is decoded from.
    for spans in weigh::resource_spans(bytes)? {
        let (decoded, skipped) = weigh::decode(spans)?;
        collect.skip(skipped);
        take(ExportTraceServiceRequest { resource_spans: vec![decoded] }, collect);
    }
    Ok(())
}

/// The spans of a request that came from elsewhere. A span without valid ids is left out.
pub fn take(request: ExportTraceServiceRequest, collect: &mut Collect) {
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap_or_default();
        let origin = Origin {
            resource: attributes(resource.attributes),
            schema_url: of_resource.schema_url,
            dropped: resource.dropped_attributes_count,
            entities: resource.entity_refs.into_iter().map(read_entity).collect(),
            scope: Scope::default(),
        };
        for of_scope in of_resource.scope_spans {
            let scope = of_scope.scope.unwrap_or_default();
            let scope = Scope {
                name: scope.name,
                version: scope.version,
                attributes: attributes(scope.attributes),
                schema_url: of_scope.schema_url,
                dropped: scope.dropped_attributes_count,
            };
            let source = collect.source(Origin { scope, ..origin.clone() });
            for span in of_scope.spans {
                match read(span) {
                    Ok((id, state, span)) => collect.add(id, state, source, span),
                    Err(why) => collect.skip_one(why),
                }
            }
        }
    }
}

fn read_entity(wire: EntityRef) -> Entity {
    Entity {
        schema_url: wire.schema_url,
        kind: wire.r#type,
        id_keys: wire.id_keys,
        description_keys: wire.description_keys,
    }
}

fn wrong_id(what: &str, length: usize, name: &str, id: &[u8]) -> String {
    let name: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    let got = if id.len() == length { "is all zero".to_owned() } else { format!("has {} bytes", id.len()) };
    format!("the {what} of the span `{name}` {got}: expected {length} bytes, not all zero")
}

fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    Some(u128::from_be_bytes(bytes.try_into().ok()?)).filter(|id| *id != 0).map(TraceId)
}

fn span_id(bytes: &[u8]) -> Option<SpanId> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?)).filter(|id| *id != 0).map(SpanId)
}

fn read(span: wire::Span) -> Result<(TraceId, Option<String>, Span), String> {
    let trace = trace_id(&span.trace_id).ok_or_else(|| wrong_id("trace id", 16, &span.name, &span.trace_id))?;
    let id = span_id(&span.span_id).ok_or_else(|| wrong_id("id", 8, &span.name, &span.span_id))?;
    let written = (span.start_time_unix_nano, span.end_time_unix_nano);
    let (start, end) = crate::record::file::sane_times(written.0, written.1);
    let status = span.status.unwrap_or_default();
    let (status, status_message) = match status.code {
        1 => (Status::Ok, status.message),
        2 => (Status::Error(status.message), String::new()),
        _ => (Status::Unset, status.message),
    };
    let extra = SpanExtra {
        state: None,
        flags: span.flags,
        dropped_attributes: span.dropped_attributes_count,
        dropped_events: span.dropped_events_count,
        dropped_links: span.dropped_links_count,
        status_message,
        written: (written != (start, end) || written == (0, 0)).then_some(written),
    };
    let events = span.events.into_iter().map(|e| Event {
        name: Key::Owned(e.name),
        time: e.time_unix_nano,
        attributes: attributes(e.attributes),
        dropped: e.dropped_attributes_count,
    });
    let read = Span {
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
        events: events.collect(),
        // A link to nowhere says nothing.
        links: span.links.into_iter().filter_map(|l| read_link(trace, l)).collect(),
        status,
        origin: 0,
        extra: (extra != SpanExtra::default()).then(|| Box::new(extra)),
    };
    Ok((trace, (!span.trace_state.is_empty()).then_some(span.trace_state), read))
}

fn read_link(here: TraceId, wire: wire::span::Link) -> Option<Link> {
    let trace = if wire.trace_id.is_empty() { here } else { trace_id(&wire.trace_id)? };
    let extra = LinkExtra { state: wire.trace_state, flags: wire.flags, dropped: wire.dropped_attributes_count };
    Some(Link {
        trace,
        span: span_id(&wire.span_id)?,
        attributes: attributes(wire.attributes),
        extra: (extra != LinkExtra::default()).then(|| Box::new(extra)),
    })
}

fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs.into_iter().map(|p| (Key::Owned(p.key), value(p.value, 0))).collect()
}

/// An empty value is the empty text, as in [`crate::record::file`]; so deep in others.
fn value(wire: Option<AnyValue>, depth: usize) -> Value {
    match wire.and_then(|v| v.value) {
        Some(WireValue::StringValue(v)) => Value::Str(v),
        Some(WireValue::IntValue(v)) => Value::Int(v),
        Some(WireValue::DoubleValue(v)) => Value::Double(v),
        Some(WireValue::BoolValue(v)) => Value::Bool(v),
        Some(WireValue::ArrayValue(v)) if depth < VALUE_DEPTH => {
            Value::Array(v.values.into_iter().map(|v| value(Some(v), depth + 1)).collect())
        }
        Some(WireValue::KvlistValue(v)) if depth < VALUE_DEPTH => {
            Value::Map(v.values.into_iter().map(|p| (p.key, value(p.value, depth + 1))).collect())
        }
        Some(deep @ (WireValue::ArrayValue(_) | WireValue::KvlistValue(_))) => Value::Str(json(&deep)),
        Some(WireValue::BytesValue(v)) => Value::Bytes(v),
        // An index into a table that only profiles have.
        Some(WireValue::StringValueStrindex(_)) | None => Value::Str(String::new()),
    }
}

/// What lies too deep, as the text that OTLP's JSON has for it.
fn json(wire: &WireValue) -> String {
    fn whole(wire: &AnyValue) -> serde_json::Value {
        wire.value.as_ref().map_or_else(|| serde_json::json!({}), any)
    }
    fn any(wire: &WireValue) -> serde_json::Value {
        use serde_json::json;
        match wire {
            WireValue::StringValue(v) => json!({ "stringValue": v }),
            WireValue::IntValue(v) => json!({ "intValue": v.to_string() }),
            WireValue::DoubleValue(v) if v.is_finite() => json!({ "doubleValue": v }),
            WireValue::DoubleValue(v) => json!({ "doubleValue": v.to_string() }),
            WireValue::BoolValue(v) => json!({ "boolValue": v }),
            WireValue::ArrayValue(v) => {
                json!({ "arrayValue": { "values": v.values.iter().map(whole).collect::<Vec<_>>() } })
            }
            WireValue::KvlistValue(v) => {
                let pairs = v.values.iter();
                let pair = |p: &KeyValue| json!({ "key": p.key, "value": p.value.as_ref().map(whole) });
                json!({ "kvlistValue": { "values": pairs.map(pair).collect::<Vec<_>>() } })
            }
            WireValue::BytesValue(v) => json!({ "bytesValue": super::scene::base64(v) }),
            WireValue::StringValueStrindex(_) => json!({}),
        }
    }
    any(wire).to_string()
}

#[cfg(test)]
mod tests;
