//! A run in two or three lines.

use crate::analyze::Analysis;
use crate::analyze::facts::facts;
use crate::names::attr;
use crate::record::model::{Status, Trace};
use crate::report::{Style, finding, text, title, units};

/// Stages in the second line.
const STAGES: usize = 4;

/// `run hello-world · cold · 18.4 ms · docker.io · 4f2a91c0`, then the greatest stages, then the finding or the error.
pub fn summary(trace: &Trace, analysis: &Analysis<'_>, style: &Style) -> String {
    let tree = &analysis.tree;
    let root = tree.span(tree.root());
    let facts = facts(analysis);
    let mut first = vec![format!("{} {}", style.clean(&root.name), title::image(root, style)).trim_end().to_owned()];
    first.extend(facts.kind.as_deref().map(|k| style.clean(k).into_owned()));
    first.push(units::duration(facts.wall_ns, style));
    first.extend(facts.hub.as_deref().map(|h| style.clean(h).into_owned()));
    first.extend(root.attributes.int(attr::PROCESS_EXIT_CODE).filter(|c| *c != 0).map(|c| format!("exit {c}")));
    first.push(trace.id.short());

    let mut stages: Vec<_> = tree.children(tree.root()).to_vec();
    stages.sort_by_key(|n| (std::cmp::Reverse(analysis.critical_below_ns[*n]), *n));
    let mut second: Vec<String> = stages
        .iter()
        .take(STAGES)
        .filter(|n| analysis.critical_below_ns[**n] > 0)
        .map(|n| {
            let ns = analysis.critical_below_ns[*n];
            let share = units::share(ns, facts.wall_ns) * 100.0;
            format!("{} {} ({share:.0} %)", style.clean(&tree.span(*n).name), units::duration(ns, style))
        })
        .collect();
    second.push(format!("unaccounted {}", units::duration(facts.unaccounted_ns, style)));

    let third = match &root.status {
        Status::Error(message) => {
            let message = format!("failed: {}", style.clean(message)).trim_end_matches([' ', ':']).to_owned();
            let place = finding::finding(analysis, style).map(|f| format!(". {f}")).unwrap_or_default();
            Some(message.trim_end_matches('.').to_owned() + &place)
        }
        _ => finding::finding(analysis, style),
    };
    let first = text::cut(&first.join(style.dot()), style.columns(), style.unicode).into_owned();
    let second = text::join(&second, style.dot(), style.columns(), style.unicode);
    let third = third.map(|t| text::wrap(&t, style.columns(), 3, style.unicode)).unwrap_or_default();
    [first, second].into_iter().chain(third).fold(String::new(), |out, line| out + &line + "\n")
}
