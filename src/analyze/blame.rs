//! Who is to blame for the wall time: critical-path time, by span name.

use std::collections::HashMap;

use super::{Analysis, times};

/// All spans of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Blame {
    /// The name.
    pub name: String,
    /// How many spans.
    pub count: usize,
    /// Their own time on the critical path, without their children, ns. Over all names this adds up to the wall time.
    pub critical_ns: u64,
    /// Their own time, on the critical path or not, ns.
    pub self_ns: u64,
    /// Their durations added up, ns.
    pub sum_ns: u64,
    /// Each instant divided evenly among what ran then, ns. Over all names this adds up to the wall time too.
    pub shared_ns: f64,
}

/// Per span name, the greatest critical-path time first.
pub fn blame(analysis: &Analysis<'_>) -> Vec<Blame> {
    let tree = &analysis.tree;
    let shared = times::shared(tree);
    let mut by_name: HashMap<&str, Blame> = HashMap::new();
    for (node, shared) in shared.iter().enumerate() {
        let name: &str = &tree.span(node).name;
        let entry = by_name.entry(name).or_insert_with(|| Blame {
            name: name.to_owned(),
            count: 0,
            critical_ns: 0,
            self_ns: 0,
            sum_ns: 0,
            shared_ns: 0.0,
        });
        entry.count += 1;
        entry.critical_ns += analysis.critical_ns[node];
        entry.self_ns = entry.self_ns.saturating_add(analysis.self_ns[node]);
        entry.sum_ns = entry.sum_ns.saturating_add(tree.duration(node));
        entry.shared_ns += shared;
    }
    let mut out: Vec<Blame> = by_name.into_values().collect();
    out.sort_by(|a, b| (b.critical_ns, b.sum_ns, &a.name).cmp(&(a.critical_ns, a.sum_ns, &b.name)));
    out
}
