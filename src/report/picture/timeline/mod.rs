//! One run as a picture: a row a stage, with the same rows as the terminal shows, and strips of rates below.
//!
//! What is on the critical path has an outline, and its row a ◆; a row that failed has a ✗ and its message. Every cut
//! text is there in full in the title of its group.

mod layout;
mod strips;

pub(crate) use self::layout::STYLE;
use self::layout::{BAR, BODY, Columns, GAP, INDENT, MARGIN, MARK, ROW, SMALL, STRIP, TITLE};
use self::strips::{one_strip, strips};
use super::palette::Work;
use super::{Anchor, Ink, Pen, Rect, Scene, Shape, WIDTH, font, ticks};
use crate::analyze::Analysis;
use crate::analyze::facts::facts;
use crate::names::attr;
use crate::record::model::{Status, Trace};
use crate::report::rows::{Extent, Row, root_row, rows};
use crate::report::{finding, title, units};

/// The picture of a run.
pub fn timeline(trace: &Trace, analysis: &Analysis<'_>) -> Scene {
    let (mut rows, left_out) = rows(analysis, &STYLE, Extent::Full);
    if rows.is_empty() {
        rows.push(root_row(analysis, &STYLE));
    }
    let columns = Columns::new(&rows);
    let mut pen = Pen::default();
    let (title, description) = words(trace, analysis);
    let mut y = header(&mut pen, trace, analysis, &title);
    y = legend(&mut pen, analysis, &rows, y);
    let top = y + 16.0;
    let bottom = top + rows.len() as f64 * ROW;
    let strips = strips(analysis, &columns);
    let end = bottom + strips.len() as f64 * (STRIP + 10.0);
    for i in (1..rows.len()).step_by(2) {
        pen.fill(MARGIN - 8.0, top + i as f64 * ROW, WIDTH - 2.0 * MARGIN + 16.0, ROW, Ink::Panel);
    }
    for i in 0..strips.len() {
        let (left, right) = columns.lane;
        pen.fill(left, bottom + 10.0 + i as f64 * (STRIP + 10.0), right - left, STRIP, Ink::Panel);
    }
    axis(&mut pen, analysis.wall(), &columns, top, end);
    for (i, row) in rows.iter().enumerate() {
        one_row(&mut pen, analysis, row, &columns, top + i as f64 * ROW);
    }
    let mut y = bottom;
    for strip in &strips {
        y += 10.0;
        one_strip(&mut pen, strip, &columns, y);
        y += STRIP;
    }
    y = footer(&mut pen, analysis, left_out, y + 8.0);
    Scene { height: y + MARGIN / 2.0, title, description, shapes: pen.0 }
}

/// Title and description.
pub(crate) fn words(trace: &Trace, analysis: &Analysis<'_>) -> (String, String) {
    let root = analysis.tree.span(analysis.tree.root());
    let title = format!("{} {}", STYLE.clean(&root.name), title::image(root, &STYLE));
    let mut description = facts_line(trace, analysis).join(" · ");
    if let Some(finding) = finding::finding(analysis, &STYLE) {
        description = format!("{description}. {finding}");
    }
    (title.trim_end().to_owned(), description)
}

/// Kind, wall time, hub, how it ended, id.
pub(crate) fn facts_line(trace: &Trace, analysis: &Analysis<'_>) -> Vec<String> {
    let root = analysis.tree.span(analysis.tree.root());
    let facts = facts(analysis);
    let mut out = Vec::new();
    out.extend(facts.kind.as_deref().map(|k| STYLE.clean(k).into_owned()));
    out.push(units::duration(analysis.wall(), &STYLE));
    match (&root.status, root.attributes.int(attr::PROCESS_EXIT_CODE).filter(|c| *c != 0)) {
        (Status::Error(_), _) => out.push("failed".to_owned()),
        (_, Some(code)) => out.push(format!("exit {code}")),
        _ => {}
    }
    out.extend(facts.hub.as_deref().map(|h| STYLE.clean(h).into_owned()));
    out.push(trace.id.short());
    out
}

/// Gives where it ends.
fn header(pen: &mut Pen, trace: &Trace, analysis: &Analysis<'_>, title: &str) -> f64 {
    let room = WIDTH - 2.0 * MARGIN;
    pen.group(title.to_owned(), |pen| {
        pen.text((MARGIN, 36.0), Anchor::Start, TITLE, Ink::Text, title, room);
    });
    let facts = facts_line(trace, analysis);
    pen.group(facts.join(" · "), |pen| {
        let line = font::fit_parts(&facts, " · ", BODY, room);
        pen.text((MARGIN, 58.0), Anchor::Start, BODY, Ink::Muted, &line, room);
    });
    let mut y = 58.0;
    if let Some(sentence) = finding::finding(analysis, &STYLE) {
        for line in font::wrap(&sentence, BODY, room, 3) {
            y += 20.0;
            pen.text((MARGIN, y), Anchor::Start, BODY, Ink::Text, &line, room);
        }
    }
    y + 12.0
}

/// The kinds of work in the picture, and what outline and marks mean. Gives where it ends.
fn legend(pen: &mut Pen, analysis: &Analysis<'_>, rows: &[Row], y: f64) -> f64 {
    let mut used: Vec<Work> = rows.iter().map(|r| work(analysis, r)).collect();
    used.sort_unstable();
    used.dedup();
    let (mut x, mut y) = (MARGIN, y);
    let swatch = 22.0;
    let mut entry = |pen: &mut Pen, label: &str, draw: &dyn Fn(&mut Pen, f64, f64)| {
        let width = swatch + 6.0 + font::width(label, SMALL) + 18.0;
        if x + width > WIDTH - MARGIN {
            (x, y) = (MARGIN, y + 18.0);
        }
        draw(pen, x, y);
        pen.text((x + swatch + 6.0, y + 10.0), Anchor::Start, SMALL, Ink::Muted, label, 200.0);
        x += width;
    };
    for work in used {
        entry(pen, work.label(), &|pen, x, y| pen.fill(x, y, swatch, 11.0, Ink::Work(work)));
    }
    entry(pen, "◆ on the critical path", &|pen, x, y| {
        pen.0.push(Shape::Outline(Rect { x, y, w: swatch, h: 11.0 }, Ink::Text, 2.0));
    });
    if rows.iter().any(|r| r.failed) {
        entry(pen, "failed", &|pen, x, y| {
            pen.text((x + 6.0, y + 10.0), Anchor::Start, BODY, Ink::Failed, "✗", 20.0);
        });
    }
    y + 22.0
}

fn axis(pen: &mut Pen, wall: u64, columns: &Columns, top: f64, bottom: f64) {
    let (left, right) = columns.lane;
    for tick in ticks(wall as f64, 8) {
        let ns = tick as u64;
        let x = columns.x(ns, wall);
        pen.line((x, top - 4.0), (x, bottom), Ink::Grid, 1.0);
        let label = round(ns);
        let half = font::width(&label, SMALL) / 2.0;
        // A label that would run into the next column is left out, its line stays.
        if x + half <= right + 10.0 {
            pen.text((x, top - 8.0), Anchor::Middle, SMALL, Ink::Muted, &label, (x - left + half + 20.0).min(120.0));
        }
    }
}

/// A round time without the digits that are nought: `0`, `20 ms`, `1.5 s`.
pub(crate) fn round(ns: u64) -> String {
    if ns == 0 {
        return "0".to_owned();
    }
    let text = units::precise(ns, &STYLE);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// The kind of work of a row: that of its first span.
fn work(analysis: &Analysis<'_>, row: &Row) -> Work {
    row.nodes.first().map_or(Work::Other, |n| Work::of(&analysis.tree.span(*n).name))
}

fn one_row(pen: &mut Pen, analysis: &Analysis<'_>, row: &Row, columns: &Columns, y: f64) {
    let wall = analysis.wall();
    let baseline = y + ROW / 2.0 + BODY * 0.36;
    let duration = units::duration(row.duration, &STYLE);
    let share = units::percent(row.inside(), wall);
    pen.group(row_title(row, &duration, &share), |pen| {
        if row.failed {
            pen.text((MARGIN, baseline), Anchor::Start, BODY, Ink::Failed, "✗", MARK);
        } else if row.marked {
            pen.text((MARGIN, baseline), Anchor::Start, BODY, Ink::Text, "◆", MARK);
        }
        let x = MARGIN + MARK + row.depth as f64 * INDENT;
        let ink = if row.depth == 0 { Ink::Text } else { Ink::Muted };
        pen.text((x, baseline), Anchor::Start, BODY, ink, &row.label, columns.label - x);
        bar(pen, analysis, row, columns, y);
        pen.text((columns.duration, baseline), Anchor::End, BODY, Ink::Text, &duration, 110.0);
        if row.depth == 0 {
            pen.text((columns.share, baseline), Anchor::End, BODY, Ink::Muted, &share, 58.0);
        }
        let (left, right) = columns.detail;
        let (text, ink) = if row.error.is_empty() {
            (font::fit_parts(&row.detail.parts, row.detail.joiner, SMALL, right - left), Ink::Muted)
        } else {
            (row.error.clone(), Ink::Failed)
        };
        pen.text((left, baseline), Anchor::Start, SMALL, ink, &text, right - left);
    });
}

fn row_title(row: &Row, duration: &str, share: &str) -> String {
    let mut out = format!(
        "{}: {duration}, {share} of the run, from {} to {}",
        row.label,
        units::precise(row.bar.0, &STYLE),
        units::precise(row.bar.1, &STYLE)
    );
    let critical: u64 = row.critical.iter().map(|(from, to)| to - from).sum();
    if critical > 0 {
        out.push_str(&format!("\non the critical path: {}", units::precise(critical, &STYLE)));
    }
    for line in [row.detail.parts.join(row.detail.joiner), row.error.clone()] {
        if !line.is_empty() {
            out.push('\n');
            out.push_str(&line);
        }
    }
    out
}

/// The bar; many spans in one row show where at least one of them was.
fn bar(pen: &mut Pen, analysis: &Analysis<'_>, row: &Row, columns: &Columns, y: f64) {
    let wall = analysis.wall();
    let ink = Ink::Work(work(analysis, row));
    let top = y + (ROW - BAR) / 2.0;
    let place = |from: u64, to: u64| {
        let (left, right) = (columns.x(from, wall), columns.x(to, wall));
        let w = (right - left).max(2.0);
        (left.min(columns.lane.1 - w), w)
    };
    let pieces =
        if row.nodes.len() > 1 { busy(analysis, &row.nodes, place) } else { vec![place(row.bar.0, row.bar.1)] };
    for (x, w) in pieces {
        pen.fill(x, top, w, BAR, ink);
    }
    let mut outlines: Vec<(f64, f64)> = Vec::new();
    for (x, w) in row.critical.iter().map(|(from, to)| place(*from, *to)) {
        match outlines.last_mut() {
            Some(last) if x <= last.0 + last.1 + GAP => last.1 = (x + w - last.0).max(last.1),
            _ => outlines.push((x, w)),
        }
    }
    if row.marked {
        for (x, w) in outlines {
            pen.0.push(Shape::Outline(Rect { x: x - 1.0, y: top - 2.5, w: w + 2.0, h: BAR + 5.0 }, Ink::Text, 1.6));
        }
    }
    if row.failed {
        // A cross where it ended.
        let (x, w) = place(row.bar.1, row.bar.1);
        let (x, mid) = (x + w / 2.0, y + ROW / 2.0);
        pen.line((x - 4.0, mid - 4.0), (x + 4.0, mid + 4.0), Ink::Failed, 2.0);
        pen.line((x - 4.0, mid + 4.0), (x + 4.0, mid - 4.0), Ink::Failed, 2.0);
    }
}

/// Where at least one of the nodes was, as places in the lane, near ones taken together.
fn busy(analysis: &Analysis<'_>, nodes: &[usize], place: impl Fn(u64, u64) -> (f64, f64)) -> Vec<(f64, f64)> {
    let tree = &analysis.tree;
    let origin = tree.window(tree.root()).0;
    let mut windows: Vec<(u64, u64)> = nodes.iter().map(|n| tree.window(*n)).collect();
    windows.sort_unstable();
    let mut out: Vec<(f64, f64)> = Vec::new();
    for (from, to) in windows {
        let (x, w) = place(from - origin, to - origin);
        match out.last_mut() {
            Some(last) if x <= last.0 + last.1 + GAP => last.1 = (x + w - last.0).max(last.1),
            _ => out.push((x, w)),
        }
    }
    out
}

/// Gives where it ends.
fn footer(pen: &mut Pen, analysis: &Analysis<'_>, left_out: usize, y: f64) -> f64 {
    let room = WIDTH - 2.0 * MARGIN;
    let unaccounted = analysis.unaccounted();
    let mut lines = vec![(
        Ink::Muted,
        format!(
            "unaccounted {} ({})",
            units::duration(unaccounted, &STYLE),
            units::percent(unaccounted, analysis.wall())
        ),
    )];
    if left_out > 0 {
        lines.push((
            Ink::Muted,
            format!("and {} that the picture has no room for", units::count(left_out as u64, "span")),
        ));
    }
    for error in title::errors(analysis, &[], 0, &STYLE) {
        let wrapped = font::wrap(&format!("✗ {error}"), BODY, room, 4);
        lines.extend(wrapped.into_iter().map(|line| (Ink::Failed, line)));
    }
    let mut y = y;
    for (ink, line) in lines {
        y += 18.0;
        pen.text((MARGIN, y), Anchor::Start, BODY, ink, &line, room);
    }
    y
}
