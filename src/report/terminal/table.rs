//! Plain tables: columns as wide as they need, the widest one cut where the line would not fit.

use crate::report::{Style, text};

const GAP: usize = 3;
/// No column is cut below this.
const LEAST: usize = 4;

/// Rows of equal length, the first one the heading. Cells are cleaned, so they may come from anywhere.
pub fn table(rows: &[Vec<String>], style: &Style) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let cells: Vec<Vec<_>> = rows.iter().map(|r| r.iter().map(|c| style.clean(c).into_owned()).collect()).collect();
    let mut widths: Vec<usize> =
        (0..columns).map(|i| cells.iter().map(|r| text::width(&r[i])).max().unwrap_or(0)).collect();
    while widths.iter().sum::<usize>() + GAP * columns.saturating_sub(1) > style.table_columns() {
        let widest = widths.iter_mut().max_by_key(|w| **w);
        let Some(widest) = widest.filter(|w| **w > LEAST) else { break };
        *widest -= 1;
    }
    let mut out = String::new();
    for row in &cells {
        let mut line = String::new();
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if i > 0 {
                text::spaces(&mut line, GAP);
            }
            text::left(&mut line, cell, *width, style.unicode);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_column_gives_way() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let rows = [row("NAME", "SIZE"), row(&"x".repeat(100), "1 kB")];
        let text = table(&rows, &Style { width: 40, color: false, unicode: true });
        assert!(text.lines().all(|l| text::width(l) <= 40), "{text}");
        assert!(text.contains('…') && text.ends_with("1 kB\n"), "{text}");
        let tame = table(&[row("A", "B"), row("\x1b[31mred", "x")], &Style::PLAIN);
        assert!(!tame.contains('\x1b'), "{tame:?}");
    }
}
