//! A trace reduced to what a comparison needs.

use std::collections::HashMap;
use std::sync::Arc;

use super::phase::Phase;
use crate::analyze::tree::Node;
use crate::analyze::{Tree, times};
use crate::names::{attr, span};
use crate::record::model::{Trace, TraceId, Value};

/// Levels below the root that are compared. Ours has 6.
const DEPTH: u32 = 12;

/// What must be the same for durations to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// `trace.hub`.
    Hub,
    /// `trace.link`: how the way to the registry was shaped.
    Link,
    /// `host.name`.
    Machine,
    /// `host.arch`.
    Architecture,
    /// `os.version`.
    Kernel,
    /// `service.version`.
    Version,
    /// `trace.runtime`.
    Runtime,
    /// `trace.isolation`.
    Isolation,
    /// `trace.network.mode`.
    Network,
    /// `trace.bench.cold`: how cold the cold runs of a bench were.
    ColdLevel,
    /// `container.image.name`.
    Image,
    /// `oci.manifest.digest`.
    Manifest,
}

impl Setting {
    /// All, the most telling first.
    pub const ALL: [Setting; 12] = [
        Setting::Image,
        Setting::Manifest,
        Setting::Hub,
        Setting::Link,
        Setting::ColdLevel,
        Setting::Machine,
        Setting::Architecture,
        Setting::Kernel,
        Setting::Version,
        Setting::Runtime,
        Setting::Isolation,
        Setting::Network,
    ];

    /// The attribute that carries it, on the root or the resource.
    pub fn key(self) -> &'static str {
        match self {
            Setting::Hub => attr::HUB,
            Setting::Link => attr::LINK,
            Setting::ColdLevel => attr::BENCH_COLD,
            Setting::Machine => attr::HOST_NAME,
            Setting::Architecture => attr::HOST_ARCH,
            Setting::Kernel => attr::OS_VERSION,
            Setting::Version => attr::SERVICE_VERSION,
            Setting::Runtime => attr::RUNTIME,
            Setting::Isolation => attr::ISOLATION,
            Setting::Network => attr::NETWORK_MODE,
            Setting::Image => attr::CONTAINER_IMAGE_NAME,
            Setting::Manifest => attr::OCI_MANIFEST_DIGEST,
        }
    }
}

/// What is needed of one trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The trace.
    pub id: TraceId,
    /// Name of the root span.
    pub name: String,
    /// Start, ns since the Unix epoch.
    pub start: u64,
    /// Length of the root, ns.
    pub wall_ns: u64,
    /// `container.image.name`.
    pub image: Option<String>,
    /// `trace.run.kind`.
    pub kind: Option<String>,
    /// Whether the root failed.
    pub failed: bool,
    /// `trace.observed_by`: who timed a run of another engine.
    pub observed_by: Option<String>,
    /// What is known of [`Setting`]s.
    pub settings: Vec<(Setting, String)>,
    /// Phases without the whole run: wall time in it and its start after the root's, ns.
    pub phases: Vec<(Phase, u64, u64)>,
}

impl Run {
    /// Reduces a trace; `None` if it has no span.
    pub fn of(trace: &Trace) -> Option<Run> {
        let tree = Tree::new(trace)?;
        let root = tree.span(tree.root());
        let text = |key| root.attributes.str(key).map(str::to_owned);
        let setting = |s: Setting| {
            let value = root.attributes.get(s.key()).or_else(|| trace.resource().get(s.key()));
            // The network's mode stands on its stage.
            let value = value.or_else(|| match s {
                Setting::Network => trace.spans.iter().find_map(|x| x.attributes.get(s.key())),
                _ => None,
            });
            match value? {
                Value::Str(v) => Some((s, v.clone())),
                _ => None,
            }
        };
        Some(Run {
            id: trace.id,
            name: root.name.to_string(),
            start: root.start,
            wall_ns: root.duration(),
            image: text(attr::CONTAINER_IMAGE_NAME),
            kind: text(attr::RUN_KIND),
            failed: root.status.is_error(),
            observed_by: text(attr::OBSERVED_BY),
            settings: Setting::ALL.into_iter().filter_map(setting).collect(),
            phases: phases(&tree),
        })
    }
}

/// Where the catalogue has a stage: the names above it, below the root. Other engines do the same work elsewhere, such
/// as the network while they start a container, and have no span around a layer.
fn place(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        span::IMAGE_PULL | span::CONTAINER_CREATE | span::CONTAINER_START | span::CONTAINER_RUN => &[],
        span::MANIFEST_FETCH | span::CONFIG_FETCH | span::LAYER_PULL => &[span::IMAGE_PULL],
        span::LAYER_DOWNLOAD | span::LAYER_EXTRACT => &[span::IMAGE_PULL, span::LAYER_PULL],
        span::NETWORK_SETUP => &[span::CONTAINER_CREATE],
        span::CONTAINER_REMOVE => &[span::CONTAINER_CLEANUP],
        _ => return None,
    })
}

/// Wall time and start of each phase of a run.
fn phases(tree: &Tree<'_>) -> Vec<(Phase, u64, u64)> {
    let origin = tree.window(tree.root()).0;
    let mut phase_of: HashMap<Node, Phase> = HashMap::with_capacity(tree.len());
    phase_of.insert(tree.root(), Phase { path: Arc::new([]), layer: None });
    let mut order: Vec<Phase> = Vec::new();
    let mut nodes: HashMap<Phase, Vec<Node>> = HashMap::new();
    let mut note = |phase: &Phase, node| {
        let list = nodes.entry(phase.clone()).or_default();
        if list.is_empty() {
            order.push(phase.clone());
        }
        list.push(node);
    };
    let root = tree.span(tree.root());
    let foreign = root.attributes.get(attr::OBSERVED_BY).is_some();
    if foreign {
        // The whole of it may be a stage, and a pull has nothing around its image's.
        let all = tree.top_down().any(|n| tree.span(n).name == span::IMAGE_PULL);
        let name = if root.name == span::PULL && !all { span::IMAGE_PULL } else { &root.name };
        if let Some(above) = place(name) {
            let path = above.iter().copied().chain([name]).map(Arc::from).collect();
            let phase = Phase { path, layer: None };
            note(&phase, tree.root());
            phase_of.insert(tree.root(), phase);
        }
    }
    let mut names: HashMap<&str, Arc<str>> = HashMap::new();
    for node in tree.top_down().skip(1) {
        let Some(above) = tree.parent(node).and_then(|p| phase_of.get(&p)) else { continue };
        if tree.depth(node) > DEPTH {
            continue;
        }
        let here = tree.span(node);
        let name = names.entry(&here.name).or_insert_with(|| here.name.chars().take(80).collect::<String>().into());
        let path: Arc<[Arc<str>]> = match place(&here.name).filter(|_| foreign) {
            Some(above) => above.iter().map(|n| Arc::from(*n)).chain([name.clone()]).collect(),
            None => above.path.iter().chain([&*name]).cloned().collect(),
        };
        let digest =
            if here.name == span::LAYER_PULL || foreign { here.attributes.str(attr::LAYER_DIGEST) } else { None };
        let layer = digest.map(|d| d.chars().take(80).collect::<String>().into()).or_else(|| above.layer.clone());
        if layer.is_some() {
            note(&Phase { path: path.clone(), layer: None }, node);
        }
        let phase = Phase { path, layer };
        note(&phase, node);
        phase_of.insert(node, phase);
    }
    order
        .into_iter()
        .map(|phase| {
            let nodes = &nodes[&phase];
            let begin = nodes.iter().map(|n| tree.window(*n).0).min().unwrap_or(origin);
            (phase, times::union_of(tree, nodes), begin - origin)
        })
        .collect()
}
