//! Metrics as OTLP JSON, as far as ours go: sums of whole numbers and histograms.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as WireValue;
use opentelemetry_proto::tonic::metrics::v1::{self as wire, exemplar, metric, number_data_point};
use serde_json::{Value as Json, json};

/// [`Metrics::to_otlp`](super::Metrics::to_otlp) as JSON: 64-bit numbers are text, ids hex (OTLP, "JSON Protobuf
/// Encoding").
pub fn to_json(request: &ExportMetricsServiceRequest) -> String {
    let resources = request.resource_metrics.iter().map(|r| {
        let scopes = r.scope_metrics.iter().map(|s| {
            let scope = s.scope.as_ref().map(|s| json!({"name": s.name, "version": s.version}));
            json!({"scope": scope, "metrics": s.metrics.iter().map(metric_json).collect::<Vec<_>>()})
        });
        let attributes = r.resource.as_ref().map(|r| attributes_json(&r.attributes));
        json!({"resource": {"attributes": attributes}, "scopeMetrics": scopes.collect::<Vec<_>>()})
    });
    json!({"resourceMetrics": resources.collect::<Vec<_>>()}).to_string()
}

fn metric_json(m: &wire::Metric) -> Json {
    let mut out = json!({"name": m.name, "description": m.description, "unit": m.unit});
    match &m.data {
        Some(metric::Data::Sum(sum)) => {
            let points = sum.data_points.iter().map(|p| {
                let value = match p.value {
                    Some(number_data_point::Value::AsInt(n)) => n,
                    _ => 0,
                };
                json!({
                    "attributes": attributes_json(&p.attributes),
                    "startTimeUnixNano": p.start_time_unix_nano.to_string(),
                    "timeUnixNano": p.time_unix_nano.to_string(),
                    "asInt": value.to_string(),
                })
            });
            out["sum"] = json!({
                "dataPoints": points.collect::<Vec<_>>(),
                "aggregationTemporality": sum.aggregation_temporality,
                "isMonotonic": sum.is_monotonic,
            });
        }
        Some(metric::Data::Histogram(histogram)) => {
            out["histogram"] = json!({
                "dataPoints": histogram.data_points.iter().map(point_json).collect::<Vec<_>>(),
                "aggregationTemporality": histogram.aggregation_temporality,
            });
        }
        _ => {}
    }
    out
}

fn point_json(p: &wire::HistogramDataPoint) -> Json {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let exemplars = p.exemplars.iter().map(|e| {
        let value = if let Some(exemplar::Value::AsDouble(v)) = e.value { v } else { 0.0 };
        json!({
            "timeUnixNano": e.time_unix_nano.to_string(),
            "asDouble": value,
            "spanId": hex(&e.span_id),
            "traceId": hex(&e.trace_id),
        })
    });
    json!({
        "attributes": attributes_json(&p.attributes),
        "startTimeUnixNano": p.start_time_unix_nano.to_string(),
        "timeUnixNano": p.time_unix_nano.to_string(),
        "count": p.count.to_string(),
        "sum": p.sum,
        "bucketCounts": p.bucket_counts.iter().map(u64::to_string).collect::<Vec<_>>(),
        "explicitBounds": p.explicit_bounds,
        "exemplars": exemplars.collect::<Vec<_>>(),
        "min": p.min,
        "max": p.max,
    })
}

/// Ours are texts and whole numbers.
fn attributes_json(pairs: &[KeyValue]) -> Vec<Json> {
    let value = |p: &KeyValue| match p.value.as_ref().and_then(|v| v.value.as_ref()) {
        Some(WireValue::StringValue(v)) => json!({"stringValue": v}),
        Some(WireValue::IntValue(v)) => json!({"intValue": v.to_string()}),
        _ => json!({}),
    };
    pairs.iter().map(|p| json!({"key": p.key, "value": value(p)})).collect()
}
