//! A table of span names by the wall time that they are to blame for.

use crate::analyze::facts::{Cause, facts};
use crate::analyze::{Analysis, blame as analysis_blame};
use crate::report::{Style, sgr, text, units};

/// Rows of the table; the rest is one row.
const ROWS: usize = 40;

/// The table; ends with a line break. `critical` and `shared` add up to the wall time, `self` and `sum` don't.
pub fn blame(analysis: &Analysis<'_>, style: &Style) -> String {
    let wall = analysis.wall();
    let all = analysis_blame::blame(analysis);
    let widest = all.iter().take(ROWS).map(|b| text::width(&style.clean(&b.name))).max().unwrap_or(0).max(5);
    let numbers = 11 + 9 + 11 + 11 + 11 + 7;
    let name = widest.min(style.columns().saturating_sub(numbers)).max(12);
    // Where there is no room the columns that say least go first.
    let columns = match style.columns().saturating_sub(name) {
        n if n >= numbers => 6,
        n if n >= numbers - 11 => 5,
        n if n >= numbers - 22 => 4,
        n if n >= 11 + 9 + 7 => 3,
        _ => 2,
    };
    let mut out = String::new();
    let mut line = |name_text: &str, cells: [String; 6], code: &str| {
        let mut row = String::new();
        text::left(&mut row, name_text, name, style.unicode);
        // Most telling first: critical, share, count, self, sum, shared.
        for (cell, width) in cells.iter().zip([11, 9, 7, 11, 11, 11]).take(columns) {
            text::right(&mut row, cell, width, style.unicode);
        }
        style.paint(&mut out, code, row.trim_end());
        out.push('\n');
    };
    line("span", ["critical", "share", "count", "self", "sum", "shared"].map(str::to_owned), sgr::BOLD);
    let time = |ns: u64| units::precise(ns, style);
    for b in all.iter().take(ROWS) {
        let cells = [
            time(b.critical_ns),
            units::percent(b.critical_ns, wall),
            b.count.to_string(),
            time(b.self_ns),
            time(b.sum_ns),
            time(b.shared_ns.round() as u64),
        ];
        line(&style.clean(&b.name), cells, "");
    }
    if let Some(rest) = all.get(ROWS..).filter(|r| !r.is_empty()) {
        let critical = rest.iter().map(|b| b.critical_ns).sum();
        let cells = [
            time(critical),
            units::percent(critical, wall),
            rest.iter().map(|b| b.count).sum::<usize>().to_string(),
            time(rest.iter().fold(0, |s, b| s.saturating_add(b.self_ns))),
            time(rest.iter().fold(0, |s, b| s.saturating_add(b.sum_ns))),
            time(rest.iter().map(|b| b.shared_ns).sum::<f64>().round() as u64),
        ];
        line(&format!("{} more names", rest.len()), cells, "");
    }
    let total = [time(wall), units::percent(wall, wall), analysis.tree.len().to_string()];
    let [a, b, c] = total;
    line("wall time", [a, b, c, String::new(), String::new(), time(wall)], sgr::BOLD);
    let facts = facts(analysis);
    // A stranger's spans have no causes that we know.
    if facts.causes.iter().any(|(c, _)| !matches!(c, Cause::Other | Cause::Failed)) {
        let parts: Vec<String> = facts
            .causes
            .iter()
            .map(|(cause, ns)| format!("{} {}", cause.word().replace('_', " "), units::percent(*ns, wall)))
            .collect();
        let sentence = format!("by cause: {}", parts.join(style.dot()));
        for line in text::wrap(&sentence, style.columns(), 4, style.unicode) {
            style.paint(&mut out, sgr::DIM, &line);
            out.push('\n');
        }
    }
    out
}
