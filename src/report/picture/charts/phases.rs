//! The stages of both groups by their medians, the first group above the second, on one axis.

use super::axis::{Axis, BODY, LEFT, MARGIN, RIGHT, SMALL, heading, name_of, time, whisker, work_of};
use crate::analyze::compare::{Comparison, PhaseComparison, Sample};
use crate::report::compare::words;
use crate::report::picture::timeline::{STYLE, round};
use crate::report::picture::{Anchor, Ink, Pen, Rect, Shape, font};

const BAR: f64 = 26.0;
const SIDE: f64 = 78.0;
/// A whisker of what is narrower would stand for nothing that can be seen.
const NARROW: f64 = 20.0;

/// Returns where it ends.
pub(super) fn phases(pen: &mut Pen, c: &Comparison, y: f64) -> f64 {
    let mut y = heading(pen, "Stages, one after the other: medians, with 95 % intervals", y);
    let stages: Vec<&PhaseComparison> =
        c.phases.iter().filter(|p| p.phase.path.len() == 1 && p.phase.layer.is_none()).collect();
    // Of a stage that fewer than half of the runs have the median run has nothing.
    let usual = |presence: usize, runs: usize| presence * 2 > runs;
    let (n, m) = (c.a.runs.len(), c.b.runs.len());
    let sides: [Vec<(&PhaseComparison, &Sample)>; 2] = [
        stages.iter().filter(|p| usual(p.presence_a, n)).filter_map(|p| Some((*p, p.a.as_ref()?))).collect(),
        stages.iter().filter(|p| usual(p.presence_b, m)).filter_map(|p| Some((*p, p.b.as_ref()?))).collect(),
    ];
    let shown = |p: &&PhaseComparison| sides.iter().flatten().any(|(q, _)| std::ptr::eq(*q, *p));
    let rare: Vec<String> = stages
        .iter()
        .filter(|p| !shown(p))
        .map(|p| format!("{} ({} of {})", name_of(&p.phase), p.presence_a + p.presence_b, n + m))
        .collect();
    let stages: Vec<&PhaseComparison> = stages.into_iter().filter(|p| shown(p)).collect();
    let totals = [c.total.a.as_ref(), c.total.b.as_ref()];
    let high = |s: &Sample| s.interval.map_or(s.median, |i| i.high.max(s.median));
    let sum = |side: &[(&PhaseComparison, &Sample)]| side.iter().map(|(_, s)| s.median).sum::<f64>();
    let most = totals.iter().flatten().map(|s| high(s)).chain(sides.iter().map(|s| sum(s))).fold(1.0, f64::max);
    let axis = Axis { from: 0.0, to: most * 1.02, left: LEFT, right: RIGHT, log: false };
    let top = legend(pen, &stages, y) + 8.0;
    axis.draw(pen, top, top + 2.0 * SIDE, |v| round(v as u64));
    y = top;
    for ((side, total), name) in sides.iter().zip(totals).zip(words::names(c, &STYLE)) {
        one_side(pen, &axis, &STYLE.clean(&name), side, total, y);
        y += SIDE;
    }
    if !rare.is_empty() {
        y += 34.0;
        let text = font::fit_parts(
            &[format!("in fewer than half of the runs, and so in no median run: {}", rare.join(", "))],
            "",
            SMALL,
            RIGHT - MARGIN,
        );
        pen.text((MARGIN, y), Anchor::Start, SMALL, Ink::Muted, &text, RIGHT - MARGIN);
    }
    y + 20.0
}

fn one_side(
    pen: &mut Pen,
    axis: &Axis,
    name: &str,
    side: &[(&PhaseComparison, &Sample)],
    total: Option<&Sample>,
    y: f64,
) {
    let middle = y + 10.0 + BAR / 2.0;
    pen.text((LEFT - 14.0, middle + 4.0), Anchor::End, BODY, Ink::Text, name, LEFT - 14.0 - MARGIN);
    let mut at = 0.0;
    for (i, (phase, sample)) in side.iter().enumerate() {
        let (x, end) = (axis.x(at), axis.x(at + sample.median));
        let w = (end - x - 1.0).max(1.0);
        pen.group(title(phase, sample), |pen| {
            pen.fill(x, y + 10.0, w, BAR, Ink::Work(work_of(&phase.phase)));
            let label = format!("{} {}", name_of(&phase.phase), time(sample.median));
            if font::width(&label, SMALL) < w {
                pen.text((x, y + 10.0 + BAR + 26.0), Anchor::Start, SMALL, Ink::Muted, &label, w);
            }
            // On two levels, since neighbours' intervals overlap.
            let level = y + 10.0 + BAR + if i % 2 == 0 { 4.0 } else { 10.0 };
            if let Some(i) = sample.interval.filter(|_| w > NARROW) {
                whisker(pen, axis, (at + i.low, at + i.high), level, 5.0, Ink::Text);
            }
        });
        at += sample.median;
    }
    let Some(total) = total else { return };
    let text = format!("whole run {}", time(total.median));
    pen.group(text, |pen| {
        // What the stages' medians don't add up to: gaps between them, and that medians don't add up.
        if total.median > at {
            let (x, end) = (axis.x(at), axis.x(total.median));
            if end - x > 2.0 {
                pen.0.push(Shape::Outline(Rect { x, y: y + 10.0, w: end - x, h: BAR }, Ink::Muted, 1.0));
            }
        }
        if let Some(i) = total.interval {
            whisker(pen, axis, (i.low, i.high), y + 4.0, 8.0, Ink::Text);
        }
        let x = axis.x(total.median);
        pen.line((x, y), (x, y + 10.0 + BAR), Ink::Text, 1.4);
    });
}

fn title(phase: &PhaseComparison, sample: &Sample) -> String {
    let interval = words::interval_of_times(sample.interval, &STYLE).map(|i| format!(", 95 % {i}")).unwrap_or_default();
    format!("{}: median {}{interval}", name_of(&phase.phase), time(sample.median))
}

/// Returns where it ends.
fn legend(pen: &mut Pen, stages: &[&PhaseComparison], y: f64) -> f64 {
    let (mut x, mut y) = (MARGIN, y);
    let mut entry = |pen: &mut Pen, name: &str, draw: &dyn Fn(&mut Pen, f64, f64)| {
        let name = font::fit(name, SMALL, 420.0).into_owned();
        let width = 28.0 + font::width(&name, SMALL) + 16.0;
        if x + width > RIGHT {
            (x, y) = (MARGIN, y + 18.0);
        }
        draw(pen, x, y);
        pen.text((x + 28.0, y + 10.0), Anchor::Start, SMALL, Ink::Muted, &name, 420.0);
        x += width;
    };
    for stage in stages {
        let work = Ink::Work(work_of(&stage.phase));
        entry(pen, &name_of(&stage.phase), &|pen, x, y| pen.fill(x, y, 22.0, 11.0, work));
    }
    entry(pen, "in no stage, and what the stages' medians lack to the whole run's", &|pen, x, y| {
        pen.0.push(Shape::Outline(Rect { x, y, w: 22.0, h: 11.0 }, Ink::Muted, 1.0));
    });
    entry(pen, "median of whole runs, with its interval", &|pen, x, y| {
        pen.line((x + 11.0, y), (x + 11.0, y + 11.0), Ink::Text, 1.4);
        pen.line((x + 2.0, y + 2.0), (x + 20.0, y + 2.0), Ink::Text, 1.4);
    });
    y + 16.0
}
