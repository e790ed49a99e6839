//! One sentence on what a run's time went to, and what would help, only where the numbers carry it. All shares are of
//! the critical path, so they can be added up.

use super::{Style, text, title, units};
use crate::analyze::facts::{Cause, Facts, LayerFacts, Part, facts};
use crate::analyze::{Analysis, Node, causes, times};
use crate::names::{attr, span};

/// A stage below this share of the run is not worth a sentence.
const WORTH_SAYING: f64 = 0.35;
/// A part below this share of its stage is not called its reason.
const WORTH_BLAMING: f64 = 0.4;
/// What takes less of the run than this is not worth advice.
const WORTH_CHANGING: f64 = 0.2;

/// The sentence; `None` if nothing stands out. Of a run that failed it says where. What lies outside the root gets a
/// sentence of its own.
pub fn finding(analysis: &Analysis<'_>, style: &Style) -> Option<String> {
    match (inside(analysis, style), outside(analysis, style)) {
        (Some(inside), Some(outside)) => Some(format!("{inside} {outside}")),
        (inside, outside) => inside.or(outside),
    }
}

/// That the trace begins before its root or goes on after it.
fn outside(analysis: &Analysis<'_>, style: &Style) -> Option<String> {
    let (before, after) = analysis.tree.outside();
    let root = short(&analysis.tree.span(analysis.tree.root()).name, style);
    let time = |ns| units::duration(ns, style);
    Some(match (before, after) {
        (0, 0) => return None,
        (0, after) => format!("Work goes on for {} after `{root}` has ended.", time(after)),
        (before, 0) => format!("Work begins {} before `{root}` does.", time(before)),
        (before, after) => {
            format!("Work begins {} before `{root}` and goes on for {} after it.", time(before), time(after))
        }
    })
}

fn inside(analysis: &Analysis<'_>, style: &Style) -> Option<String> {
    let tree = &analysis.tree;
    let root = tree.span(tree.root());
    if root.status.is_error() {
        return failed(analysis, style);
    }
    let facts = facts(analysis);
    let (top, ns) = facts.top?;
    let share = units::share(ns, facts.wall_ns);
    if share < WORTH_SAYING {
        return None;
    }
    let run = if title::is_ours(root) { "this run" } else { "this trace" };
    let name = tree.span(top).name.as_ref();
    let (what, rest) = match name {
        span::IMAGE_PULL => ("the pull".to_owned(), pull(analysis, &facts, style)),
        span::CONTAINER_RUN => ("the container's own process".to_owned(), own_process(analysis, top)),
        span::CONTAINER_START => ("starting the process".to_owned(), part(analysis, &facts, ns, style)),
        span::CONTAINER_CREATE => ("preparing the container".to_owned(), part(analysis, &facts, ns, style)),
        span::CONTAINER_CLEANUP => ("cleaning up".to_owned(), part(analysis, &facts, ns, style)),
        _ => (meaning(name, style), part(analysis, &facts, ns, style)),
    };
    Some(format!("{} of {run} was {what}{}.", percent(share), rest.unwrap_or_default()))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Where a run ended that should have gone on.
fn failed(analysis: &Analysis<'_>, style: &Style) -> Option<String> {
    let tree = &analysis.tree;
    // The first to fail for good: of what failed on the way down from the root the deepest, and there the earliest to
    // end. A try that failed under a stage that went well is not on the way.
    let mut at = tree.root();
    while let Some(next) = tree
        .children(at)
        .iter()
        .copied()
        .filter(|c| tree.span(*c).status.is_error())
        .min_by_key(|c| (tree.window(*c).1, *c))
    {
        at = next;
    }
    let after = tree.window(at).1 - tree.window(tree.root()).0;
    let name = meaning(&tree.span(at).name, style);
    // `while verifying a layer`, `in the overlay mount`.
    let doing = name.split(' ').next().is_some_and(|word| word.ends_with("ing"));
    let name = format!("{} {name}", if doing { "while" } else { "in" });
    (at != tree.root() && after > 0)
        .then(|| format!("It failed {name}, {} after its begin.", units::duration(after, style)))
}

/// `; of that 61 % inflating layer 2 of 6 (gzip, one core): zstd or more even layers would help`.
fn pull(analysis: &Analysis<'_>, facts: &Facts, style: &Style) -> Option<String> {
    let known = |c: Cause| c != Cause::Other;
    let (cause, ns) = facts.pull_causes.iter().copied().find(|(c, _)| known(*c))?;
    let share = units::share(ns, facts.pull_ns);
    if share < WORTH_BLAMING {
        // Nothing alone, but perhaps two together.
        let (second, more) = facts.pull_causes.iter().copied().filter(|(c, _)| known(*c)).nth(1)?;
        let both = share + units::share(more, facts.pull_ns);
        let doing = |cause| doing(analysis, facts, cause, None, style).0;
        let shares = format!("{} {}, {} {}", percent(share), doing(cause), percent(both - share), doing(second));
        return (both >= WORTH_BLAMING + 0.1).then(|| format!("; of that {shares}"));
    }
    // One layer may have most of it.
    let part = facts.pull_parts.iter().find(|p| p.cause == cause)?;
    let one = part.layer.filter(|_| units::share(part.ns, facts.pull_ns) >= WORTH_BLAMING).and_then(|node| {
        let layer = facts.layers.iter().find(|l| l.node == node)?;
        Some((layer, *part))
    });
    let ns = one.map_or(ns, |(_, part): (_, Part)| part.ns);
    let (doing, advice) = doing(analysis, facts, cause, one.map(|o| o.0), style);
    let worth = units::share(ns, facts.wall_ns) >= WORTH_CHANGING;
    let advice = advice.filter(|_| worth).map(|a| format!(": {a}")).unwrap_or_default();
    Some(format!("; of that {} {doing}{advice}", percent(units::share(ns, facts.pull_ns))))
}

/// What the time went into, of one layer or of all, and what would help.
fn doing(
    analysis: &Analysis<'_>,
    facts: &Facts,
    cause: Cause,
    one: Option<&LayerFacts>,
    style: &Style,
) -> (String, Option<String>) {
    let hub = match facts.hub.as_deref() {
        Some("builtin") => "the built-in hub".to_owned(),
        Some(host) => short(host, style),
        None => "the registry".to_owned(),
    };
    let here: Vec<&LayerFacts> = one.map_or_else(|| pulled(facts), |l| vec![l]);
    let layers = match one {
        Some(l) => position(l, facts),
        None => units::count(here.len() as u64, "layer"),
    };
    let cores = if here.len() == 1 { "one core" } else { "one core each" };
    let sum = |of: fn(&LayerFacts) -> Option<u64>| here.iter().filter_map(|l| of(l)).fold(0u64, u64::saturating_add);
    match cause {
        Cause::Inflating => {
            let how = same(here.iter().filter_map(|l| l.compression)).map_or(String::new(), |c| format!("{c}, "));
            (format!("inflating {layers} ({how}{cores})"), inflating(facts, one, &here))
        }
        Cause::Receiving => {
            let rate = receiving_rate(analysis, &here).map_or(String::new(), |r| format!(", {}", units::rate(r)));
            let doing = format!("receiving {layers} from {hub} ({}{rate})", units::bytes(sum(|l| l.bytes)));
            (doing, (!facts.local_hub).then(|| "a nearer registry or fewer bytes would help".to_owned()))
        }
        Cause::FirstByte => first_byte(analysis, facts, &hub, style),
        Cause::Connecting => {
            let doing = format!("connecting to {hub} (DNS, TCP, TLS)");
            (doing, (!facts.local_hub).then(|| "a nearer registry would help".to_owned()))
        }
        Cause::Hashing => (format!("computing SHA-256 of {layers} ({cores})"), evener(facts, one)),
        Cause::CreatingFiles => {
            let files = Some(sum(|l| l.files))
                .filter(|n| *n > 0)
                .map_or("files".to_owned(), |n| format!("the {}", units::count(n, "file")));
            (format!("creating {files} of {layers}"), evener(facts, one))
        }
        Cause::WritingFiles => {
            (format!("writing the files of {layers} ({})", units::bytes(sum(|l| l.unpacked))), evener(facts, one))
        }
        Cause::Hub => ("starting the built-in hub and making the image in it".to_owned(), None),
        Cause::OtherPull => ("waiting for another process that pulled the same image".to_owned(), None),
        Cause::Failed => (failed_attempt(analysis, facts), None),
        Cause::Own | Cause::Kernel | Cause::Process | Cause::Other => ("on other work".to_owned(), None),
    }
}

/// Layers that were not there already.
fn pulled(facts: &Facts) -> Vec<&LayerFacts> {
    facts.layers.iter().filter(|l| !l.cached).collect()
}

/// `layer 2 of 6`.
fn position(layer: &LayerFacts, facts: &Facts) -> String {
    match layer.index {
        _ if facts.layers.len() == 1 => "the layer".to_owned(),
        Some(index) => format!("layer {} of {}", index.saturating_add(1), facts.layers.len()),
        None => "one layer".to_owned(),
    }
}

/// The value, if all are the same.
fn same<'a>(mut all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = all.next()?;
    all.all(|v| v == first).then_some(first)
}

/// zstd inflates twice as fast as gzip; and a layer is inflated by one core, so that one large one keeps the others
/// idle.
fn inflating(facts: &Facts, one: Option<&LayerFacts>, here: &[&LayerFacts]) -> Option<String> {
    let gzip = same(here.iter().map(|l| l.compression.unwrap_or(""))) == Some("gzip");
    match (gzip, evener(facts, one)) {
        (true, Some(_)) => Some("zstd or more even layers would help".to_owned()),
        (true, None) => Some("zstd would help".to_owned()),
        (false, even) => even,
    }
}

/// Where one layer is much larger than the middle one of the others.
fn evener(facts: &Facts, one: Option<&LayerFacts>) -> Option<String> {
    let one = one?;
    let size = |l: &LayerFacts| l.unpacked.or(l.bytes);
    let mut others: Vec<u64> = pulled(facts).into_iter().filter(|l| l.node != one.node).filter_map(size).collect();
    others.sort_unstable();
    let middle = *others.get(others.len() / 2)?;
    (size(one)? >= middle.saturating_mul(2)).then(|| "more even layers would help".to_owned())
}

/// Bytes by the time during which at least one of these downloads ran.
fn receiving_rate(analysis: &Analysis<'_>, layers: &[&LayerFacts]) -> Option<f64> {
    let tree = &analysis.tree;
    let downloads: Vec<Node> = layers.iter().filter_map(|l| tree.child_named(l.node, span::LAYER_DOWNLOAD)).collect();
    let ns = times::union_of(tree, &downloads);
    let bytes = layers.iter().filter_map(|l| l.bytes).fold(0u64, u64::saturating_add);
    (ns > 0 && bytes > 0).then(|| bytes as f64 * 1e9 / ns as f64)
}

/// A registry that is far away and one that is slow to answer look alike but for the time that a connection took: one
/// way there and back.
fn first_byte(analysis: &Analysis<'_>, facts: &Facts, hub: &str, style: &Style) -> (String, Option<String>) {
    let tree = &analysis.tree;
    let all = |name: &str| (0..tree.len()).filter(|n| tree.span(*n).name == name).collect::<Vec<Node>>();
    let on_path = |nodes: Vec<Node>| nodes.into_iter().filter(|n| analysis.critical_ns[*n] > 0).collect::<Vec<_>>();
    let waits = on_path(all(span::HTTP_WAIT));
    let ns = waits.iter().map(|n| analysis.critical_ns[*n]).fold(0, u64::saturating_add);
    let doing = format!("waiting for the first byte from {hub} ({})", units::count(waits.len() as u64, "request"));
    let there_and_back = all(span::TCP_CONNECT).iter().map(|n| tree.duration(*n)).min();
    let Some(trip) = there_and_back.filter(|_| !facts.local_hub) else { return (doing, None) };
    let trips = trip.saturating_mul(waits.len() as u64);
    let advice = if trips * 2 >= ns {
        "a nearer registry would help".to_owned()
    } else {
        format!(
            "it takes {} to answer, the way there and back {}",
            units::duration(ns / waits.len().max(1) as u64, style),
            units::duration(trip, style)
        )
    };
    (doing, Some(advice))
}

/// Ours are short; a stranger's may be anything.
fn short(name: &str, style: &Style) -> String {
    text::cut(&style.clean(name), 32, style.unicode).into_owned()
}

/// `, which computed for 3 % of it` where the processor times say that it waited.
fn own_process(analysis: &Analysis<'_>, run: Node) -> Option<String> {
    let tree = &analysis.tree;
    let exit = tree.child_named(tree.root(), span::CONTAINER_EXIT)?;
    let ns = |key| tree.span(exit).attributes.int(key).and_then(|v| u64::try_from(v).ok());
    let cpu = ns(attr::CPU_USER_NS)?.saturating_add(ns(attr::CPU_SYSTEM_NS)?);
    let busy = units::share(cpu, tree.duration(run));
    // Short runs are mostly starting up.
    (tree.duration(run) > 50_000_000 && busy < 0.5)
        .then(|| format!(", which used a processor for {} of it", percent(busy)))
}

/// `looking up Docker Hub, which failed`: what failed below a pull that went well in the end, by the step at which it
/// failed and whom it asked.
fn failed_attempt(analysis: &Analysis<'_>, facts: &Facts) -> String {
    let tree = &analysis.tree;
    let attempts = facts.pull.into_iter().flat_map(|p| tree.walk(p)).filter(|n| causes::is_failed_attempt(tree, *n));
    let Some(attempt) = attempts.max_by_key(|n| (analysis.critical_below_ns[*n], std::cmp::Reverse(*n))) else {
        return "on what failed".to_owned();
    };
    let failed = |n: &Node| tree.span(*n).status.is_error();
    let below: Vec<Node> = tree.walk(attempt).into_iter().filter(failed).collect();
    let host = below.iter().find_map(|n| tree.span(*n).attributes.str(attr::SERVER_ADDRESS));
    let whom = match host {
        Some("registry-1.docker.io" | "auth.docker.io" | "index.docker.io") => "Docker Hub".to_owned(),
        Some(host) => text::cut(&text::clean(host, true), 32, true).into_owned(),
        None => "the registry".to_owned(),
    };
    let step = |name| below.iter().any(|n| tree.span(*n).name == name);
    match () {
        () if step(span::DNS_LOOKUP) => format!("looking up {whom}, which failed"),
        () if step(span::TCP_CONNECT) || step(span::TLS_HANDSHAKE) => format!("connecting to {whom}, which failed"),
        () => format!("asking {whom}, which failed"),
    }
}

/// What the stages and steps are, for those who don't know their names.
const STEPS: &[(&str, &str)] = &[
    (span::STARTUP, "the start of trace itself"),
    (span::USERNS_ENTER, "becoming root of a user namespace"),
    (span::IMAGE_FORGET, "forgetting the image first"),
    (span::CACHE_CHECK, "looking into the image store"),
    (span::IMAGE_PULL, "the pull"),
    (span::PULL_WAIT, "waiting for another process that pulled the same image"),
    (span::HUB_START, "starting the built-in hub"),
    (span::REGISTRY_AUTH, "getting a token"),
    (span::MANIFEST_FETCH, "fetching the manifest"),
    (span::CONFIG_FETCH, "fetching the configuration"),
    (span::DNS_LOOKUP, "looking up a name"),
    (span::TCP_CONNECT, "connecting"),
    (span::TLS_HANDSHAKE, "the TLS handshake"),
    (span::HTTP_WAIT, "waiting for the first byte"),
    (span::HTTP_RECEIVE, "receiving an answer"),
    (span::LAYER_PULL, "pulling a layer"),
    (span::LAYER_DOWNLOAD, "downloading a layer"),
    (span::LAYER_VERIFY, "verifying a layer"),
    (span::LAYER_DECOMPRESS, "decompressing a layer"),
    (span::LAYER_EXTRACT, "extracting a layer"),
    (span::LAYER_COMMIT, "putting a layer in its place"),
    (span::LAYER_SYNC, "flushing layers to storage"),
    (span::STORE_VERIFY, "checking what a power cut may have damaged"),
    (span::IMAGE_COMMIT, "entering the image in the store"),
    (span::CONTAINER_CREATE, "preparing the container"),
    (span::VOLUME_MOUNT, "preparing a volume"),
    (span::NETWORK_SETUP, "making the network"),
    (span::PTY_OPEN, "making the terminal"),
    (span::CONTAINER_START, "starting the process"),
    (span::INIT_PIVOT_ROOT, "changing to the container's root"),
    (span::PROCESS_EXEC, "executing the command"),
    (span::CONTAINER_RUN, "the container's own process"),
    (span::CONTAINER_FIND, "finding the container"),
    (span::EXEC_START, "starting the program in the container"),
    (span::EXEC_RUN, "the program itself"),
    (span::EXEC_EXIT, "collecting the ended program"),
    (span::CONTAINER_EXIT, "collecting the ended process"),
    (span::CONTAINER_CLEANUP, "cleaning up"),
    (span::NETWORK_TEARDOWN, "taking the network down"),
    (span::CGROUP_REMOVE, "removing the cgroup"),
    (span::ROOTFS_MOUNT, "the overlay mount"),
    (span::CGROUP_CREATE, "making the cgroup"),
    (span::PROCESS_CLONE, "the kernel making the process with its namespaces"),
    (span::INIT_NAMESPACES, "joining cgroups and namespaces"),
    (span::INIT_MOUNTS, "mounts inside the container"),
    (span::INIT_HARDENING, "masking paths and dropping rights"),
    (span::ROOTFS_UNMOUNT, "unmounting the overlay"),
    (span::CONTAINER_REMOVE, "removing the container's directory"),
];

/// `; of that 45 % the kernel making the process with its namespaces (`process.clone`)`.
fn part(analysis: &Analysis<'_>, facts: &Facts, whole: u64, style: &Style) -> Option<String> {
    let (node, ns) = facts.top_part.filter(|(_, ns)| units::share(*ns, whole) >= WORTH_BLAMING)?;
    let name = analysis.tree.span(node).name.as_ref();
    let what = meaning(name, style);
    let advice = waits_for_cgroups(analysis, name, ns).map(|a| format!(": {a}")).unwrap_or_default();
    Some(format!("; of that {} {what}{advice}", percent(units::share(ns, whole))))
}

/// `the overlay mount (`rootfs.mount`)`; of a stranger's span only its name is known.
fn meaning(name: &str, style: &Style) -> String {
    match STEPS.iter().find(|(n, _)| *n == name) {
        Some((name, words)) => format!("{words} (`{name}`)"),
        None => format!("`{}`", short(name, style)),
    }
}

/// Joining a version 1 hierarchy waits for a grace period of the whole machine; nothing else there takes milliseconds.
fn waits_for_cgroups(analysis: &Analysis<'_>, name: &str, ns: u64) -> Option<&'static str> {
    const GRACE_PERIOD: u64 = 3_000_000;
    let tree = &analysis.tree;
    let version = (0..tree.len()).find_map(|n| tree.span(n).attributes.int(attr::CGROUP_VERSION))?;
    (name == span::INIT_NAMESPACES && version == 1 && ns >= GRACE_PERIOD)
        .then_some("version 1 cgroups make it wait; a host with version 2 would not")
}

#[cfg(test)]
mod tests;
