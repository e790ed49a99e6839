//! What time went into: the network, inflating, files, the kernel. On the critical path for a run, by their own work
//! for a layer's stages.

use super::Analysis;
use super::tree::{Node, Tree};
use crate::names::{attr, span};

/// What a period of time was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// DNS, TCP and TLS of new connections.
    Connecting,
    /// Requests sent, no first byte yet.
    FirstByte,
    /// Bytes arriving.
    Receiving,
    /// SHA-256, of the blob or of the tar.
    Hashing,
    /// gzip or zstd.
    Inflating,
    /// Directories and files made.
    CreatingFiles,
    /// Files filled.
    WritingFiles,
    /// The built-in hub starts and makes what was asked for.
    Hub,
    /// Another process pulls the same image.
    OtherPull,
    /// Something that failed and was tried again or elsewhere.
    Failed,
    /// Our own program: its start, the look into the store, and with `--cold` forgetting the image.
    Own,
    /// What the kernel does to make, start and take away the container.
    Kernel,
    /// The container's own process.
    Process,
    /// Anything else.
    Other,
}

/// From this mean size on extracting is called writing, below it creating. Making a file takes about 19 µs, and so does
/// copying 64 kB into the page cache; which of the two it was is not recorded, only how many files and bytes.
const WRITING: u64 = 64 << 10;

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
            Cause::WritingFiles => "write",
            Cause::Hub => "hub",
            Cause::OtherPull => "other_pull",
            Cause::Failed => "failed_attempt",
            Cause::Own => "startup",
            Cause::Kernel => "kernel",
            Cause::Process => "process",
            Cause::Other => "other",
        }
    }

    /// What a span's own time is; `None` where the span above says it.
    pub fn of(tree: &Tree<'_>, node: Node) -> Option<Cause> {
        Some(match tree.span(node).name.as_ref() {
            span::DNS_LOOKUP | span::TCP_CONNECT | span::TLS_HANDSHAKE => Cause::Connecting,
            span::HTTP_WAIT => Cause::FirstByte,
            span::HTTP_RECEIVE | span::LAYER_DOWNLOAD => Cause::Receiving,
            span::LAYER_VERIFY => Cause::Hashing,
            span::LAYER_DECOMPRESS => Cause::Inflating,
            span::LAYER_EXTRACT => extracting(tree, node),
            span::STARTUP | span::CACHE_CHECK | span::IMAGE_FORGET => Cause::Own,
            span::CONTAINER_CREATE | span::CONTAINER_START | span::CONTAINER_CLEANUP => Cause::Kernel,
            span::CONTAINER_RUN => Cause::Process,
            span::HUB_START => Cause::Hub,
            span::PULL_WAIT => Cause::OtherPull,
            _ => return None,
        })
    }
}

/// Creating or writing, by the mean size.
fn extracting(tree: &Tree<'_>, node: Node) -> Cause {
    let number = |key| tree.span(node).attributes.int(key).and_then(|v| u64::try_from(v).ok());
    match (number(attr::BYTES), number(attr::FILES)) {
        (Some(bytes), Some(files)) if bytes / files.max(1) >= WRITING => Cause::WritingFiles,
        _ => Cause::CreatingFiles,
    }
}

/// How much of its busy time a `layer.extract` spent on the SHA-256 of the tar.
fn hashing_share(tree: &Tree<'_>, node: Node) -> f64 {
    let ns = |key| tree.span(node).attributes.int(key).unwrap_or(0).max(0) as f64;
    let busy = ns(attr::BUSY_NS);
    if busy > 0.0 { (ns(attr::DIFF_ID_BUSY_NS) / busy).min(1.0) } else { 0.0 }
}

/// Critical-path time of one cause, in one layer or in none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// What it went into.
    pub cause: Cause,
    /// The `layer.pull` span above it.
    pub layer: Option<Node>,
    /// ns.
    pub ns: u64,
}

/// Whether a span failed below one that went well: it was tried again, or something else was done. A registry that asks
/// for a token has not failed.
pub fn is_failed_attempt(tree: &Tree<'_>, node: Node) -> bool {
    let here = tree.span(node);
    let asked = here.attributes.int(attr::HTTP_RESPONSE_STATUS_CODE) == Some(401);
    here.status.is_error() && !asked && tree.parent(node).is_some_and(|p| !tree.span(p).status.is_error())
}

/// What critical-path time in `top` and below was spent on, the most first. Adds up to all of it.
pub fn parts(analysis: &Analysis<'_>, top: Node) -> Vec<Part> {
    let tree = &analysis.tree;
    // The nearest named span above decides, so that a request inside `layer.download` counts by its own phases.
    let mut above = vec![(Cause::Other, None); tree.len()];
    let mut parts: std::collections::HashMap<(Cause, Option<Node>), u64> = std::collections::HashMap::new();
    for node in tree.walk(top) {
        let inherited = tree.parent(node).filter(|_| node != top).map_or((Cause::Other, None), |p| above[p]);
        let layer = if tree.span(node).name == span::LAYER_PULL { Some(node) } else { inherited.1 };
        let cause = match inherited.0 {
            Cause::Failed => Cause::Failed,
            _ if node != top && is_failed_attempt(tree, node) => Cause::Failed,
            above => Cause::of(tree, node).unwrap_or(above),
        };
        above[node] = (cause, layer);
        let ns = analysis.critical_ns[node];
        // One stage, two kinds of work that take turns in one thread.
        let hashing = if matches!(cause, Cause::CreatingFiles | Cause::WritingFiles) {
            (ns as f64 * hashing_share(tree, node)) as u64
        } else {
            0
        };
        *parts.entry((Cause::Hashing, layer)).or_default() += hashing;
        *parts.entry((cause, layer)).or_default() += ns - hashing;
    }
    let mut out: Vec<Part> =
        parts.into_iter().map(|((cause, layer), ns)| Part { cause, layer, ns }).filter(|p| p.ns > 0).collect();
    out.sort_by_key(|p| (std::cmp::Reverse(p.ns), p.cause, p.layer));
    out
}

/// The same by cause alone, the most first.
pub fn sums(parts: &[Part]) -> Vec<(Cause, u64)> {
    let mut sums: Vec<(Cause, u64)> = Vec::new();
    for part in parts {
        match sums.iter_mut().find(|(c, _)| *c == part.cause) {
            Some((_, sum)) => *sum += part.ns,
            None => sums.push((part.cause, part.ns)),
        }
    }
    sums.sort_by_key(|(cause, ns)| (std::cmp::Reverse(*ns), *cause));
    sums
}

/// What one layer took longest over, of its stages' own work: busy time where it is recorded (the download's is its
/// waiting for bytes), else duration. Not of the critical path, on which a layer need not be.
pub fn bound(tree: &Tree<'_>, stages: &[Node]) -> Option<Cause> {
    let work = |node: Node, cause: Cause| {
        let span = tree.span(node);
        let ns = |key| span.attributes.int(key).unwrap_or(0).max(0) as u64;
        if cause == Cause::Receiving {
            // It is bound by the network whenever nobody further down holds it up.
            span.duration().saturating_sub(ns(attr::WAIT_OUTPUT_NS))
        } else if span.attributes.int(attr::BUSY_NS).is_some() {
            ns(attr::BUSY_NS)
        } else {
            span.duration()
        }
    };
    let causes = stages.iter().filter_map(|s| Some((*s, Cause::of(tree, *s)?)));
    let (most, cause) = causes.max_by_key(|(s, cause)| (work(*s, *cause), std::cmp::Reverse(*s)))?;
    Some(if hashing_share(tree, most) > 0.5 { Cause::Hashing } else { cause })
}
