//! Every span with everything it carries, indented. For looking something up, so nothing is folded or cut.

use crate::analyze::Analysis;
use crate::analyze::tree::Stray;
use crate::record::model::{Attributes, Kind, Status, Trace, Value};
use crate::report::{Style, sgr, text, units};

/// The tree of a trace; ends with a line break.
pub fn tree(trace: &Trace, analysis: &Analysis<'_>, style: &Style) -> String {
    let tree = &analysis.tree;
    let origin = tree.span(tree.root()).start;
    let mut out = String::new();
    out.push_str(&format!("trace {}\n", trace.id));
    if let Some(state) = &trace.state {
        out.push_str(&format!("  tracestate = {}\n", style.clean(state)));
    }
    attributes(&mut out, trace.resource(), 2, style);
    for node in tree.walk(tree.root()) {
        let span = tree.span(node);
        let indent = tree.depth(node) as usize * 2;
        text::spaces(&mut out, indent);
        style.paint(&mut out, sgr::BOLD, &style.clean(&span.name));
        out.push_str(&format!("  {}", units::precise(span.duration(), style)));
        if node != tree.root() {
            out.push_str(&format!("  at {}", signed(span.start, origin, style)));
        }
        if analysis.self_ns[node] > 0 && !tree.children(node).is_empty() {
            out.push_str(&format!("  self {}", units::precise(analysis.self_ns[node], style)));
        }
        if span.kind == Kind::Client {
            out.push_str("  CLIENT");
        }
        match tree.stray(node) {
            None => {}
            Some(Stray::Root) => out.push_str("  (another root)"),
            Some(Stray::Lost) => out.push_str("  (its parent is not in this trace)"),
            Some(Stray::Circle) => out.push_str("  (its parents form a cycle, cut here)"),
        }
        if span.is_open() {
            out.push_str("  (had not ended)");
        }
        if span.is_timeless() {
            out.push_str("  (without times)");
        }
        if let Status::Error(message) = &span.status {
            out.push_str("  ");
            style.paint(&mut out, sgr::FAILED, &format!("ERROR {}", style.clean(message)));
        }
        out.push('\n');
        attributes(&mut out, &span.attributes, indent + 4, style);
        for event in &span.events {
            text::spaces(&mut out, indent + 4);
            let when = event.at().map(|time| format!(" at {}", signed(time, origin, style))).unwrap_or_default();
            out.push_str(&format!("event {}{when}\n", style.clean(&event.name)));
            attributes(&mut out, &event.attributes, indent + 8, style);
        }
        for link in &span.links {
            let waited = link.attributes.bool(crate::names::attr::WAIT_FOR) == Some(true);
            let other = (link.trace == trace.id).then(|| tree.find(link.span)).flatten();
            let name = other.map(|n| format!(" {}", style.clean(&tree.span(n).name))).unwrap_or_default();
            text::spaces(&mut out, indent + 4);
            out.push_str(&format!("{} {}{name}\n", if waited { "waited for" } else { "linked to" }, link.span));
        }
    }
    out
}

fn signed(time: u64, origin: u64, style: &Style) -> String {
    if time >= origin {
        format!("+{}", units::precise(time - origin, style))
    } else {
        format!("-{}", units::precise(origin - time, style))
    }
}

fn attributes(out: &mut String, attributes: &Attributes, indent: usize, style: &Style) {
    for (key, value) in attributes.iter() {
        let mut line = format!("{} = ", style.clean(key));
        show(&mut line, value, style);
        text::spaces(out, indent);
        style.paint(out, sgr::DIM, &line);
        out.push('\n');
    }
}

/// A value on one line.
fn show(out: &mut String, value: &Value, style: &Style) {
    match value {
        Value::Str(v) => out.push_str(&style.clean(v)),
        Value::Int(v) => out.push_str(&v.to_string()),
        Value::Double(v) => out.push_str(&v.to_string()),
        Value::Bool(v) => out.push_str(&v.to_string()),
        Value::Array(values) => {
            out.push('[');
            for (i, v) in values.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                show(out, v, style);
            }
            out.push(']');
        }
        Value::Map(pairs) => {
            out.push('{');
            for (i, (k, v)) in pairs.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                out.push_str(&style.clean(k));
                out.push_str(": ");
                show(out, v, style);
            }
            out.push('}');
        }
        Value::Bytes(v) => out.push_str(&v.escape_ascii().to_string()),
    }
}
