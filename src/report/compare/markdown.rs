//! A comparison as Markdown, for issues, pull requests and result files.

use super::words;
use crate::analyze::compare::{Comparison, PhaseComparison};
use crate::report::{Style, units};

/// Headed tables; ends with a line break.
pub fn markdown(c: &Comparison) -> String {
    let style = Style::default();
    let mut out = String::new();
    let time = |ns: f64| units::precise(ns.round() as u64, &style);
    out.push_str("| | runs | median | 95 % | spread |\n|---|---:|---:|---|---:|\n");
    let lettered = words::names(c, &style)[0] == "A";
    for (letter, group, sample) in [("A", &c.a, &c.total.a), ("B", &c.b, &c.total.b)] {
        let Some(sample) = sample else { continue };
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            if lettered { format!("{letter}: {}", cell(&group.label)) } else { cell(&group.label) },
            group.runs.len(),
            time(sample.median),
            words::interval_of_times(sample.interval, &style).unwrap_or_default(),
            group.variation.map_or(String::new(), |v| format!("{:.0} %", v * 100.0)),
        ));
    }
    out.push('\n');
    out.push_str(&words::findings(c, &style).iter().map(|s| cell(s)).collect::<Vec<_>>().join("\n"));
    let names = words::names(c, &style);
    let [a, b] = &names;
    out.push_str(&format!(
        "\n\n| phase | in {a} | in {b} | {a} | {b} | {b}/{a} | 95 % | P | {b} is \
        |\n|---|---:|---:|---:|---:|---:|---|---:|---|\n"
    ));
    for p in std::iter::once(&c.total).chain(&c.phases).chain(&c.layers) {
        let median = |s: &Option<crate::analyze::compare::Sample>| s.as_ref().map_or(String::new(), |s| time(s.median));
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            name(p),
            p.presence_a,
            p.presence_b,
            median(&p.a),
            median(&p.b),
            p.ratio.map_or(String::new(), |r| units::ratio(r.value, &style)),
            p.ratio.and_then(|r| words::interval_of_ratios(r.value, r.interval)).unwrap_or_default(),
            p.p_holm.map_or(String::new(), words::p_value).replace('<', "&lt;"),
            words::verdict_with_medians(p.verdict, p.medians_agree(), &names, &style),
        ));
    }
    let warnings = words::warnings(c, &style);
    if !warnings.is_empty() {
        out.push('\n');
        warnings.iter().for_each(|w| out.push_str(&format!("- {}\n", cell(w))));
    }
    out.push_str(&format!("\n{}\n", words::legend(c, &style)));
    out
}

fn name(p: &PhaseComparison) -> String {
    if p.phase.path.is_empty() {
        return "**whole run**".to_owned();
    }
    let mut out = cell(&p.phase.joined());
    if let Some(layer) = &p.phase.layer {
        out.push(' ');
        out.push_str(&cell(&layer.trim_start_matches("sha256:").chars().take(12).collect::<String>()));
    }
    out
}

/// Text that may come from a trace, harmless inside a table and in whatever the Markdown becomes.
pub fn cell(text: &str) -> String {
    let clean = Style::default().clean(text).into_owned();
    let mut out = String::with_capacity(clean.len());
    for c in clean.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '!' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
