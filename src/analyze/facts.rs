//! What a person wants to know of a run, as numbers. `report` puts them into words.

use super::tree::Node;
use super::{Analysis, times};
use crate::names::{attr, span};

/// What a stretch of the critical path was spent on, over all layers and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// DNS, TCP and TLS of new connections.
    Connecting,
    /// Requests sent, no first byte yet.
    FirstByte,
    /// Bytes arriving.
    Receiving,
    /// SHA-256.
    Hashing,
    /// gzip or zstd.
    Inflating,
    /// Directories and files made and filled.
    CreatingFiles,
    /// Anything else.
    Other,
}

impl Cause {
    /// As in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Connecting => "connect",
            Cause::FirstByte => "first_byte",
            Cause::Receiving => "network",
            Cause::Hashing => "hash",
            Cause::Inflating => "inflate",
            Cause::CreatingFiles => "create",
            Cause::Other => "other",
        }
    }

    fn of_name(name: &str) -> Option<Cause> {
        Some(match name {
            span::DNS_LOOKUP | span::TCP_CONNECT | span::TLS_HANDSHAKE => Cause::Connecting,
            span::HTTP_WAIT => Cause::FirstByte,
            span::HTTP_RECEIVE | span::LAYER_DOWNLOAD => Cause::Receiving,
            span::LAYER_VERIFY => Cause::Hashing,
            span::LAYER_DECOMPRESS => Cause::Inflating,
            span::LAYER_EXTRACT => Cause::CreatingFiles,
            _ => return None,
        })
    }
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerFacts {
    /// Its `layer.pull` span.
    pub node: Node,
    /// Position in the manifest, 0 is the base.
    pub index: Option<i64>,
    /// Digest of the blob.
    pub digest: Option<String>,
    /// Bytes of the blob.
    pub bytes: Option<u64>,
    /// Bytes of the unpacked tar.
    pub unpacked: Option<u64>,
    /// Files, directories and links made.
    pub files: Option<u64>,
    /// Begin of the first stage to end of the last one, ns.
    pub active_ns: u64,
    /// Bytes of the blob by [`active_ns`](Self::active_ns), per second.
    pub rate: Option<f64>,
    /// What the layer waited for longest: of the stages' own work, after streaming is untangled as on the critical path.
    pub bound: Option<Cause>,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Length of the root, ns.
    pub wall_ns: u64,
    /// `trace.run.kind`.
    pub kind: Option<String>,
    /// `trace.hub`.
    pub hub: Option<String>,
    /// The `image.pull` span.
    pub pull: Option<Node>,
    /// Its time on the critical path, ns.
    pub pull_ns: u64,
    /// What that time was spent on, the most first.
    pub pull_causes: Vec<(Cause, u64)>,
    /// The child of the root with the most time on the critical path, and that time, ns.
    pub top: Option<(Node, u64)>,
    /// The child of that one with the most, and that time, ns.
    pub top_part: Option<(Node, u64)>,
    /// In order of position.
    pub layers: Vec<LayerFacts>,
    /// Wall time that no child of the root covers, ns.
    pub unaccounted_ns: u64,
}

/// The facts of a run.
pub fn facts(analysis: &Analysis<'_>) -> Facts {
    let tree = &analysis.tree;
    let root = tree.root();
    let text = |key| tree.span(root).attributes.str(key).map(str::to_owned);
    let pull = if tree.span(root).name == span::PULL {
        Some(tree.child_named(root, span::IMAGE_PULL).unwrap_or(root))
    } else {
        tree.child_named(root, span::IMAGE_PULL)
    };
    let most = |node: Node| {
        let below = &analysis.critical_below_ns;
        let most = tree.children(node).iter().copied().max_by_key(|c| (below[*c], std::cmp::Reverse(*c)));
        most.map(|c| (c, below[c])).filter(|(_, ns)| *ns > 0)
    };
    let top = most(root);
    let mut layers: Vec<LayerFacts> =
        (0..tree.len()).filter(|n| tree.span(*n).name == span::LAYER_PULL).map(|n| layer(analysis, n)).collect();
    layers.sort_by_key(|l| (l.index, l.node));
    Facts {
        wall_ns: analysis.wall(),
        kind: text(attr::RUN_KIND),
        hub: text(attr::HUB),
        pull,
        pull_ns: pull.map_or(0, |p| analysis.critical_below_ns[p]),
        pull_causes: pull.map(|p| causes(analysis, p)).unwrap_or_default(),
        top,
        top_part: top.and_then(|(n, _)| most(n)),
        layers,
        unaccounted_ns: analysis.unaccounted(),
    }
}

/// What critical-path time in `top` and below was spent on, the most first.
fn causes(analysis: &Analysis<'_>, top: Node) -> Vec<(Cause, u64)> {
    let tree = &analysis.tree;
    // The nearest named span above decides, so that a request inside `layer.download` counts by its own phases.
    let mut cause = vec![Cause::Other; tree.len()];
    let mut sums: Vec<(Cause, u64)> = Vec::new();
    for node in tree.walk(top) {
        let above = tree.parent(node).filter(|_| node != top).map_or(Cause::Other, |p| cause[p]);
        cause[node] = Cause::of_name(&tree.span(node).name).unwrap_or(above);
        let ns = analysis.critical_ns[node];
        match sums.iter_mut().find(|(c, _)| *c == cause[node]) {
            Some((_, sum)) => *sum += ns,
            None => sums.push((cause[node], ns)),
        }
    }
    sums.retain(|(_, ns)| *ns > 0);
    sums.sort_by_key(|(cause, ns)| (std::cmp::Reverse(*ns), *cause));
    sums
}

/// The facts of one `layer.pull` span.
pub fn layer(analysis: &Analysis<'_>, node: Node) -> LayerFacts {
    let tree = &analysis.tree;
    let attributes = &tree.span(node).attributes;
    let bytes = |key| attributes.int(key).and_then(|v| u64::try_from(v).ok());
    let stages: Vec<Node> =
        tree.children(node).iter().copied().filter(|c| Cause::of_name(&tree.span(*c).name).is_some()).collect();
    let start = stages.iter().map(|s| tree.window(*s).0).min();
    let end = stages.iter().map(|s| tree.window(*s).1).max();
    let active_ns = start.zip(end).map_or_else(|| times::union_of(tree, &[node]), |(s, e)| e - s);
    let size = bytes(attr::LAYER_SIZE);
    let files = tree
        .child_named(node, span::LAYER_EXTRACT)
        .and_then(|e| tree.span(e).attributes.int(attr::FILES))
        .or_else(|| attributes.int(attr::FILES))
        .and_then(|v| u64::try_from(v).ok());
    LayerFacts {
        node,
        index: attributes.int(attr::LAYER_INDEX),
        digest: attributes.str(attr::LAYER_DIGEST).map(str::to_owned),
        bytes: size,
        unpacked: bytes(attr::LAYER_SIZE_UNPACKED),
        files,
        active_ns,
        rate: size.filter(|_| active_ns > 0).map(|b| b as f64 * 1e9 / active_ns as f64),
        bound: bound(analysis, &stages),
    }
}

/// The stage that did most of its own work: busy time where it is recorded (the download's is its waiting for bytes), else duration.
fn bound(analysis: &Analysis<'_>, stages: &[Node]) -> Option<Cause> {
    let tree = &analysis.tree;
    let work = |node: Node| {
        let span = tree.span(node);
        let waited = |key| span.attributes.int(key).unwrap_or(0).max(0) as u64;
        if span.name == span::LAYER_DOWNLOAD {
            // It is bound by the network whenever nobody further down holds it up.
            span.duration().saturating_sub(waited(attr::WAIT_OUTPUT_NS))
        } else if span.attributes.int(attr::BUSY_NS).is_some() {
            waited(attr::BUSY_NS)
        } else {
            span.duration()
        }
    };
    let most = stages.iter().copied().max_by_key(|s| (work(*s), std::cmp::Reverse(*s)))?;
    Cause::of_name(&tree.span(most).name)
}
