//! The critical path as a chain: each link with its time and what it waited for.

use crate::analyze::{Analysis, Segment};
use crate::names::{attr, span};
use crate::report::{Style, sgr, text, units};

/// Links of the chain that are shown; of a longer one the longest.
const ROWS: usize = 200;
/// Neighbours below this share of the wall time share a line.
const SLIVER: f64 = 0.01;

/// The chain, earliest first; ends with a line break. The durations add up to the wall time.
pub fn critical(analysis: &Analysis<'_>, style: &Style) -> String {
    let tree = &analysis.tree;
    let origin = tree.window(tree.root()).0;
    let wall = analysis.wall();
    let name = |node| {
        let here = tree.span(node);
        let mut out = style.clean(&here.name).into_owned();
        // Which layer: the stage's name alone doesn't say.
        let layer = tree.ancestors(node).find(|n| tree.span(*n).name == span::LAYER_PULL);
        if let Some(index) = layer.and_then(|l| tree.span(l).attributes.int(attr::LAYER_INDEX)) {
            out.push_str(&format!(" (layer {})", index.saturating_add(1)));
        }
        if node == tree.root() || !tree.children(node).is_empty() {
            out.push_str(" itself");
        }
        out
    };
    let mut lengths: Vec<u64> = analysis.segments.iter().map(|s| s.duration()).collect();
    lengths.sort_unstable_by_key(|ns| std::cmp::Reverse(*ns));
    let least = lengths.get(ROWS).copied().map_or(0, |ns| ns + 1);

    let mut out = String::new();
    style.paint(&mut out, sgr::BOLD, "         at  duration    share  span");
    out.push('\n');
    let (mut left_out, mut left_out_ns) = (0u64, 0u64);
    let is_sliver = |s: &Segment| units::share(s.duration(), wall) < SLIVER;
    // A line for each segment, but one for slivers that follow each other.
    for group in analysis.segments.chunk_by(|a, b| is_sliver(a) && is_sliver(b)) {
        let (first, ns) = (&group[0], group.iter().map(Segment::duration).sum::<u64>());
        if ns < least {
            left_out += group.len() as u64;
            left_out_ns += ns;
            continue;
        }
        let mut line = String::new();
        text::right(&mut line, &format!("+{}", units::precise(first.start - origin, style)), 11, style.unicode);
        text::right(&mut line, &units::precise(ns, style), 10, style.unicode);
        text::right(&mut line, &units::percent(ns, wall), 9, style.unicode);
        line.push_str("  ");
        if group.len() == 1 {
            line.push_str(&name(first.node));
            if let Some(other) = first.waited_for {
                line.push_str(&format!(", after {}", name(other).trim_end_matches(" itself")));
            }
        } else {
            let mut longest: Vec<&Segment> = group.iter().collect();
            longest.sort_by_key(|s| std::cmp::Reverse(s.duration()));
            let mut names: Vec<String> = Vec::new();
            for name in longest.into_iter().map(|s| name(s.node)) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            let said = |n: usize| {
                let more = if n < names.len() { format!(" and {} more", names.len() - n) } else { String::new() };
                let count = units::count(group.len() as u64, "short step");
                let named = if n == 0 { count } else { format!("{count}: {}{more}", names[..n].join(", ")) };
                format!("{line}{named}")
            };
            let fits = |n: &usize| text::width(&said(*n)) <= style.columns();
            line = said((0..=names.len()).rev().find(fits).unwrap_or(0));
        }
        out.push_str(&text::cut(line.trim_end(), style.columns(), style.unicode));
        out.push('\n');
    }
    if left_out > 0 {
        out.push_str(&format!("{} more, {} together\n", left_out, units::precise(left_out_ns, style)));
    }
    let line =
        format!("{} in {}", units::precise(wall, style), units::count(analysis.segments.len() as u64, "segment"));
    style.paint(&mut out, sgr::BOLD, &line);
    out.push('\n');
    out
}
