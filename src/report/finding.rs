//! One sentence on what a run's time went to, only where the numbers carry it. All shares are of the critical path, so they
//! can be added up.

use super::{Style, text, units, waterfall};
use crate::analyze::facts::{Cause, Facts, facts};
use crate::analyze::{Analysis, Node};
use crate::names::span;

/// A stage below this share of the run is not worth a sentence.
const WORTH_SAYING: f64 = 0.35;
/// A part below this share of its stage is not called its reason.
const WORTH_BLAMING: f64 = 0.4;

/// The sentence; `None` if the run failed or nothing stands out.
pub fn finding(analysis: &Analysis<'_>, style: &Style) -> Option<String> {
    let tree = &analysis.tree;
    let root = tree.span(tree.root());
    if root.status.is_error() || analysis.wall() == 0 {
        return None;
    }
    let facts = facts(analysis);
    let (top, ns) = facts.top?;
    let share = units::share(ns, facts.wall_ns);
    if share < WORTH_SAYING {
        return None;
    }
    let percent = format!("{:.0} %", share * 100.0);
    let run = if waterfall::is_ours(root) { "this run" } else { "this trace" };
    Some(match tree.span(top).name.as_ref() {
        span::IMAGE_PULL => format!("The pull was {percent} of {run}{}.", pull(&facts, style)),
        span::CONTAINER_RUN => format!("The container's own process took {percent} of {run}."),
        span::CONTAINER_START => {
            format!("Starting the process was {percent} of {run}{}.", part(analysis, &facts, ns, style))
        }
        span::CONTAINER_CREATE => {
            format!("Preparing the container was {percent} of {run}{}.", part(analysis, &facts, ns, style))
        }
        span::CONTAINER_CLEANUP => format!("Cleaning up was {percent} of {run}{}.", part(analysis, &facts, ns, style)),
        name => {
            format!("`{}` was {percent} of {run}{}.", short(name, style), part(analysis, &facts, ns, style))
        }
    })
}

fn pull(facts: &Facts, style: &Style) -> String {
    let Some((cause, ns)) = facts.pull_causes.iter().find(|(c, _)| *c != Cause::Other).copied() else {
        return String::new();
    };
    let share = units::share(ns, facts.pull_ns);
    if share < WORTH_BLAMING {
        return String::new();
    }
    let hub = match facts.hub.as_deref() {
        Some("builtin") => "the built-in hub".to_owned(),
        Some(host) => style.clean(host).into_owned(),
        None => "the registry".to_owned(),
    };
    let doing = match cause {
        Cause::Connecting => format!("connecting to {hub}"),
        Cause::FirstByte => format!("waiting for the first byte from {hub}"),
        Cause::Receiving => format!("receiving bytes from {hub}"),
        Cause::Hashing => "computing SHA-256".to_owned(),
        Cause::Inflating => "decompressing".to_owned(),
        Cause::CreatingFiles => "creating files".to_owned(),
        Cause::Other => return String::new(),
    };
    format!(", {} of it {doing}", in_words(share))
}

/// Ours are short; a stranger's may be anything.
fn short(name: &str, style: &Style) -> String {
    text::cut(&style.clean(name), 32, style.unicode).into_owned()
}

/// `, half of it init.mounts`.
fn part(analysis: &Analysis<'_>, facts: &Facts, whole: u64, style: &Style) -> String {
    let name = |node: Node| short(&analysis.tree.span(node).name, style);
    match facts.top_part {
        Some((node, ns)) if units::share(ns, whole) >= WORTH_BLAMING => {
            format!(", {} of it `{}`", in_words(units::share(ns, whole)), name(node))
        }
        _ => String::new(),
    }
}

fn in_words(share: f64) -> String {
    match share {
        s if s >= 0.95 => "nearly all".to_owned(),
        s if s >= 0.7 => "most".to_owned(),
        s if s >= 0.55 => "more than half".to_owned(),
        s if s >= 0.45 => "half".to_owned(),
        s => format!("{:.0} %", s * 100.0),
    }
}
