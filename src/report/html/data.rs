//! What the page gets to know: runs as columns of numbers and texts, in JSON.
//!
//! Columns instead of objects keep a trace of 100,000 spans small and quick to read. A span's place in the columns is
//! its node.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::Value as Json;

use crate::analyze::steps;
use crate::analyze::{Analysis, Node};
use crate::names::{attr, span};
use crate::record::model::{Attributes, Kind, Status, Trace, Value};
use crate::report::picture::palette::Work;
use crate::report::picture::timeline::{STYLE, facts_line, words};
use crate::report::{detail, finding, rows, title};

/// Points of the strips.
const COLUMNS: usize = 800;
/// Whole numbers above this are no longer exact in JavaScript; they become text.
const EXACT: u64 = 1 << 53;

/// Everything the page shows.
#[derive(Serialize)]
pub struct Page {
    pub title: String,
    pub runs: Vec<Run>,
    /// Span names, each with its class of colour.
    pub names: Vec<(String, &'static str)>,
    /// Attribute keys.
    pub keys: Vec<String>,
}

/// An event: its name, when (ns from the root's begin; `null` if that is not known), its attributes.
type Moment = (String, Option<i64>, Vec<Json>);

/// One run. Times are nanoseconds from the root's start.
#[derive(Serialize)]
pub struct Run {
    id: String,
    title: String,
    facts: Vec<String>,
    finding: Option<String>,
    errors: Vec<String>,
    wall: u64,
    unaccounted: u64,
    resource: Vec<Json>,
    span: Vec<String>,
    /// -1 for the root.
    parent: Vec<i64>,
    name: Vec<usize>,
    start: Vec<i64>,
    end: Vec<i64>,
    /// Self time.
    own: Vec<u64>,
    /// Time on the critical path, with everything below.
    critical: Vec<u64>,
    /// Key, value, key, value, …
    attributes: Vec<Vec<Json>>,
    /// The rest is there only for the spans that have it.
    kind: BTreeMap<Node, &'static str>,
    label: BTreeMap<Node, String>,
    detail: BTreeMap<Node, String>,
    error: BTreeMap<Node, String>,
    /// Digest and place of a layer, by which two runs are aligned.
    layer: BTreeMap<Node, (String, i64)>,
    /// Name, time, attributes.
    events: BTreeMap<Node, Vec<Moment>>,
    /// Nodes that it waited for.
    waits: BTreeMap<Node, Vec<Node>>,
    /// Node, start, end.
    path: Vec<(Node, i64, i64)>,
    rate: Vec<u64>,
    active: Vec<u64>,
}

/// Numbers for texts that come again and again.
#[derive(Default)]
struct Table {
    place: HashMap<String, usize>,
    texts: Vec<String>,
}

impl Table {
    fn place(&mut self, text: &str) -> usize {
        if let Some(place) = self.place.get(text) {
            return *place;
        }
        let place = self.texts.len();
        self.place.insert(text.to_owned(), place);
        self.texts.push(text.to_owned());
        place
    }
}

/// The page of one run or of several side by side.
pub fn page(runs: &[(&Trace, &Analysis<'_>)], title: String) -> Page {
    let (mut names, mut keys) = (Table::default(), Table::default());
    let runs = runs.iter().map(|(trace, analysis)| run(trace, analysis, &mut names, &mut keys)).collect();
    Page {
        title,
        runs,
        names: names.texts.iter().map(|n| (clean(n), Work::of(n).class())).collect(),
        keys: keys.texts.iter().map(|k| clean(k)).collect(),
    }
}

fn run(trace: &Trace, analysis: &Analysis<'_>, names: &mut Table, keys: &mut Table) -> Run {
    let tree = &analysis.tree;
    let origin = i128::from(tree.window(tree.root()).0);
    let at = |ns: u64| (i128::from(ns) - origin).clamp(-(EXACT as i128), EXACT as i128) as i64;
    let nodes = || 0..tree.len();
    let whole = |values: Vec<f64>| values.iter().map(|v| v.round() as u64).collect();
    let (rate, active) = (steps::wire_rate(analysis), steps::active_layers(analysis));
    Run {
        id: trace.id.to_string(),
        title: words(trace, analysis).0,
        facts: facts_line(trace, analysis),
        finding: finding::finding(analysis, &STYLE),
        errors: title::errors(analysis, &[], 0, &STYLE),
        wall: analysis.wall(),
        unaccounted: analysis.unaccounted(),
        resource: attributes(trace.resource(), keys),
        span: nodes().map(|n| tree.span(n).id.to_string()).collect(),
        parent: nodes().map(|n| tree.parent(n).map_or(-1, |p| p as i64)).collect(),
        name: nodes().map(|n| names.place(&tree.span(n).name)).collect(),
        start: nodes().map(|n| at(tree.span(n).start)).collect(),
        end: nodes().map(|n| at(tree.span(n).end.max(tree.span(n).start))).collect(),
        own: analysis.self_ns.clone(),
        critical: analysis.critical_below_ns.clone(),
        attributes: nodes().map(|n| attributes(&tree.span(n).attributes, keys)).collect(),
        kind: nodes().filter_map(|n| Some((n, kind(tree.span(n).kind)?))).collect(),
        label: nodes()
            .filter(|n| tree.span(*n).name == span::LAYER_PULL)
            .map(|n| (n, rows::label(analysis, n, &STYLE)))
            .collect(),
        detail: nodes()
            .map(|n| (n, detail::detail(analysis, n, &STYLE)))
            .filter(|(_, d)| !d.parts.is_empty())
            .map(|(n, d)| (n, d.parts.join(d.joiner)))
            .collect(),
        error: nodes()
            .filter_map(|n| match &tree.span(n).status {
                Status::Error(message) => Some((n, clean(message))),
                _ => None,
            })
            .collect(),
        layer: nodes().filter_map(|n| Some((n, layer(analysis, n)?))).collect(),
        events: nodes()
            .filter(|n| !tree.span(*n).events.is_empty())
            .map(|n| {
                let all = &tree.span(n).events;
                (n, all.iter().map(|e| (clean(&e.name), e.at().map(at), attributes(&e.attributes, keys))).collect())
            })
            .collect(),
        waits: nodes()
            .map(|n| (n, tree.span(n).waits_for().filter_map(|id| tree.find(id)).collect::<Vec<_>>()))
            .filter(|(_, waits)| !waits.is_empty())
            .collect(),
        path: analysis.segments.iter().map(|s| (s.node, at(s.start), at(s.end))).collect(),
        rate: whole(steps::means(&rate, analysis.wall(), COLUMNS)),
        active: whole(steps::greatest(&active, analysis.wall(), COLUMNS)),
    }
}

fn layer(analysis: &Analysis<'_>, node: Node) -> Option<(String, i64)> {
    let here = analysis.tree.span(node);
    if here.name != span::LAYER_PULL {
        return None;
    }
    let digest = here.attributes.str(attr::LAYER_DIGEST).unwrap_or_default();
    Some((clean(digest), here.attributes.int(attr::LAYER_INDEX).unwrap_or(-1)))
}

fn kind(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Unspecified | Kind::Internal => None,
        Kind::Server => Some("server"),
        Kind::Client => Some("client"),
        Kind::Producer => Some("producer"),
        Kind::Consumer => Some("consumer"),
    }
}

fn attributes(attributes: &Attributes, keys: &mut Table) -> Vec<Json> {
    attributes.iter().flat_map(|(key, v)| [Json::from(keys.place(key)), value(v)]).collect()
}

fn value(v: &Value) -> Json {
    match v {
        Value::Str(v) => Json::from(clean(v)),
        Value::Int(v) if v.unsigned_abs() <= EXACT => Json::from(*v),
        Value::Int(v) => Json::from(v.to_string()),
        Value::Double(v) => serde_json::Number::from_f64(*v).map_or_else(|| Json::from(v.to_string()), Json::Number),
        Value::Bool(v) => Json::from(*v),
        Value::Array(v) => Json::Array(v.iter().map(value).collect()),
        Value::Map(v) => v.iter().map(|(k, v)| (clean(k), value(v))).collect(),
        Value::Bytes(v) => Json::from(v.escape_ascii().to_string()),
    }
}

/// No control characters and nothing that turns the direction of what follows.
fn clean(text: &str) -> String {
    STYLE.clean(text).into_owned()
}
