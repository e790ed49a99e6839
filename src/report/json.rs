//! Trace and analysis as one JSON object, for programs.
//!
//! All times are integers in nanoseconds, `start_ns` and `end_ns` counted from the root's start (spans may begin before
//! it in a foreign trace: then negative). New fields may be added; `schema` changes when one changes its meaning or
//! goes.
//!
//! ```json
//! {
//!   "schema": "trace.report/1",
//!   "trace_id": "…32 hex…",
//!   "start_unix_ns": 1700000000000000000,
//!   "run": {"name", "image", "kind", "hub", "exit_code", "wall_ns", "unaccounted_ns", "failed", "error"},
//!   "causes": [{"cause", "critical_ns"}],                                             // of the whole run; add up to
//!   wall_ns "pull": {"critical_ns", "share", "causes": [{"cause", "critical_ns"}],
//!            "parts": [{"cause", "layer", "critical_ns"}]},          // null if nothing was pulled
//!   "layers": [{"span_id", "index", "digest", "compression", "bytes", "unpacked_bytes", "files", "active_ns",
//!   "bytes_per_second", "bound_by"}], "critical_path": [{"span_id", "name", "start_ns", "end_ns", "waited_for"}],     
//!     // tiles the run: durations add up to wall_ns "blame": [{"name", "count", "critical_ns", "self_ns", "sum_ns",
//!     "shared_ns"}],
//!   "resource": {…},
//!   "spans": [{"span_id", "parent_span_id", "name", "kind", "start_ns", "end_ns", "duration_ns", "self_ns",
//!   "critical_ns", "shared_ns",            "error", "attributes", "events": [{"name", "at_ns", "attributes"}],
//!   "links": [{"trace_id", "span_id", "attributes"}]}]
//! }
//! ```
//! `shared_ns` is each instant divided evenly among the spans that ran then without a running child: over all spans it
//! adds up to `wall_ns`. `bound_by` and `cause` are `connect`, `first_byte`, `network`, `hash`, `inflate`, `create`,
//! `write`, `hub` (the built-in one starts), `other_pull` (waiting for another process's), `failed_attempt` (what was
//! tried again or elsewhere), `startup` (our own program's start and look-up, and forgetting an image), `kernel`
//! (making, starting and removing the container), `process` (the container's own), `other`. The `causes` are of the
//! critical path and add up to `critical_ns`; `bound_by` is the stage of the layer that worked longest, wherever the
//! critical path runs.

use serde_json::{Map, Value as Json, json};

use crate::analyze::facts::{Cause, facts};
use crate::analyze::{Analysis, blame, times};
use crate::names::attr;
use crate::record::model::{Attributes, Status, Trace, Value};

/// In this order, which is why it is no map.
#[derive(serde::Serialize)]
struct Report {
    schema: &'static str,
    trace_id: String,
    start_unix_ns: u64,
    run: Json,
    causes: Vec<Json>,
    pull: Option<Json>,
    layers: Vec<Json>,
    critical_path: Vec<Json>,
    blame: Vec<Json>,
    resource: Json,
    spans: Vec<Json>,
}

/// The object on several lines; ends with a line break.
pub fn json(trace: &Trace, analysis: &Analysis<'_>) -> String {
    let tree = &analysis.tree;
    let root = tree.span(tree.root());
    let origin = i128::from(root.start);
    let at = |ns: u64| clamp(i128::from(ns) - origin);
    let id = |node: usize| tree.span(node).id.to_string();
    let facts = facts(analysis);
    let shared = times::shared(tree);
    let causes = |all: &[(Cause, u64)]| -> Vec<Json> {
        all.iter().map(|(cause, ns)| json!({"cause": cause.word(), "critical_ns": ns})).collect()
    };
    let report = Report {
        schema: "trace.report/1",
        trace_id: trace.id.to_string(),
        start_unix_ns: root.start,
        run: json!({
            "name": root.name,
            "image": root.attributes.str(attr::CONTAINER_IMAGE_NAME),
            "kind": facts.kind,
            "hub": facts.hub,
            "exit_code": root.attributes.int(attr::PROCESS_EXIT_CODE),
            "wall_ns": facts.wall_ns,
            "unaccounted_ns": facts.unaccounted_ns,
            "failed": root.status.is_error(),
            "error": error(&root.status),
        }),
        causes: causes(&facts.causes),
        pull: facts.pull.map(|_| json!({
            "critical_ns": facts.pull_ns,
            "share": super::units::share(facts.pull_ns, facts.wall_ns),
            "causes": causes(&facts.pull_causes),
            "parts": facts.pull_parts.iter().map(|p| json!({
                "cause": p.cause.word(), "layer": p.layer.map(id), "critical_ns": p.ns,
            })).collect::<Vec<_>>(),
        })),
        layers: facts.layers.iter().map(|l| json!({
            "span_id": id(l.node),
            "index": l.index,
            "digest": l.digest,
            "compression": l.compression,
            "bytes": l.bytes,
            "unpacked_bytes": l.unpacked,
            "files": l.files,
            "active_ns": l.active_ns,
            "bytes_per_second": l.rate,
            "bound_by": l.bound.map(|c| c.word()),
        })).collect::<Vec<_>>(),
        critical_path: analysis.segments.iter().map(|s| json!({
            "span_id": id(s.node),
            "name": tree.span(s.node).name,
            "start_ns": at(s.start),
            "end_ns": at(s.end),
            "waited_for": s.waited_for.map(id),
        })).collect::<Vec<_>>(),
        blame: blame::blame(analysis).iter().map(|b| json!({
            "name": b.name,
            "count": b.count,
            "critical_ns": b.critical_ns,
            "self_ns": b.self_ns,
            "sum_ns": b.sum_ns,
            "shared_ns": b.shared_ns.round() as u64,
        })).collect::<Vec<_>>(),
        resource: attributes(trace.resource()),
        spans: (0..tree.len()).map(|n| {
            let span = tree.span(n);
            json!({
                "span_id": span.id.to_string(),
                "parent_span_id": span.parent.map(|p| p.to_string()),
                "name": span.name,
                "kind": format!("{:?}", span.kind).to_uppercase(),
                "start_ns": at(span.start),
                "end_ns": at(span.end),
                "duration_ns": span.duration(),
                "self_ns": analysis.self_ns[n],
                "critical_ns": analysis.critical_ns[n],
                "shared_ns": shared[n].round() as u64,
                "error": error(&span.status),
                "attributes": attributes(&span.attributes),
                "events": span.events.iter().map(|e| json!({
                    "name": e.name, "at_ns": e.at().map(at), "attributes": attributes(&e.attributes),
                })).collect::<Vec<_>>(),
                "links": span.links.iter().map(|l| json!({
                    "trace_id": l.trace.to_string(), "span_id": l.span.to_string(), "attributes": attributes(&l.attributes),
                })).collect::<Vec<_>>(),
            })
        }).collect::<Vec<_>>(),
    };
    // Writing to memory cannot fail, and every map key is text.
    let mut out = escaped(&serde_json::to_string_pretty(&report).expect("a report is always JSON"));
    out.push('\n');
    out
}

fn error(status: &Status) -> Option<&str> {
    if let Status::Error(message) = status { Some(message) } else { None }
}

fn clamp(ns: i128) -> i64 {
    ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

fn attributes(attributes: &Attributes) -> Json {
    Json::Object(attributes.iter().map(|(k, v)| (k.to_owned(), value(v))).collect::<Map<_, _>>())
}

fn value(v: &Value) -> Json {
    match v {
        Value::Str(v) => Json::from(v.as_str()),
        Value::Int(v) => Json::from(*v),
        // What JSON has no number for becomes text.
        Value::Double(v) => serde_json::Number::from_f64(*v).map_or_else(|| Json::from(v.to_string()), Json::Number),
        Value::Bool(v) => Json::from(*v),
        Value::Array(v) => Json::Array(v.iter().map(value).collect()),
        Value::Map(v) => v.iter().map(|(k, v)| (k.clone(), value(v))).collect(),
        Value::Bytes(v) => Json::from(v.escape_ascii().to_string()),
    }
}

/// JSON allows DEL, C1 controls and bidirectional overrides as they are; a terminal would obey them. They can only
/// stand inside strings here, so each is written as `\u` escapes.
pub(super) fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && super::text::is_unprintable(c) {
            out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}
