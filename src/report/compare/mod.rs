//! Two groups of runs side by side: a comparison in, text out.
//!
//! [`text`](text()) is for people, [`markdown`] for where results are published, [`json`] for programs. All say the
//! same: what only one side does, then how long the rest took, and of each difference whether it is more than chance.

pub mod json;
pub mod markdown;
pub mod words;

use super::picture::charts::charts;
use super::picture::{png, svg};
use super::{Format, Style, html, sgr, text as cells, units};
use crate::analyze::compare::{Comparison, Group, Member, PhaseComparison, Verdict};
use crate::analyze::{Analysis, stats};
use crate::record::model::{Trace, TraceId};

/// The comparison in a format, as the bytes of a file; text ends with a line break. `typical` is one run of each group,
/// see [`typical`]; only HTML shows them.
pub fn render(comparison: &Comparison, format: Format, typical: &[Trace], style: &Style) -> Vec<u8> {
    let charts = || charts(comparison);
    let text = match format {
        // The forms that only a run has are not offered for a comparison; as text it has one.
        Format::Text
        | Format::Short
        | Format::Waterfall
        | Format::Tree
        | Format::Blame
        | Format::Critical
        | Format::Summary => text(comparison, style),
        Format::Json => json::json(comparison),
        Format::Markdown => markdown::markdown(comparison),
        Format::Svg => svg::svg(&charts()),
        Format::Png => return png::png(&charts()),
        Format::Html => {
            let analyses: Vec<_> = typical.iter().filter_map(|t| Some((t, Analysis::of(t)?))).collect();
            let runs: Vec<_> = analyses.iter().map(|(t, a)| (*t, a)).collect();
            html::side_by_side(&runs, &charts())
        }
    };
    text.into_bytes()
}

/// The run of a group whose wall time is nearest to the median.
pub fn typical(group: &Group) -> Option<TraceId> {
    let mut walls: Vec<f64> = group.runs.iter().map(|r| r.wall_ns as f64).collect();
    walls.sort_by(f64::total_cmp);
    let median = stats::median(&walls)?;
    let nearest = |r: &&Member| ((r.wall_ns as f64 - median).abs() as u64, r.id);
    group.runs.iter().min_by_key(nearest).map(|r| r.id)
}

/// For people.
pub fn text(c: &Comparison, style: &Style) -> String {
    let mut out = String::new();
    heading(&mut out, c, style);
    out.push('\n');
    for sentence in words::findings(c, style) {
        paragraph(&mut out, &sentence, "", style, sgr::BOLD);
    }
    presence(&mut out, c, style);
    durations(&mut out, c, style);
    let warnings = words::warnings(c, style);
    if !warnings.is_empty() {
        out.push('\n');
        warnings.iter().for_each(|w| paragraph(&mut out, w, "! ", style, sgr::CRITICAL));
    }
    out.push('\n');
    paragraph(&mut out, &words::legend(c, style), "", style, sgr::DIM);
    out
}

/// A sentence over as many lines as it needs, each in `code`; `mark` stands before the first.
fn paragraph(out: &mut String, sentence: &str, mark: &str, style: &Style, code: &str) {
    for (i, line) in cells::wrap(sentence, style.columns() - mark.len(), 20, style.unicode).iter().enumerate() {
        let before = if i == 0 { mark.to_owned() } else { " ".repeat(mark.len()) };
        style.paint(out, code, &format!("{before}{line}"));
        out.push('\n');
    }
}

fn heading(out: &mut String, c: &Comparison, style: &Style) {
    let lettered = words::names(c, style)[0] == "A";
    let sides = [(&c.a, &c.total.a, "A"), (&c.b, &c.total.b, "B")];
    let rows: Vec<[String; 5]> = sides
        .iter()
        .map(|(group, sample, letter)| {
            let sample = sample.as_ref();
            let label = style.clean(&group.label).into_owned();
            [
                if lettered { format!("{letter}  {label}") } else { label },
                units::count(group.runs.len() as u64, "run"),
                sample.map_or(String::new(), |s| time(s.median, style)),
                sample.map_or(String::new(), |s| words::interval_of_times(s.interval, style).unwrap_or_default()),
                group.variation.map_or(String::new(), |v| format!("{} {:.0} %", words::plus_minus(style), v * 100.0)),
            ]
        })
        .collect();
    table(out, &rows.iter().map(|r| r.to_vec()).collect::<Vec<_>>(), &[false, true, true, false, true], style, |_| "");
}

/// What at least one run of one side did and at least one run did not.
fn presence(out: &mut String, c: &Comparison, style: &Style) {
    // Deeper than a layer's stages it would be a list of requests.
    const DEEPEST: usize = 3;
    let (n, m) = (c.a.runs.len(), c.b.runs.len());
    let partial = |p: &&PhaseComparison| (p.presence_a, p.presence_b) != (n, m);
    let all: Vec<&PhaseComparison> = c.phases.iter().filter(partial).collect();
    let shown: Vec<&&PhaseComparison> = all.iter().filter(|p| p.phase.path.len() <= DEEPEST).collect();
    if all.is_empty() {
        return;
    }
    out.push('\n');
    let [a, b] = words::names(c, style).map(|n| title(&n));
    let mut rows = vec![vec!["HAPPENED IN".to_owned(), a, b]];
    rows.extend(
        shown
            .iter()
            .map(|p| vec![name(p, style), format!("{} of {n}", p.presence_a), format!("{} of {m}", p.presence_b)]),
    );
    table(out, &rows, &[false, true, true], style, |i| if i == 0 { sgr::BOLD } else { "" });
    let more = all.len() - shown.len();
    if more > 0 {
        let sentence = format!("  and {} below them", units::count(more as u64, "phase"));
        paragraph(out, &sentence, "", style, sgr::DIM);
    }
}

fn durations(out: &mut String, c: &Comparison, style: &Style) {
    let certain = |p: &&PhaseComparison| matches!(p.verdict, Verdict::Faster | Verdict::Slower);
    let layers: Vec<&PhaseComparison> = c.layers.iter().filter(certain).collect();
    let both = c.phases.iter().filter(|p| p.p.is_some());
    let shown: Vec<&PhaseComparison> = std::iter::once(&c.total).chain(both).chain(layers.iter().copied()).collect();
    let mut columns = Columns::ALL;
    let names = words::names(c, style);
    // A column that says nothing takes no room.
    columns
        .iter_mut()
        .for_each(|slot| *slot = slot.filter(|c| shown.iter().any(|p| !c.cell(p, &names, style).is_empty())));
    let mut rows = rows(&shown, &columns, &names, style);
    // The columns that matter least go first where the line is short.
    while needed(&rows) > style.table_columns() {
        let Some(next) = columns.iter().enumerate().filter(|(_, c)| c.is_some()).max_by_key(|(i, _)| Columns::RANK[*i])
        else {
            break;
        };
        if Columns::RANK[next.0] == 0 {
            break;
        }
        columns[next.0] = None;
        rows = self::rows(&shown, &columns, &names, style);
    }
    out.push('\n');
    let right: Vec<bool> = columns.iter().flatten().map(|c| c.right()).collect();
    table(out, &rows, &right, style, |i| match i.checked_sub(1).map(|i| shown[i].verdict) {
        None => sgr::BOLD,
        Some(Verdict::Slower) => sgr::CRITICAL,
        Some(Verdict::Faster) => sgr::ASIDE,
        _ => "",
    });
    let rest = c.layers.iter().filter(|l| l.p.is_some()).count() - layers.len();
    if rest > 0 {
        let sentence = format!(
            "  {} of single layers where no difference is shown: --format json",
            units::count(rest as u64, "row")
        );
        paragraph(out, &sentence, "", style, sgr::DIM);
    }
}

/// A name as the head of a column; an id stays as it is.
fn title(name: &str) -> String {
    if name.contains(|c: char| c.is_ascii_digit()) { name.to_owned() } else { name.to_uppercase() }
}

/// What may stand in a line of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Columns {
    Phase,
    A,
    IntervalA,
    B,
    IntervalB,
    Ratio,
    IntervalRatio,
    P,
    Verdict,
}

impl Columns {
    const ALL: [Option<Columns>; 9] = [
        Some(Columns::Phase),
        Some(Columns::A),
        Some(Columns::IntervalA),
        Some(Columns::B),
        Some(Columns::IntervalB),
        Some(Columns::Ratio),
        Some(Columns::IntervalRatio),
        Some(Columns::P),
        Some(Columns::Verdict),
    ];
    /// The higher, the sooner it goes; 0 never.
    const RANK: [u8; 9] = [0, 0, 4, 0, 3, 0, 1, 2, 0];

    fn right(self) -> bool {
        !matches!(
            self,
            Columns::Phase | Columns::Verdict | Columns::IntervalA | Columns::IntervalB | Columns::IntervalRatio
        )
    }

    fn title(self, [a, b]: &[String; 2]) -> String {
        match self {
            Columns::Phase => "TOOK".to_owned(),
            Columns::A => title(a),
            Columns::B => title(b),
            Columns::IntervalA | Columns::IntervalB | Columns::IntervalRatio => "95 %".to_owned(),
            Columns::Ratio => "RATIO".to_owned(),
            Columns::P => "P".to_owned(),
            Columns::Verdict => format!("{} IS", title(b)),
        }
    }

    fn cell(self, p: &PhaseComparison, names: &[String; 2], style: &Style) -> String {
        let of_a = p.a.as_ref();
        let of_b = p.b.as_ref();
        match self {
            Columns::Phase => name(p, style),
            Columns::A => of_a.map_or(String::new(), |s| time(s.median, style)),
            Columns::B => of_b.map_or(String::new(), |s| time(s.median, style)),
            Columns::IntervalA => of_a.and_then(|s| words::interval_of_times(s.interval, style)).unwrap_or_default(),
            Columns::IntervalB => of_b.and_then(|s| words::interval_of_times(s.interval, style)).unwrap_or_default(),
            Columns::Ratio => p.ratio.map_or(String::new(), |r| units::ratio(r.value, style)),
            Columns::IntervalRatio => {
                p.ratio.and_then(|r| words::interval_of_ratios(r.value, r.interval)).unwrap_or_default()
            }
            // Of too few runs it says nothing.
            Columns::P if matches!(p.verdict, Verdict::TooFew { .. }) => String::new(),
            Columns::P => p.p_holm.map_or(String::new(), words::p_value),
            Columns::Verdict => words::verdict_with_medians(p.verdict, p.medians_agree(), names, style),
        }
    }
}

fn rows(
    shown: &[&PhaseComparison],
    columns: &[Option<Columns>],
    names: &[String; 2],
    style: &Style,
) -> Vec<Vec<String>> {
    let title = columns.iter().flatten().map(|c| c.title(names)).collect();
    let body = shown.iter().map(|p| columns.iter().flatten().map(|c| c.cell(p, names, style)).collect());
    std::iter::once(title).chain(body).collect()
}

/// `whole run`, or the last name with two spaces a level, and of which layer.
fn name(p: &PhaseComparison, style: &Style) -> String {
    if p.phase.path.is_empty() {
        return "whole run".to_owned();
    }
    let mut out = "  ".repeat(p.phase.path.len());
    out.push_str(&style.clean(p.phase.name()));
    if let Some(layer) = &p.phase.layer {
        out.push(' ');
        out.push_str(&style.clean(&layer.trim_start_matches("sha256:").chars().take(12).collect::<String>()));
    }
    out
}

fn time(ns: f64, style: &Style) -> String {
    units::precise(ns.round() as u64, style)
}

const GAP: usize = 2;
/// The first column is not cut below this.
const LEAST: usize = 16;

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.first().map_or(0, Vec::len);
    (0..columns).map(|i| rows.iter().map(|r| cells::width(&r[i])).max().unwrap_or(0)).collect()
}

/// Columns that rows need, the first cut as far as may be.
fn needed(rows: &[Vec<String>]) -> usize {
    let widths = widths(rows);
    // Names are cut only a little to make room for figures.
    let first = widths.first().map_or(0, |w| (*w).min(30));
    first + widths.iter().skip(1).map(|w| w + GAP).sum::<usize>()
}

/// Rows of cells that are clean already; the first column gives way.
fn table(out: &mut String, rows: &[Vec<String>], right: &[bool], style: &Style, code: impl Fn(usize) -> &'static str) {
    let mut widths = widths(rows);
    let others: usize = widths.iter().skip(1).filter(|w| **w > 0).map(|w| w + GAP).sum();
    if let Some(first) = widths.first_mut() {
        *first = (*first).min(style.table_columns().saturating_sub(others).max(LEAST));
    }
    for (i, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate().filter(|(_, (_, w))| **w > 0) {
            if column > 0 {
                cells::spaces(&mut line, GAP);
            }
            let put = if right[column] { cells::right } else { cells::left };
            put(&mut line, cell, *width, style.unicode);
        }
        let line = cells::cut(line.trim_end(), style.table_columns(), style.unicode).into_owned();
        style.paint(out, code(i), &line);
        out.push('\n');
    }
}

#[cfg(test)]
mod tests;
