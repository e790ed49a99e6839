//! Each phase: how often it happened, how long it took, and how much faster or slower the second group was, with its 95
//! % interval.

use super::axis::{Axis, BODY, LEFT, MARGIN, RIGHT, SMALL, heading, name_of, time, whisker, work_of};
use crate::analyze::compare::{Comparison, PhaseComparison, Verdict};
use crate::report::compare::words;
use crate::report::picture::timeline::STYLE;
use crate::report::picture::{Anchor, Ink, Pen, WIDTH};
use crate::report::units;

const ROW: f64 = 22.0;
/// Phases that are shown.
const MOST: usize = 24;
const DEEPEST: usize = 3;

/// Returns where it ends.
pub(super) fn ratios(pen: &mut Pen, c: &Comparison, y: f64) -> f64 {
    let names = words::names(c, &STYLE).map(|n| STYLE.clean(&n).into_owned());
    let heading_text =
        format!("Each stage: {} against {}, with 95 % intervals (1× is no difference)", names[1], names[0]);
    let y = heading(pen, &heading_text, y) + 18.0;
    let (shown, left_out) = shown(c);
    let label = MARGIN + 250.0;
    let columns = [label + 100.0, label + 190.0, label + 280.0, label + 370.0];
    let verdict = RIGHT - 110.0;
    let axis = axis(&shown, columns[3] + 30.0, verdict - 16.0);
    let bottom = y + shown.len() as f64 * ROW;
    for i in (1..shown.len()).step_by(2) {
        pen.fill(MARGIN - 8.0, y + i as f64 * ROW, WIDTH - 2.0 * MARGIN + 16.0, ROW, Ink::Panel);
    }
    if let Some(axis) = &axis {
        axis.draw(pen, y, bottom, factor);
        let x = axis.x(1.0);
        pen.line((x, y - 4.0), (x, bottom), Ink::Text, 1.4);
    }
    let heads = [format!("in {}", names[0]), format!("in {}", names[1]), names[0].clone(), names[1].clone()];
    for (x, head) in columns.iter().zip(&heads) {
        pen.text((*x, y - 6.0), Anchor::End, SMALL, Ink::Muted, head, 84.0);
    }
    for (i, phase) in shown.iter().enumerate() {
        one(pen, c, phase, axis.as_ref(), &columns, (label, verdict), y + i as f64 * ROW, &names);
    }
    let mut end = bottom + if axis.is_some() { 18.0 } else { 0.0 };
    if left_out > 0 {
        end += 18.0;
        let text = format!("and {}", units::count(left_out as u64, "shorter or deeper phase"));
        pen.text((MARGIN, end), Anchor::Start, SMALL, Ink::Muted, &text, LEFT * 3.0);
    }
    end
}

/// The whole run, phases whose difference is certain and those that took longest, in the order of the run, and how many
/// were left out.
fn shown(c: &Comparison) -> (Vec<&PhaseComparison>, usize) {
    let all = c.phases.iter().filter(|p| p.phase.layer.is_none());
    let length = |p: &PhaseComparison| [&p.a, &p.b].into_iter().flatten().map(|s| s.median).fold(0.0, f64::max);
    let certain = |p: &PhaseComparison| matches!(p.verdict, Verdict::Faster | Verdict::Slower);
    let mut ranked: Vec<(usize, &PhaseComparison)> = all.clone().enumerate().collect();
    let total = ranked.len();
    ranked.retain(|(_, p)| p.phase.path.len() <= DEEPEST);
    ranked.sort_by(|(i, a), (j, b)| certain(b).cmp(&certain(a)).then(length(b).total_cmp(&length(a))).then(i.cmp(j)));
    ranked.truncate(MOST);
    ranked.sort_by_key(|(i, _)| *i);
    let left_out = total - ranked.len();
    (std::iter::once(&c.total).chain(ranked.into_iter().map(|(_, p)| p)).collect(), left_out)
}

/// An axis for all ratios, with 1 on it; `None` where there is no ratio.
fn axis(shown: &[&PhaseComparison], left: f64, right: f64) -> Option<Axis> {
    let ends = || {
        shown.iter().filter_map(|p| p.ratio).flat_map(|r| {
            let (low, high) = r.interval.map_or((r.value, r.value), |i| (i.low, i.high));
            [low, high, r.value]
        })
    };
    ends().next()?;
    // What lies further out is drawn at the edge.
    let usable = || ends().filter(|v| v.is_finite() && *v > 0.0);
    let from = usable().fold(0.5, f64::min).max(1e-3) / 1.3;
    let to = usable().fold(2.0, f64::max).min(1e3) * 1.3;
    Some(Axis { from, to, left, right, log: true })
}

/// `50× faster`, `1×`, `50× slower`; what a reader knows from the labels at the ends is not repeated on each.
fn factor(value: f64) -> String {
    match value {
        v if v < 0.95 => format!("{}× faster", (1.0 / v).round()),
        v if v > 1.05 => format!("{}× slower", v.round()),
        _ => "1×".to_owned(),
    }
}

#[allow(clippy::too_many_arguments, reason = "one row of a table with its columns")]
fn one(
    pen: &mut Pen,
    c: &Comparison,
    phase: &PhaseComparison,
    axis: Option<&Axis>,
    columns: &[f64; 4],
    (label, verdict): (f64, f64),
    y: f64,
    names: &[String; 2],
) {
    let baseline = y + ROW / 2.0 + BODY * 0.36;
    let word = words::verdict_with_medians(phase.verdict, phase.medians_agree(), names, &STYLE);
    let certain = matches!(phase.verdict, Verdict::Faster | Verdict::Slower);
    pen.group(title(phase, &word), |pen| {
        let x = MARGIN + 16.0 + phase.phase.path.len() as f64 * 13.0;
        if !phase.phase.path.is_empty() {
            pen.fill(x - 14.0, y + 6.0, 9.0, 9.0, Ink::Work(work_of(&phase.phase)));
        }
        let ink = if phase.phase.path.len() < 2 { Ink::Text } else { Ink::Muted };
        pen.text((x, baseline), Anchor::Start, BODY, ink, &name_of(&phase.phase), label - x);
        let median =
            |s: &Option<crate::analyze::compare::Sample>| s.as_ref().map_or("–".to_owned(), |s| time(s.median));
        let cells = [
            format!("{} of {}", phase.presence_a, c.a.runs.len()),
            format!("{} of {}", phase.presence_b, c.b.runs.len()),
            median(&phase.a),
            median(&phase.b),
        ];
        for ((x, cell), ink) in columns.iter().zip(&cells).zip([Ink::Muted, Ink::Muted, Ink::Text, Ink::Text]) {
            pen.text((*x, baseline), Anchor::End, SMALL, ink, cell, 84.0);
        }
        if let (Some(axis), Some(ratio)) = (axis, phase.ratio) {
            let middle = y + ROW / 2.0;
            if let Some(i) = ratio.interval {
                whisker(pen, axis, (i.low, i.high), middle, 9.0, Ink::Text);
            }
            let x = axis.x(ratio.value);
            // A certain difference is a full mark, an uncertain one hollow.
            pen.fill(x - 4.0, middle - 4.0, 8.0, 8.0, Ink::Text);
            if !certain {
                pen.fill(x - 2.5, middle - 2.5, 5.0, 5.0, Ink::Back);
            }
        }
        let ink = if certain { Ink::Text } else { Ink::Muted };
        pen.text((verdict, baseline), Anchor::Start, SMALL, ink, &word, WIDTH - MARGIN - verdict);
    });
}

fn title(phase: &PhaseComparison, word: &str) -> String {
    let mut out = if phase.phase.path.is_empty() {
        "whole run".to_owned()
    } else {
        STYLE.clean(&phase.phase.joined()).into_owned()
    };
    if let Some(ratio) = phase.ratio {
        out.push_str(&format!(": {}", units::faster_or_slower(ratio.value, &STYLE)));
        out.extend(words::interval_of_ratios(ratio.value, ratio.interval).map(|i| format!(", 95 % {i}")));
    }
    out.extend(phase.p_holm.map(|p| format!(", p {} after Holm", words::p_value(p))));
    out.push_str(&format!("\n{word}"));
    out
}
