//! Traces as bodies of requests that receivers take: gRPC receivers refuse what is over 4 MiB.

use prost::Message as _;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use super::settings::Protocol;
use crate::formats::otlp;
use crate::record::file;
use crate::record::model::{Trace, TraceId};

/// The largest body before compression, bytes; a single span may be larger.
const MAX_BODY_BYTES: usize = 3 << 20;

/// The body of one request.
#[derive(Clone, Debug)]
pub enum Body {
    /// Spans, as Protobuf.
    Traces(ExportTraceServiceRequest),
    /// Either, as JSON.
    Json(String),
    /// Metrics, as Protobuf.
    Metrics(ExportMetricsServiceRequest),
}

impl Body {
    /// The bytes of an HTTP request.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Body::Traces(request) => request.encode_to_vec(),
            Body::Json(text) => text.clone().into_bytes(),
            Body::Metrics(request) => request.encode_to_vec(),
        }
    }

    /// As `Content-Type` has it.
    pub fn media_type(&self) -> &'static str {
        match self {
            Body::Json(_) => "application/json",
            Body::Traces(_) | Body::Metrics(_) => "application/x-protobuf",
        }
    }
}

/// What is delivered, or not, together: whole traces in one or more requests.
#[derive(Debug, Default)]
pub struct Batch {
    /// Whose spans.
    pub ids: Vec<TraceId>,
    /// In this order.
    pub bodies: Vec<Body>,
    /// Number of spans.
    pub spans: usize,
}

impl Batch {
    /// The batch of some traces. They share a request as far as they fit; a large one is split by spans. JSON has one
    /// trace a request.
    pub fn of(traces: &[&Trace], protocol: Protocol) -> Batch {
        Self::limited(traces, protocol, MAX_BODY_BYTES)
    }

    fn limited(traces: &[&Trace], protocol: Protocol, limit: usize) -> Batch {
        let mut batch = Batch {
            ids: traces.iter().map(|t| t.id).collect(),
            bodies: Vec::new(),
            spans: traces.iter().map(|t| t.spans.len()).sum(),
        };
        let mut open: Option<(ExportTraceServiceRequest, usize)> = None;
        for trace in traces {
            for piece in pieces(trace, limit) {
                let piece = piece.as_ref().unwrap_or(trace);
                if protocol == Protocol::HttpJson {
                    batch.bodies.push(Body::Json(file::to_line(piece)));
                    continue;
                }
                let request = otlp::request([piece]);
                let size = request.encoded_len();
                match &mut open {
                    Some((begun, length)) if *length + size <= limit => {
                        begun.resource_spans.extend(request.resource_spans);
                        *length += size;
                    }
                    _ => batch.bodies.extend(open.replace((request, size)).map(|(full, _)| Body::Traces(full))),
                }
            }
        }
        batch.bodies.extend(open.map(|(last, _)| Body::Traces(last)));
        batch
    }
}

/// A trace in pieces of at most `limit` bytes; `None` stands for the trace itself, which fits.
fn pieces(trace: &Trace, limit: usize) -> Vec<Option<Trace>> {
    // Spans are cheap to count and dear to encode: most traces are far from the limit.
    if trace.spans.len() < 1000 && rough_size(trace) < limit / 2 {
        return vec![None];
    }
    let parts = otlp::request([trace]).encoded_len().div_ceil(limit.max(1)).max(1);
    if parts == 1 || trace.spans.len() < 2 {
        return vec![None];
    }
    let mut done = Vec::new();
    for spans in trace.spans.chunks(trace.spans.len().div_ceil(parts)) {
        let piece = excerpt(trace, spans);
        // Spans differ in size: what is still too large is halved again.
        match pieces(&piece, limit).as_mut_slice() {
            [None] => done.push(Some(piece)),
            more => done.extend(more.iter_mut().map(Option::take)),
        }
    }
    done
}

/// Bytes of texts and a guess for the rest.
fn rough_size(trace: &Trace) -> usize {
    use crate::record::model::Value;
    fn value(v: &Value) -> usize {
        16 + match v {
            Value::Str(s) => s.len(),
            Value::Bytes(b) => b.len(),
            Value::Array(all) => all.iter().map(value).sum(),
            Value::Map(all) => all.iter().map(|(k, v)| k.len() + value(v)).sum(),
            Value::Int(_) | Value::Double(_) | Value::Bool(_) => 0,
        }
    }
    let pairs = |a: &crate::record::model::Attributes| a.iter().map(|(k, v)| k.len() + value(v)).sum::<usize>();
    let spans = trace.spans.iter().map(|s| {
        let events = s.events.iter().map(|e| 32 + e.name.len() + pairs(&e.attributes)).sum::<usize>();
        let links = s.links.iter().map(|l| 64 + pairs(&l.attributes)).sum::<usize>();
        let status = if let crate::record::model::Status::Error(m) = &s.status { m.len() } else { 0 };
        128 + s.name.len() + pairs(&s.attributes) + events + links + status
    });
    let origins =
        trace.origins.iter().map(|o| 64 + o.scope.name.len() + pairs(&o.resource) + pairs(&o.scope.attributes));
    spans.sum::<usize>() + origins.sum::<usize>()
}

/// Some spans of a trace, with those who recorded them.
fn excerpt(trace: &Trace, spans: &[crate::record::model::Span]) -> Trace {
    let mut places: Vec<u32> = spans.iter().map(|s| s.origin).collect();
    places.sort_unstable();
    places.dedup();
    let spans = spans.iter().map(|span| {
        let mut span = span.clone();
        span.origin = places.binary_search(&span.origin).map_or(0, |at| u32::try_from(at).unwrap_or(0));
        span
    });
    Trace {
        id: trace.id,
        state: trace.state.clone(),
        spans: spans.collect(),
        origins: places.iter().filter_map(|p| trace.origins.get(*p as usize).cloned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::samples;
    use crate::record::collect::Collect;
    use crate::record::model::{Attributes, Origin};

    fn unpack(batch: &Batch) -> Vec<Trace> {
        let mut collect = Collect::new();
        for body in &batch.bodies {
            match body {
                Body::Traces(request) => otlp::take(request.clone(), &mut collect),
                other => panic!("{other:?}"),
            }
        }
        collect.finish()
    }

    fn large() -> Trace {
        let mut trace = samples::cold(3);
        trace.origins.push(Origin { resource: Attributes::new().with("service.name", "inner"), ..Origin::default() });
        for i in 0..2000u64 {
            let mut span = trace.spans[1 + (i % 3) as usize].clone();
            span.id.0 = (1 << 32) + i;
            span.origin = (i % 2) as u32;
            span.attributes.set("text", "x".repeat((i % 97) as usize * 10));
            trace.spans.push(span);
        }
        trace
    }

    #[test]
    fn a_large_trace_is_split_and_whole_again() {
        let trace = large();
        let batch = Batch::limited(&[&trace], Protocol::Grpc, 20_000);
        assert!(batch.bodies.len() > 30, "{}", batch.bodies.len());
        for body in &batch.bodies {
            assert!(body.bytes().len() <= 20_000, "{}", body.bytes().len());
        }
        let sorted = |mut t: Trace| {
            t.spans.sort_by_key(|s| s.id);
            t
        };
        let back = unpack(&batch).into_iter().map(sorted).collect::<Vec<_>>();
        assert_eq!(back, [sorted(trace)]);
    }

    #[test]
    fn small_traces_share_a_request() {
        let mut all = Vec::new();
        for i in 1..=50 {
            let mut trace = samples::warm();
            trace.id = TraceId(i);
            all.push(trace);
        }
        let refs: Vec<&Trace> = all.iter().collect();
        let together = Batch::of(&refs, Protocol::HttpProtobuf);
        assert_eq!((together.bodies.len(), together.ids.len()), (1, 50));
        assert_eq!(unpack(&together).len(), 50);
        let size = together.bodies[0].bytes().len();
        let apart = Batch::limited(&refs, Protocol::HttpProtobuf, size / 3);
        assert!((4..=5).contains(&apart.bodies.len()), "{}", apart.bodies.len());
        assert_eq!(unpack(&apart).len(), 50);
        assert_eq!(Batch::of(&refs, Protocol::HttpJson).bodies.len(), 50);
    }

    #[test]
    fn one_huge_span_goes_alone() {
        let mut trace = samples::warm();
        trace.spans[1].attributes.set("huge", "x".repeat(100_000));
        let batch = Batch::limited(&[&trace], Protocol::Grpc, 10_000);
        assert_eq!(batch.bodies.iter().filter(|b| b.bytes().len() > 10_000).count(), 1);
        assert_eq!(unpack(&batch)[0].spans.len(), trace.spans.len());
    }
}
