//! Zipkin's JSON, version 2 (`zipkin2-api.yaml`): a list of spans, or of lists of them. Times are whole microseconds; all tags are text.
//!
//! What OpenTelemetry's exporters put into tags is taken out again, by the specification "OpenTelemetry to Zipkin Transformation".
//! Where a server shares its client's span id (`shared`), the server's span gets an id of its own below the client's.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::ids::{self, Micros};
use super::plain::Plain;
use crate::names::attr;
use crate::record::collect::Collect;
use crate::record::file::lenient::nullable;
use crate::record::file::sane_times;
use crate::record::model::{Attributes, Event, Key, Kind, Origin, Scope, Span, SpanId, Status, Value};

/// Adds the spans of a list, of a list of lists, or of several of them one after the other. An error says what was got and expected.
pub fn take(text: &[u8], collect: &mut Collect) -> Result<(), String> {
    for spans in serde_json::Deserializer::from_slice(ids::without_mark(text)).into_iter::<Spans>() {
        for span in spans.map_err(|e| ids::said(&e))?.0 {
            span.take(collect)?;
        }
    }
    Ok(())
}

/// One span, or a list of these however deep.
struct Spans(Vec<SpanIn>);

impl<'de> Deserialize<'de> for Spans {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Spans;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of spans")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Spans, A::Error> {
                let mut out = Vec::new();
                while let Some(Spans(mut more)) = seq.next_element()? {
                    out.append(&mut more);
                }
                Ok(Spans(out))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Spans, A::Error> {
                let span = SpanIn::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                // Now, so that a list of a million empty objects ends at the first.
                if ids::trace_id(&span.trace_id).is_none() {
                    return Err(A::Error::custom(ids::wrong(&span.name, "trace id", &span.trace_id, 32)));
                }
                Ok(Spans(vec![span]))
            }
        }
        d.deserialize_any(V)
    }
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
    #[serde(deserialize_with = "nullable")]
    duration: Micros,
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

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    #[serde(deserialize_with = "nullable")]
    service_name: String,
    #[serde(deserialize_with = "nullable")]
    ipv4: String,
    #[serde(deserialize_with = "nullable")]
    ipv6: String,
    #[serde(deserialize_with = "nullable")]
    port: u16,
}

impl Endpoint {
    fn address(&self) -> &str {
        if self.ipv4.is_empty() { &self.ipv6 } else { &self.ipv4 }
    }
}

#[derive(Default, Deserialize)]
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

impl SpanIn {
    fn take(self, collect: &mut Collect) -> Result<(), String> {
        let trace =
            ids::trace_id(&self.trace_id).ok_or_else(|| ids::wrong(&self.name, "trace id", &self.trace_id, 32))?;
        let mut id = ids::span_id(&self.id).ok_or_else(|| ids::wrong(&self.name, "id", &self.id, 16))?;
        let mut parent = ids::span_id(&self.parent_id);
        if self.shared {
            parent = Some(id);
            id = other_id(id);
        }
        let mut scope = Scope::default();
        let (mut code, mut error) = (None, None);
        let mut attributes = Vec::with_capacity(self.tags.0.len());
        for (key, value) in self.tags.0 {
            match (key.as_str(), value) {
                ("otel.scope.name" | "otel.library.name", Value::Str(v)) => scope.name = v,
                ("otel.scope.version" | "otel.library.version", Value::Str(v)) => scope.version = v,
                ("otel.status_code", Value::Str(v)) => code = Some(v.to_ascii_uppercase()),
                ("error", Value::Str(v)) => error = Some(v),
                (attr::SERVICE_NAME, Value::Str(v)) if v == self.local_endpoint.service_name => {}
                (_, value) => attributes.push((Key::Owned(key), value)),
            }
        }
        let mut attributes: Attributes = attributes.into_iter().collect();
        let text = |attributes: &mut Attributes, key: &'static str, value: &str| {
            if !value.is_empty() && attributes.get(key).is_none() {
                attributes.set(key, value);
            }
        };
        text(&mut attributes, "peer.service", &self.remote_endpoint.service_name);
        text(&mut attributes, attr::NETWORK_PEER_ADDRESS, self.remote_endpoint.address());
        if self.remote_endpoint.port > 0 {
            attributes.set("network.peer.port", self.remote_endpoint.port);
        }
        let mut resource = Attributes::new();
        text(&mut resource, attr::SERVICE_NAME, &self.local_endpoint.service_name);
        text(&mut resource, "host.ip", self.local_endpoint.address());
        let (start, end) = sane_times(self.timestamp.time(), self.timestamp.plus(self.duration).time());
        let span = Span {
            id,
            parent,
            name: Key::Owned(self.name),
            kind: match self.kind.as_str() {
                "CLIENT" => Kind::Client,
                "SERVER" => Kind::Server,
                "PRODUCER" => Kind::Producer,
                "CONSUMER" => Kind::Consumer,
                _ => Kind::Unspecified,
            },
            start,
            end,
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
        };
        let source = collect.source(Origin { resource, scope });
        collect.add(trace, None, source, span);
        Ok(())
    }
}

/// Another id, always the same for one id, and never zero.
fn other_id(id: SpanId) -> SpanId {
    // An odd factor loses no bit (it is the golden ratio's).
    let mixed = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
    SpanId(if mixed == 0 || mixed == id.0 { !id.0 | 1 } else { mixed })
}

impl Annotation {
    /// OpenTelemetry writes an event without attributes as its name, else as `{"name":{"key":value}}` or, in Go, `name: {"key":value}`.
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
        Event { name: Key::Owned(name), time: self.timestamp.time(), attributes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::model::TraceId;

    #[test]
    fn a_list_of_spans() {
        let text = r#"[[{"traceId":"5982fe77008310cc80f1da5e10147517","id":"bd7a977555f6b982","name":"get","kind":"SERVER",
            "parentId":"90394f6bcffb5d13","timestamp":1458702548467000,"duration":386000,"localEndpoint":{"serviceName":"zk","ipv4":"192.0.2.7"},
            "remoteEndpoint":{"serviceName":"db","port":3306},"annotations":[{"timestamp":1458702548467001,"value":"plain"},
            {"timestamp":1458702548467002,"value":"{\"e\":{\"k\":1}}"}],
            "tags":{"http.path":"/a","otel.status_code":"ERROR","error":"why","otel.scope.name":"lib"}}],
            [{"traceId":"5982fe77008310cc80f1da5e10147517","id":"bd7a977555f6b982","shared":true,"kind":"SERVER","name":"other"}]]"#;
        let mut collect = Collect::new();
        take(text.as_bytes(), &mut collect).unwrap();
        let trace = collect.finish().remove(0);
        assert_eq!((trace.id, trace.spans.len()), (TraceId(0x5982_fe77_0083_10cc_80f1_da5e_1014_7517), 2));
        let [first, shared] = &trace.spans[..] else { panic!() };
        assert_eq!((first.start, first.duration(), first.kind), (1_458_702_548_467_000_000, 386_000_000, Kind::Server));
        assert_eq!(first.status, Status::Error("why".into()));
        assert_eq!(first.events.iter().map(|e| e.name.as_ref()).collect::<Vec<_>>(), ["plain", "e"]);
        assert_eq!(first.events[1].attributes.int("k"), Some(1));
        assert_eq!(first.attributes.str("peer.service"), Some("db"));
        let origin = trace.origin(first).unwrap();
        assert_eq!((origin.resource.str("service.name"), origin.scope.name.as_str()), (Some("zk"), "lib"));
        assert_eq!(shared.parent, Some(first.id));
        assert_ne!(shared.id, first.id);
        for bad in ["[{}]", r#"[{"traceId":"1","id":""}]"#, "[1]", r#"[{"traceId":"1","id":"1","tags":3}]"#] {
            take(bad.as_bytes(), &mut Collect::new()).unwrap_err();
        }
    }
}
