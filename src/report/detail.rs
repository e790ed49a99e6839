//! The right-hand column of the waterfall: what a stage did, in a few words and numbers.

use super::{Style, units};
use crate::analyze::facts::Cause;
use crate::analyze::{Analysis, Node, Tree, facts};
use crate::names::{attr, span};

/// What stands in the column: parts that are dropped from the end where there is no room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detail {
    /// Safe for the terminal.
    pub parts: Vec<String>,
    /// What stands between them.
    pub joiner: &'static str,
}

/// Steps that are told in the row of the stage above them, with the word for each.
const STEPS: &[(&str, &str)] = &[
    (span::ROOTFS_MOUNT, "overlay"),
    (span::CGROUP_CREATE, "cgroup"),
    (span::NETWORK_SETUP, "network"),
    (span::PROCESS_CLONE, "clone"),
    (span::INIT_NAMESPACES, "namespaces"),
    (span::INIT_MOUNTS, "mounts"),
    (span::INIT_PIVOT_ROOT, "pivot"),
    (span::INIT_HARDENING, "hardening"),
    (span::PROCESS_EXEC, "exec"),
    (span::NETWORK_TEARDOWN, "network"),
    (span::ROOTFS_UNMOUNT, "unmount"),
    (span::CGROUP_REMOVE, "cgroup"),
    (span::CONTAINER_REMOVE, "remove"),
];

/// Phases of a request, with the word for each.
const PHASES: &[(&str, &str)] = &[
    (span::DNS_LOOKUP, "dns"),
    (span::TCP_CONNECT, "tcp"),
    (span::TLS_HANDSHAKE, "tls"),
    (span::HTTP_WAIT, "wait"),
    (span::HTTP_RECEIVE, "body"),
];

/// Whether a span is told in the row above it. A request of a foreign trace keeps its row.
pub fn is_folded(tree: &Tree<'_>, node: Node) -> bool {
    let name: &str = &tree.span(node).name;
    let Some(parent) = tree.parent(node) else { return false };
    let above: &str = &tree.span(parent).name;
    if is_request(name) {
        return is_stage(above);
    }
    if PHASES.iter().any(|(n, _)| *n == name) {
        return is_request(above) || is_stage(above);
    }
    STEPS.iter().any(|(n, _)| *n == name) && is_stage(above)
}

fn is_request(name: &str) -> bool {
    matches!(name, span::HTTP_GET | span::HTTP_HEAD | span::HTTP_POST)
}

fn is_stage(name: &str) -> bool {
    matches!(
        name,
        span::CACHE_CHECK
            | span::IMAGE_PULL
            | span::REGISTRY_AUTH
            | span::MANIFEST_FETCH
            | span::CONFIG_FETCH
            | span::LAYER_PULL
            | span::LAYER_DOWNLOAD
            | span::CONTAINER_CREATE
            | span::CONTAINER_START
            | span::CONTAINER_CLEANUP
    )
}

/// What to say about a span.
pub fn detail(analysis: &Analysis<'_>, node: Node, style: &Style) -> Detail {
    let tree = &analysis.tree;
    let here = tree.span(node);
    let attributes = &here.attributes;
    let mut out = Detail { parts: Vec::new(), joiner: style.dot() };
    match here.name.as_ref() {
        span::LAYER_PULL => {
            out.joiner = ", ";
            out.parts = layer(analysis, node, style);
            return out;
        }
        span::IMAGE_PULL => {
            out.joiner = ", ";
            out.parts = pull(analysis, node, style);
            return out;
        }
        span::CACHE_CHECK => out.parts.extend(attributes.str(attr::CACHE).map(|c| style.clean(c).into_owned())),
        span::CONTAINER_EXIT => out.parts.extend(exit(analysis, node, style)),
        _ => {}
    }
    out.parts.extend(streaming(analysis, node, style));
    out.parts.extend(steps(tree, node, style));
    out.parts.extend(requests(tree, node, style));
    out
}

/// `busy 0.3 ms`, `waiting 3.7 ms`.
fn streaming(analysis: &Analysis<'_>, node: Node, style: &Style) -> Vec<String> {
    let ns = |key| analysis.tree.span(node).attributes.int(key).map(|v| v.max(0) as u64);
    let Some(busy) = ns(attr::BUSY_NS) else { return Vec::new() };
    let waiting = ns(attr::WAIT_INPUT_NS).unwrap_or(0).saturating_add(ns(attr::WAIT_OUTPUT_NS).unwrap_or(0));
    let mut out = vec![format!("busy {}", units::duration(busy, style))];
    out.extend((waiting > 0).then(|| format!("waiting {}", units::duration(waiting, style))));
    out
}

fn steps(tree: &Tree<'_>, node: Node, style: &Style) -> Vec<String> {
    let folded: Vec<Node> = tree.children(node).iter().copied().filter(|c| is_folded(tree, *c)).collect();
    sums(tree, &folded, STEPS, style)
}

/// The phases of all requests of a stage, added up.
fn requests(tree: &Tree<'_>, node: Node, style: &Style) -> Vec<String> {
    let mut folded = Vec::new();
    let mut next: Vec<Node> = vec![node];
    while let Some(at) = next.pop() {
        for child in tree.children(at).iter().copied().filter(|c| is_folded(tree, *c)) {
            folded.push(child);
            next.push(child);
        }
    }
    let mut out = sums(tree, &folded, PHASES, style);
    let requests = folded.iter().filter(|n| is_request(&tree.span(**n).name));
    let count = requests.clone().count();
    let failed = requests.filter(|n| tree.span(**n).status.is_error()).count();
    if count > 1 {
        out.push(units::count(count as u64, "request"));
    }
    if failed > 0 {
        out.push(format!("{failed} failed"));
    }
    out
}

/// One part for each word with time worth telling, the longest first.
fn sums(tree: &Tree<'_>, nodes: &[Node], words: &[(&'static str, &'static str)], style: &Style) -> Vec<String> {
    let time = |(name, word): &(&'static str, &'static str)| {
        let named = nodes.iter().filter(|n| tree.span(**n).name == *name);
        (named.fold(0u64, |sum, n| sum.saturating_add(tree.duration(*n))), *word)
    };
    let mut times: Vec<(u64, &str)> = words.iter().map(time).filter(|(ns, _)| *ns >= 5_000).collect();
    times.sort_by_key(|(ns, _)| std::cmp::Reverse(*ns));
    times.into_iter().map(|(ns, word)| format!("{word} {}", units::duration(ns, style))).collect()
}

/// `4.1 kB → 9.5 kB`, `1 file`, `52 MB/s`, `bound by network`.
fn layer(analysis: &Analysis<'_>, node: Node, style: &Style) -> Vec<String> {
    let cache = analysis.tree.span(node).attributes.str(attr::CACHE);
    let facts = facts::layer(analysis, node);
    let mut out = Vec::new();
    match (facts.bytes, facts.unpacked) {
        (Some(wire), Some(tar)) => {
            out.push(format!("{}{}{}", units::bytes(wire), style.arrow(), units::bytes(tar)));
        }
        (Some(one), None) | (None, Some(one)) => out.push(units::bytes(one)),
        (None, None) => {}
    }
    out.extend(facts.files.map(|n| units::count(n, "file")));
    if cache == Some("hit") {
        out.push("cached".to_owned());
        return out;
    }
    // A layer that did not arrive has neither a rate nor a reason for one.
    if analysis.tree.span(node).status.is_error() {
        return out;
    }
    out.extend(facts.rate.map(units::rate));
    out.extend(facts.bound.map(|cause| format!("bound by {}", bound(cause, facts.local))));
    out
}

/// What a layer was bound by, in a word. A registry on this machine is no network.
fn bound(cause: Cause, local: bool) -> &'static str {
    match cause {
        Cause::Connecting | Cause::FirstByte | Cause::Receiving if local => "registry",
        Cause::Connecting | Cause::FirstByte | Cause::Receiving => "network",
        Cause::Hashing => "hashing",
        Cause::Inflating => "inflating",
        Cause::CreatingFiles => "creating files",
        Cause::WritingFiles => "writing files",
        Cause::Hub | Cause::OtherPull | Cause::Failed | Cause::Own | Cause::Kernel | Cause::Process | Cause::Other => {
            "other work"
        }
    }
}

/// `6 layers`, `2 cached`, `340 MB`, `52 MB/s`.
fn pull(analysis: &Analysis<'_>, node: Node, style: &Style) -> Vec<String> {
    let attributes = &analysis.tree.span(node).attributes;
    let number = |key| attributes.int(key).and_then(|v| u64::try_from(v).ok());
    let mut out = Vec::new();
    out.extend(number(attr::LAYERS).map(|n| units::count(n, "layer")));
    out.extend(number(attr::LAYERS_CACHED).filter(|n| *n > 0).map(|n| format!("{n} cached")));
    let seconds = analysis.tree.duration(node) as f64 / 1e9;
    // Where every layer was there already, nothing came and nothing has a rate.
    if let Some(wire) = number(attr::BYTES_WIRE).filter(|wire| *wire > 0) {
        match number(attr::BYTES_UNPACKED) {
            Some(tar) => out.push(format!("{}{}{}", units::bytes(wire), style.arrow(), units::bytes(tar))),
            None => out.push(units::bytes(wire)),
        }
        if seconds > 0.0 {
            out.push(units::rate(wire as f64 / seconds));
        }
    }
    out
}

/// Bytes of many layers.
pub fn layer_sum(tree: &Tree<'_>, nodes: &[Node], style: &Style) -> Option<String> {
    let sum = |key| {
        let mut sizes = nodes.iter().filter_map(|n| tree.span(*n).attributes.int(key)).peekable();
        sizes.peek()?;
        Some(sizes.fold(0u64, |sum, v| sum.saturating_add(v.max(0) as u64)))
    };
    let wire = sum(attr::LAYER_SIZE)?;
    Some(match sum(attr::LAYER_SIZE_UNPACKED) {
        Some(tar) => format!("{}{}{}", units::bytes(wire), style.arrow(), units::bytes(tar)),
        None => units::bytes(wire),
    })
}

/// `exit 3` or `SIGKILL`, `cpu 0.4 ms`, `peak 1.2 MB`.
fn exit(analysis: &Analysis<'_>, node: Node, style: &Style) -> Vec<String> {
    let attributes = &analysis.tree.span(node).attributes;
    let ns = |key| attributes.int(key).map(|v| v.max(0) as u64);
    let mut out = Vec::new();
    match attributes.str(attr::EXIT_SIGNAL) {
        Some(signal) => out.push(style.clean(signal).into_owned()),
        None => {
            let code = attributes.int(attr::PROCESS_EXIT_CODE).filter(|c| *c != 0);
            out.extend(code.map(|c| format!("exit {c}")));
        }
    }
    if ns(attr::OOM_KILLS).is_some_and(|n| n > 0) {
        out.push("out of memory".to_owned());
    }
    if let (Some(user), Some(system)) = (ns(attr::CPU_USER_NS), ns(attr::CPU_SYSTEM_NS)) {
        out.push(format!("cpu {}", units::duration(user.saturating_add(system), style)));
    }
    out.extend(ns(attr::MEMORY_PEAK).filter(|b| *b > 0).map(|b| format!("peak {}", units::bytes(b))));
    out
}
