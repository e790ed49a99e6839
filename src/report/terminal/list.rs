//! The table of `trace ls`.

use crate::record::file::Header;
use crate::report::{Style, sgr, text, title, units};

/// Recorded runs, in the order given; ends with a line break. `now_ns` is the present, ns since the Unix epoch.
pub fn list(headers: &[Header], now_ns: u64, style: &Style) -> String {
    let mut rows: Vec<[String; 6]> = vec![["TRACE", "RUN", "KIND", "TIME", "STATUS", "WHEN"].map(str::to_owned)];
    rows.extend(headers.iter().map(|h| row(h, now_ns, style)));
    // The name takes what is left; all other columns are as wide as they need, within reason.
    let mut widths = [0usize; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(text::width(cell)).min(if *cell == row[1] { 200 } else { 20 });
        }
    }
    const GAP: usize = 2;
    let others: usize = widths.iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, w)| w + GAP).sum();
    widths[1] = widths[1].min(style.table_columns().saturating_sub(others).max(8));
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            if column > 0 {
                text::spaces(&mut line, GAP);
            }
            if column == 3 {
                text::right(&mut line, cell, width, style.unicode);
            } else {
                text::left(&mut line, cell, width, style.unicode);
            }
        }
        let line = text::cut(line.trim_end(), style.table_columns(), style.unicode);
        style.paint(&mut out, if i == 0 { sgr::BOLD } else { "" }, &line);
        out.push('\n');
    }
    out
}

fn row(header: &Header, now_ns: u64, style: &Style) -> [String; 6] {
    let mut name = style.clean(&header.name).into_owned();
    if let Some(image) = &header.image {
        name.push(' ');
        name.push_str(&style.clean(title::familiar(image)));
        if let Some(tag) = header.tag.as_deref().filter(|t| *t != "latest") {
            name.push(':');
            name.push_str(&style.clean(tag));
        }
    }
    // A trace of somebody else: of its name alone nobody knows what it is.
    if let (None, Some(service)) = (&header.image, &header.service) {
        name.push_str(&format!(" ({})", style.clean(service)));
    }
    let status = match (header.status.is_error(), header.exit_code) {
        (true, _) => "failed".to_owned(),
        (false, Some(code)) if code != 0 => format!("exit {code}"),
        _ => "ok".to_owned(),
    };
    [
        header.id.short(),
        name,
        header.kind.as_deref().map(|k| style.clean(k).into_owned()).unwrap_or_default(),
        units::duration(header.duration, style),
        status,
        units::ago(header.start, now_ns),
    ]
}

/// A line of totals: how many runs, by kind with the median of their times, and what all recorded runs take on disk.
/// `shown` of them stand above it. Ends with a line break; up to three lines where it is narrow.
pub fn totals(headers: &[Header], shown: usize, bytes: u64, style: &Style) -> String {
    let mut parts = Vec::new();
    parts.push(match headers.len() {
        n if n > shown => format!("{shown} of {}", units::count(n as u64, "run")),
        n => units::count(n as u64, "run"),
    });
    let bad = |h: &&Header| h.status.is_error();
    for kind in ["cold", "partial", "warm"] {
        let of_kind = headers.iter().filter(|h| h.kind.as_deref() == Some(kind) && !bad(h));
        let mut times: Vec<f64> = of_kind.map(|h| h.duration as f64).collect();
        times.sort_by(f64::total_cmp);
        if let Some(median) = crate::analyze::stats::median(&times) {
            parts.push(format!("{} {kind} (median {})", times.len(), units::duration(median.round() as u64, style)));
        }
    }
    let failed = headers.iter().filter(bad).count();
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    parts.push(format!("{} on disk", units::bytes(bytes)));
    let mut out = String::new();
    for line in text::wrap(&parts.join(style.dot()), style.columns(), 3, style.unicode) {
        style.paint(&mut out, sgr::DIM, &line);
        out.push('\n');
    }
    out
}
