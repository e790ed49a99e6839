//! The picture of a run in a terminal.
//!
//! A row holds a mark (◆ on the critical path, ✗ failed), the indented name, a bar in a lane as long as the run, the
//! duration, the share of the wall time (children of the root only) and details. In a bar what is on the critical path
//! is solid, the rest shaded. No line is ever longer than the width: details give way first, then the lane shrinks,
//! then names are cut. Of details that don't fit the short form tells the first ones that do, and the full form goes on
//! in the next line, so that nothing ends in dots.

use crate::analyze::Analysis;
use crate::names::attr;
use crate::record::model::{Status, Trace};
use crate::report::rows::{Extent, Row, rows};
use crate::report::{Style, finding, sgr, text, title, units};

/// Columns of the pieces of a row; a gap of one column stands before the lane, two before the details.
struct Layout {
    label: usize,
    lane: usize,
    duration: usize,
    detail: usize,
}

const SHARE: usize = 9;
/// Fewer columns than this are no use for details.
const LEAST_DETAIL: usize = 14;
const LEAST_FULL: usize = 30;

/// The waterfall of a trace; ends with a line break.
pub fn waterfall(trace: &Trace, analysis: &Analysis<'_>, style: &Style, extent: Extent) -> String {
    let (rows, left_out) = rows(analysis, style, extent);
    let labels: Vec<String> = rows.iter().map(|r| format!("{:1$}{2}", "", r.depth * 2, r.label)).collect();
    let durations: Vec<String> = rows.iter().map(|r| units::duration(r.duration, style)).collect();
    let layout = Layout::new(&rows, &labels, &durations, style, extent);
    let wall = analysis.wall();

    let mut out = String::with_capacity(rows.len() * style.columns() * 3 + 512);
    header(&mut out, trace, analysis, style);
    for ((row, label), duration) in rows.iter().zip(&labels).zip(&durations) {
        mark(&mut out, row, style);
        let mut cell = String::with_capacity(layout.label * 2);
        text::left(&mut cell, label, layout.label, style.unicode);
        style.paint(&mut out, if row.depth == 0 { sgr::BOLD } else { "" }, &cell);
        out.push(' ');
        bar(&mut out, row, wall, layout.lane, style);
        out.push(' ');
        text::right(&mut out, duration, layout.duration, style.unicode);
        let share = if row.depth == 0 { units::percent(row.inside(), wall) } else { String::new() };
        text::right(&mut out, &share, SHARE, style.unicode);
        let before = 2 + layout.label + 1 + layout.lane + 1 + layout.duration + SHARE;
        details(&mut out, row, (before, layout.detail), style, extent);
        end_line(&mut out);
    }
    footer(&mut out, analysis, &rows, left_out, layout.detail, style);
    out
}

impl Layout {
    fn new(rows: &[Row], labels: &[String], durations: &[String], style: &Style, extent: Extent) -> Layout {
        let columns = style.columns();
        let widest = |texts: &[String]| texts.iter().map(|t| text::width(t)).max().unwrap_or(0);
        let label = widest(labels).min((columns * 3 / 10).max(if columns < 56 { 12 } else { 20 }));
        let duration = widest(durations).max(7);
        let free = columns.saturating_sub(2 + label + 1 + 1 + duration + SHARE);
        let wanted = rows.iter().map(|r| text::width(&whole_detail(r))).max().unwrap_or(0);
        let lane = (free * 2 / 5).clamp(16, 48);
        let detail = wanted.min(free.saturating_sub(lane + 2));
        // Below this the full form has its details in lines of their own.
        let least = if extent == Extent::Full { LEAST_FULL } else { LEAST_DETAIL };
        let detail = if detail < least.min(wanted) { 0 } else { detail };
        let lane = if detail == 0 { free } else { free - detail - 2 };
        Layout { label, lane: lane.min(100), duration, detail }
    }
}

/// `run hello-world   cold   18.4 ms   docker.io   4f2a91c0`. The name gives way if there is no room.
fn header(out: &mut String, trace: &Trace, analysis: &Analysis<'_>, style: &Style) {
    let root = analysis.tree.span(analysis.tree.root());
    let name = format!("{} {}", style.clean(&root.name), title::image(root, style));
    let given = |key| {
        root.attributes.str(key).map(|v| text::cut(&style.clean(v), 24, style.unicode).into_owned()).unwrap_or_default()
    };
    let exit = root.attributes.int(attr::PROCESS_EXIT_CODE).filter(|c| *c != 0);
    let end = match (&root.status, exit) {
        (Status::Error(_), _) => "failed".to_owned(),
        (_, Some(code)) => format!("exit {code}"),
        _ => String::new(),
    };
    let (kind, hub) = (given(attr::RUN_KIND), given(attr::HUB));
    let (wall, id) = (units::duration(analysis.wall(), style), &trace.id.short());
    let tail = |hub: &str| {
        let parts = [&kind, &wall, hub, &end, id];
        parts.into_iter().filter(|p| !p.is_empty()).fold(String::new(), |tail, part| tail + "   " + part)
    };
    let mut tail_text = tail(&hub);
    // Where there is no room the hub goes first, then the end of the name.
    if text::width(&name) + text::width(&tail_text) > style.columns() {
        tail_text = tail("");
    }
    let tail = tail_text;
    let room = style.columns().saturating_sub(text::width(&tail)).max(12);
    let name = text::cut(name.trim_end(), room, style.unicode);
    style.paint(out, sgr::BOLD, &name);
    out.push_str(&text::cut(&tail, style.columns() - text::width(&name), style.unicode));
    end_line(out);
}

fn mark(out: &mut String, row: &Row, style: &Style) {
    if row.failed {
        style.paint(out, sgr::FAILED, if style.unicode { "✗ " } else { "x " });
    } else if row.marked {
        style.paint(out, sgr::CRITICAL, if style.unicode { "◆ " } else { "* " });
    } else {
        out.push_str("  ");
    }
}

/// The lane, exactly `cells` columns. A cell has two halves, so that short spans still show their place.
fn bar(out: &mut String, row: &Row, wall: u64, cells: usize, style: &Style) {
    let halves = cells as u128 * 2;
    let wall = u128::from(wall.max(1));
    let nearest = |ns: u64| ((u128::from(ns) * halves * 2 + wall) / (wall * 2)).min(halves);
    if halves == 0 {
        return;
    }
    let from = nearest(row.bar.0).min(halves - 1);
    let to = nearest(row.bar.1).max(from + 1);
    let tiny = u128::from(row.bar.1 - row.bar.0) * halves * 2 < wall;
    let (first, last) = ((from / 2) as usize, ((to - 1) / 2) as usize);
    text::spaces(out, first);
    let solid = solid_cells(row, first, last, cells as u128, wall);
    let mut run = String::new();
    let mut run_color = "";
    for (cell, critical) in (first..=last).zip(solid) {
        let left = from <= cell as u128 * 2;
        let right = to >= cell as u128 * 2 + 2;
        let color = match (row.failed, critical) {
            (true, _) => sgr::FAILED,
            (_, true) => sgr::CRITICAL,
            _ => sgr::ASIDE,
        };
        if color != run_color {
            style.paint(out, run_color, &run);
            run.clear();
            run_color = color;
        }
        run.push(glyph(critical, left, right, tiny, style.unicode));
    }
    style.paint(out, run_color, &run);
    text::spaces(out, cells - last - 1);
}

fn glyph(critical: bool, left: bool, right: bool, tiny: bool, unicode: bool) -> char {
    match (unicode, critical) {
        (false, _) if tiny => '|',
        (false, true) => '#',
        (false, false) => '-',
        (true, _) if tiny => {
            if left {
                '▏'
            } else {
                '▕'
            }
        }
        (true, false) => '░',
        (true, true) if left && right => '█',
        (true, true) if left => '▌',
        (true, true) => '▐',
    }
}

/// For each cell from `first` to `last` whether at least half of what the bar covers of it is on the critical path. A
/// marked row has at least one such cell.
fn solid_cells(row: &Row, first: usize, last: usize, cells: u128, wall: u128) -> Vec<bool> {
    // In units of 1/cells ns, so that nothing is rounded.
    let overlap = |(a, b): (u64, u64), from: u128, to: u128| {
        (u128::from(b) * cells).min(to).saturating_sub((u128::from(a) * cells).max(from))
    };
    let mut best = (0, 0);
    let mut next = 0;
    let mut out = Vec::with_capacity(last - first + 1);
    for cell in first..=last {
        let (from, to) = (cell as u128 * wall, (cell as u128 + 1) * wall);
        while row.critical.get(next).is_some_and(|(_, end)| u128::from(*end) * cells <= from) {
            next += 1;
        }
        let parts = row.critical[next..].iter().take_while(|(start, _)| u128::from(*start) * cells < to);
        let critical: u128 = parts.map(|p| overlap(*p, from, to)).sum();
        out.push(critical > 0 && critical * 2 >= overlap(row.bar, from, to));
        if critical > best.0 {
            best = (critical, cell - first);
        }
    }
    if row.marked && !out.contains(&true) {
        out[best.1] = true;
    }
    out
}

fn whole_detail(row: &Row) -> String {
    if row.error.is_empty() { row.detail.parts.join(row.detail.joiner) } else { row.error.clone() }
}

/// What stands beside a row, in lines of at most `columns`.
fn detail_lines(row: &Row, columns: usize, extent: Extent) -> Vec<String> {
    if !row.error.is_empty() {
        // What has no room here stands below the picture, in full.
        let fits = text::width(&row.error) <= columns;
        return vec![if fits { row.error.clone() } else { "failed".to_owned() }];
    }
    let mut lines = vec![String::new()];
    for part in &row.detail.parts {
        let full = lines.len();
        let line = &mut lines[full - 1];
        let added =
            if line.is_empty() { text::width(part) } else { text::width(part) + text::width(row.detail.joiner) };
        if text::width(line) + added <= columns {
            if !line.is_empty() {
                line.push_str(row.detail.joiner);
            }
            line.push_str(part);
        } else if extent == Extent::Full {
            lines.push(part.clone());
        }
    }
    lines.retain(|l| !l.is_empty());
    lines
}

/// `before` columns stand before what `columns` are for; without any the full form has its details in lines below.
fn details(out: &mut String, row: &Row, (before, columns): (usize, usize), style: &Style, extent: Extent) {
    let below = columns == 0;
    if below && (extent == Extent::Short || !row.error.is_empty()) {
        return;
    }
    let indent = if below { 4 + row.depth * 2 } else { before + 2 };
    let room = if below { style.columns().saturating_sub(indent) } else { columns };
    for (i, line) in detail_lines(row, room, extent).iter().enumerate() {
        if below || i > 0 {
            end_line(out);
            text::spaces(out, indent);
        } else {
            out.push_str("  ");
        }
        let line = text::cut(line, room, style.unicode);
        style.paint(out, if row.error.is_empty() { sgr::DIM } else { sgr::FAILED }, &line);
    }
}

fn footer(out: &mut String, analysis: &Analysis<'_>, rows: &[Row], left_out: usize, detail: usize, style: &Style) {
    if left_out > 0 {
        let line = format!("  and {} that the picture has no room for", units::count(left_out as u64, "span"));
        out.push_str(&text::cut(&line, style.columns(), style.unicode));
        end_line(out);
    }
    let unaccounted = analysis.unaccounted();
    let line = format!(
        "critical path{}unaccounted {} ({})",
        style.dot(),
        units::duration(unaccounted, style),
        units::percent(unaccounted, analysis.wall())
    );
    style.paint(out, sgr::CRITICAL, if style.unicode { "◆ " } else { "* " });
    out.push_str(&text::cut(&line, style.columns() - 2, style.unicode));
    end_line(out);
    for line in title::errors(analysis, rows, detail, style) {
        for (i, line) in text::wrap(&line, style.columns() - 2, 4, style.unicode).iter().enumerate() {
            let mark = if style.unicode { "✗ " } else { "x " };
            style.paint(out, sgr::FAILED, if i == 0 { mark } else { "  " });
            out.push_str(line);
            end_line(out);
        }
    }
    if let Some(sentence) = finding::finding(analysis, style) {
        for line in text::wrap(&sentence, style.columns(), 3, style.unicode) {
            out.push_str(&line);
            end_line(out);
        }
    }
}

fn end_line(out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}
