//! What a person wants to know of a run, as numbers. `report` puts them into words.

pub use super::causes::{Cause, Part};
use super::tree::{Node, Tree};
use super::{Analysis, causes, times};
use crate::names::{attr, span};

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerFacts {
    /// Its `layer.pull` span.
    pub node: Node,
    /// Position in the manifest, 0 is the base.
    pub index: Option<i64>,
    /// Digest of the blob.
    pub digest: Option<String>,
    /// `gzip`, `zstd`, `none`, as its media type says.
    pub compression: Option<&'static str>,
    /// Bytes of the blob.
    pub bytes: Option<u64>,
    /// Bytes of the unpacked tar.
    pub unpacked: Option<u64>,
    /// Files, directories and links made.
    pub files: Option<u64>,
    /// Whether it was in the store already.
    pub cached: bool,
    /// Whether the bytes came from this machine.
    pub local: bool,
    /// Begin of the first stage to end of the last one, ns.
    pub active_ns: u64,
    /// Bytes of the blob by [`active_ns`](Self::active_ns), per second.
    pub rate: Option<f64>,
    /// What the layer waited for longest: of the stages' own work, after streaming is untangled as on the critical
    /// path.
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
    /// Whether all that was pulled came from this machine.
    pub local_hub: bool,
    /// What the wall time was spent on, on the critical path; the most first. Adds up to all of it.
    pub causes: Vec<(Cause, u64)>,
    /// The `image.pull` span.
    pub pull: Option<Node>,
    /// Its time on the critical path, ns.
    pub pull_ns: u64,
    /// What that time was spent on, the most first.
    pub pull_causes: Vec<(Cause, u64)>,
    /// The same by layer, the most first.
    pub pull_parts: Vec<Part>,
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
    let parts = pull.map(|p| causes::parts(analysis, p)).unwrap_or_default();
    Facts {
        wall_ns: analysis.wall(),
        kind: text(attr::RUN_KIND),
        hub: text(attr::HUB),
        causes: causes::sums(&causes::parts(analysis, root)),
        local_hub: pull.is_some_and(|p| is_local(tree, p)),
        pull,
        pull_ns: pull.map_or(0, |p| analysis.critical_below_ns[p]),
        pull_causes: causes::sums(&parts),
        pull_parts: parts,
        top,
        top_part: top.and_then(|(n, _)| most(n)),
        layers,
        unaccounted_ns: analysis.unaccounted(),
    }
}

/// The facts of one `layer.pull` span.
pub fn layer(analysis: &Analysis<'_>, node: Node) -> LayerFacts {
    let tree = &analysis.tree;
    let attributes = &tree.span(node).attributes;
    let bytes = |key| attributes.int(key).and_then(|v| u64::try_from(v).ok());
    let stages: Vec<Node> = tree.children(node).iter().copied().filter(|c| Cause::of(tree, *c).is_some()).collect();
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
        compression: attributes.str(attr::LAYER_MEDIA_TYPE).and_then(compression),
        bytes: size,
        unpacked: bytes(attr::LAYER_SIZE_UNPACKED),
        files,
        cached: attributes.str(attr::CACHE) == Some("hit"),
        local: is_local(tree, node),
        active_ns,
        rate: size.filter(|_| active_ns > 0).map(|b| b as f64 * 1e9 / active_ns as f64),
        bound: causes::bound(tree, &stages),
    }
}

/// Whether the built-in hub was asked, or the requests below a span all went to a loopback address, and there are some.
fn is_local(tree: &Tree<'_>, top: Node) -> bool {
    if tree.span(tree.root()).attributes.str(attr::HUB) == Some("builtin") {
        return true;
    }
    let peers = tree.walk(top).into_iter().filter_map(|n| tree.span(n).attributes.str(attr::NETWORK_PEER_ADDRESS));
    let mut local = peers.map(|p| p.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback()));
    local.next().is_some_and(|first| first && local.all(|l| l))
}

/// OCI image spec, layer.md, and docker's names for the same.
fn compression(media_type: &str) -> Option<&'static str> {
    let ending = |e: &str| media_type.ends_with(e);
    match () {
        () if ending("gzip") => Some("gzip"),
        () if ending("zstd") => Some("zstd"),
        () if ending("tar") => Some("none"),
        () => None,
    }
}
