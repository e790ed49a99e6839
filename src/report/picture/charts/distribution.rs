//! Every run: the share of runs that took at most so long, for each group, with a tick for each run.

use super::axis::{Axis, BODY, LEFT, MARGIN, RIGHT, SIDES, SMALL, heading, time};
use crate::analyze::compare::{Comparison, Sample};
use crate::report::compare::words;
use crate::report::picture::timeline::{STYLE, round};
use crate::report::picture::{Anchor, Ink, Pen, Rect, Shape};

const TALL: f64 = 150.0;
/// Room for the ticks of one group.
const TICKS: f64 = 18.0;
/// From this factor between the fastest and the slowest run on the axis has equal factors.
const WIDE: f64 = 12.0;
/// Marks of single steps are drawn up to this many runs.
const MARKED: usize = 60;
/// Ticks and steps of one group; of more runs every so many.
const MOST: usize = 2000;

/// Returns where it ends.
pub(super) fn distribution(pen: &mut Pen, c: &Comparison, y: f64) -> f64 {
    let sides: Vec<(String, &Sample, Ink)> = words::names(c, &STYLE)
        .into_iter()
        .zip([&c.total.a, &c.total.b])
        .zip(SIDES)
        .filter_map(|((name, s), ink)| Some((STYLE.clean(&name).into_owned(), s.as_ref()?, ink)))
        .collect();
    let all = || sides.iter().flat_map(|(_, s, _)| s.values.iter().copied());
    let (low, high) = (all().fold(f64::MAX, f64::min).max(1.0), all().fold(1.0, f64::max));
    let log = high / low > WIDE;
    let axis = if log {
        Axis { from: low / 1.2, to: high * 1.2, left: LEFT, right: RIGHT, log }
    } else {
        Axis { from: 0.0, to: high * 1.05, left: LEFT, right: RIGHT, log }
    };
    let text = if log {
        "Every run: share of runs that took at most so long (axis in equal factors)"
    } else {
        "Every run: share of runs that took at most so long"
    };
    let top = heading(pen, text, y) + 6.0;
    let bottom = top + TALL;
    let end = bottom + sides.len() as f64 * TICKS + 6.0;
    axis.draw(pen, top, end, |v| round(v as u64));
    for (share, label) in [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")] {
        let y = bottom - TALL * share;
        pen.line((LEFT, y), (RIGHT, y), Ink::Grid, 1.0);
        pen.text((LEFT - 14.0, y + 4.0), Anchor::End, SMALL, Ink::Muted, label, 80.0);
    }
    for (i, (name, sample, ink)) in sides.iter().enumerate() {
        let y = bottom + 6.0 + i as f64 * TICKS;
        steps(pen, &axis, sample, *ink, i, bottom);
        ticks(pen, &axis, sample, *ink, y);
        mark(pen, (MARGIN + 6.0, y + TICKS / 2.0), *ink, i);
        pen.text(
            (MARGIN + 18.0, y + TICKS / 2.0 + 4.0),
            Anchor::Start,
            BODY,
            Ink::Text,
            name,
            LEFT - 14.0 - MARGIN - 18.0,
        );
    }
    end + 20.0
}

/// Filled for the first side, hollow for the second.
fn mark(pen: &mut Pen, (x, y): (f64, f64), ink: Ink, side: usize) {
    if side == 0 {
        pen.fill(x - 3.0, y - 3.0, 6.0, 6.0, ink);
    } else {
        pen.fill(x - 3.5, y - 3.5, 7.0, 7.0, Ink::Back);
        pen.0.push(Shape::Outline(Rect { x: x - 3.5, y: y - 3.5, w: 7.0, h: 7.0 }, ink, 1.6));
    }
}

fn steps(pen: &mut Pen, axis: &Axis, sample: &Sample, ink: Ink, side: usize, bottom: f64) {
    let count = sample.values.len();
    let y = |share: f64| bottom - TALL * share;
    let mut line = vec![(LEFT, bottom)];
    let mut marks = Vec::new();
    for (i, value) in sample.values.iter().enumerate() {
        if i % count.div_ceil(MOST) != 0 && i + 1 != count {
            continue;
        }
        let (x, last) = (axis.x(*value), line.last().map_or(bottom, |p| p.1));
        let share = y((i + 1) as f64 / count as f64);
        line.extend([(x, last), (x, share)]);
        marks.push((x, share));
    }
    line.push((RIGHT, y(1.0)));
    pen.0.push(Shape::Line(line, ink, 2.0));
    if count <= MARKED {
        marks.into_iter().for_each(|at| mark(pen, at, ink, side));
    }
}

fn ticks(pen: &mut Pen, axis: &Axis, sample: &Sample, ink: Ink, y: f64) {
    let every = sample.values.len().div_ceil(MOST);
    for value in sample.values.iter().step_by(every.max(1)) {
        let x = axis.x(*value);
        pen.group(time(*value), |pen| pen.line((x, y + 3.0), (x, y + TICKS - 3.0), ink, 1.2));
    }
}
