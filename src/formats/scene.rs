//! What the timeline viewers (Chrome's and Perfetto's) are told about a trace, before either one's words: lanes,
//! arrows, curves.

use std::collections::HashMap;

use crate::analyze::lanes::{self, Lanes};
use crate::analyze::{Analysis, Node, steps};
use crate::names::attr;
use crate::record::model::{Attributes, Trace, Value};

/// A recorded wait, drawn as an arrow.
pub(super) struct Wait {
    /// From here …
    pub(super) from: (Node, u64),
    /// … to here: span and time, ns since the Unix epoch. Each time lies in its span.
    pub(super) to: (Node, u64),
}

/// A quantity over time: points of time (ns since the Unix epoch) from which on a value holds.
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) points: Vec<(u64, f64)>,
}

/// A trace, laid out.
pub(super) struct Scene<'a> {
    pub(super) trace: &'a Trace,
    pub(super) analysis: Analysis<'a>,
    pub(super) lanes: Lanes<'a>,
    pub(super) waits: Vec<Wait>,
    pub(super) curves: Vec<Curve>,
    /// The first span of each lane.
    first: HashMap<lanes::Place, Node>,
}

impl<'a> Scene<'a> {
    /// `None` if the trace has no span.
    pub(super) fn of(trace: &'a Trace) -> Option<Self> {
        let analysis = Analysis::of(trace)?;
        let lanes = lanes::of(trace, &analysis.tree);
        let (waits, curves) = (waits(&analysis), curves(&analysis));
        let mut first = HashMap::new();
        for node in 0..analysis.tree.len() {
            first.entry(lanes.place(node)).or_insert(node);
        }
        Some(Scene { trace, analysis, lanes, waits, curves, first })
    }

    /// What a program is called: its service, with the image of the run if it is the root's.
    pub(super) fn program(&self, program: usize) -> String {
        let service = self.lanes.programs[program].str(attr::SERVICE_NAME).unwrap_or("unnamed service");
        let root = self.analysis.tree.span(self.analysis.tree.root());
        let image = root.attributes.str(attr::CONTAINER_IMAGE_NAME).filter(|_| program == 0);
        let id = self.trace.id.short();
        match image {
            Some(image) => format!("{service} {} {image} {id}", root.name),
            None => format!("{service} {id}"),
        }
    }

    /// What a lane is called: as the first span in it.
    pub(super) fn lane_name(&self, place: lanes::Place) -> &'a str {
        self.first.get(&place).map_or("", |node| &self.analysis.tree.span(*node).name)
    }
}

/// An arrow begins in the last nanosecond of the span that was waited for, and ends where the waiting one could go on.
fn waits(analysis: &Analysis<'_>) -> Vec<Wait> {
    let tree = &analysis.tree;
    let mut out = Vec::new();
    for node in 0..tree.len() {
        for source in tree.span(node).waits_for().filter_map(|id| tree.find(id)) {
            let (from, to) = (tree.span(source), tree.span(node));
            let left = from.end.saturating_sub(1).max(from.start);
            let reached = from.end.clamp(to.start, to.end.saturating_sub(1).max(to.start));
            // An arrow that points back in time says nothing; viewers refuse it.
            if source != node && left <= reached {
                out.push(Wait { from: (source, left), to: (node, reached) });
            }
        }
    }
    out
}

fn curves(analysis: &Analysis<'_>) -> Vec<Curve> {
    let begin = analysis.tree.window(analysis.tree.root()).0;
    let absolute = |steps: &[(u64, f64)]| steps.iter().map(|(at, v)| (begin + at, *v)).collect::<Vec<_>>();
    let rate = steps::wire_rate(analysis);
    let mut sum = 0.0;
    let total: Vec<(u64, f64)> = rate
        .iter()
        .enumerate()
        .map(|(i, (at, value))| {
            let before = sum;
            let until = rate.get(i + 1).map_or(*at, |next| next.0);
            sum += value * (until - at) as f64 / 1e9;
            (*at, before)
        })
        .collect();
    [
        Curve { name: "on the wire", unit: "B/s", points: absolute(&rate) },
        Curve { name: "received", unit: "B", points: absolute(&total) },
        Curve { name: "layers at work", unit: "layers", points: absolute(&steps::active_layers(analysis)) },
    ]
    .into_iter()
    .filter(|c| !c.points.is_empty())
    .collect()
}

/// A value as plain JSON. What JSON has no word for becomes text: bytes base64, numbers that are none by name.
pub(super) fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Str(v) => v.as_str().into(),
        Value::Int(v) => (*v).into(),
        Value::Bool(v) => (*v).into(),
        Value::Double(v) if v.is_finite() => (*v).into(),
        Value::Double(v) => real_name(*v).into(),
        Value::Bytes(v) => base64(v).into(),
        Value::Array(v) => v.iter().map(plain).collect(),
        Value::Map(v) => serde_json::Value::Object(v.iter().map(|(k, v)| (k.clone(), plain(v))).collect()),
    }
}

/// Attributes as one JSON object.
pub(super) fn object(attributes: &Attributes) -> serde_json::Map<String, serde_json::Value> {
    attributes.iter().map(|(k, v)| (k.to_owned(), plain(v))).collect()
}

/// As Protobuf's JSON mapping names them.
pub(super) fn real_name(v: f64) -> &'static str {
    if v.is_nan() {
        "NaN"
    } else if v > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// With padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}
