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
    let sides: [Vec<(&PhaseComparison, &Sample)>; 2] = [
        stages.iter().filter_map(|p| Some((*p, p.a.as_ref()?))).collect(),
        stages.iter().filter_map(|p| Some((*p, p.b.as_ref()?))).collect(),
    ];
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
    for stage in stages {
        let name = font::fit(&name_of(&stage.phase), SMALL, 200.0).into_owned();
        let width = 28.0 + font::width(&name, SMALL) + 16.0;
        if x + width > RIGHT {
            (x, y) = (MARGIN, y + 18.0);
        }
        pen.fill(x, y, 22.0, 11.0, Ink::Work(work_of(&stage.phase)));
        pen.text((x + 28.0, y + 10.0), Anchor::Start, SMALL, Ink::Muted, &name, 200.0);
        x += width;
    }
    y + 16.0
}
