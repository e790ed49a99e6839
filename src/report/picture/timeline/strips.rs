//! The strips below the rows: bytes on the wire and layers at work, on the time axis of the lanes.

use super::layout::{BODY, Columns, MARGIN, SMALL, STRIP};
use crate::analyze::{Analysis, steps};
use crate::report::picture::palette::Work;
use crate::report::picture::{Anchor, Ink, Pen, Shape, WIDTH};
use crate::report::units;

/// Heights that differ by less are one in two decimals.
const LEVEL: f64 = 0.005;

/// A quantity over time, one value for each pixel of the lane.
pub(super) struct Strip {
    name: &'static str,
    most: String,
    work: Work,
    values: Vec<f64>,
}

pub(super) fn strips(analysis: &Analysis<'_>, columns: &Columns) -> Vec<Strip> {
    let pixels = (columns.lane.1 - columns.lane.0) as usize;
    let peak = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let rate = steps::means(&steps::wire_rate(analysis), analysis.wall(), pixels);
    let layers = steps::greatest(&steps::active_layers(analysis), analysis.wall(), pixels);
    let rate = Strip { name: "on the wire", most: units::rate(peak(&rate)), work: Work::Network, values: rate };
    let most = units::count(peak(&layers) as u64, "layer");
    let layers = Strip { name: "layers at work", most, work: Work::Pull, values: layers };
    [rate, layers].into_iter().filter(|s| peak(&s.values) > 0.0).collect()
}

pub(super) fn one_strip(pen: &mut Pen, strip: &Strip, columns: &Columns, y: f64) {
    let (left, right) = columns.lane;
    let peak = strip.values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let most = format!("at most {}", strip.most);
    pen.group(format!("{}: {most}", strip.name), |pen| {
        let height = |value: f64| y + STRIP - (STRIP - 4.0) * value / peak;
        let width = (right - left) / strip.values.len().max(1) as f64;
        let mut line = vec![(left, y + STRIP)];
        for (i, value) in strip.values.iter().enumerate() {
            let x = left + i as f64 * width;
            line.extend([(x, height(*value)), (x + width, height(*value))]);
        }
        line.push((right, y + STRIP));
        pen.0.push(Shape::Area(corners(line), Ink::Work(strip.work)));
        pen.line((left, y + STRIP), (right, y + STRIP), Ink::Muted, 1.0);
        let x = left - 12.0;
        pen.text((x, y + STRIP / 2.0 + 4.0), Anchor::End, BODY, Ink::Text, strip.name, x - MARGIN);
        let x = right + 10.0;
        pen.text((x, y + 12.0), Anchor::Start, SMALL, Ink::Muted, &most, WIDTH - MARGIN - x);
        pen.text((x, y + STRIP), Anchor::Start, SMALL, Ink::Muted, "0", 60.0);
    });
}

/// Without the points in the middle of a level segment.
fn corners(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = Vec::new();
    for point in points {
        if let [.., (_, y0), last] = out.as_mut_slice()
            && (*y0 - point.1).abs() < LEVEL
            && (last.1 - point.1).abs() < LEVEL
        {
            *last = point;
        } else {
            out.push(point);
        }
    }
    out
}
