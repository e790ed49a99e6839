//! What the three charts share: sizes, colours, axes and whiskers.

use crate::analyze::compare::Phase;
use crate::report::picture::palette::Work;
use crate::report::picture::timeline::STYLE;
use crate::report::picture::{Anchor, Ink, Pen, WIDTH, font, ticks};
use crate::report::units;

pub(super) const MARGIN: f64 = 24.0;
pub(super) const TITLE: f64 = 20.0;
pub(super) const HEADING: f64 = 15.0;
pub(super) const BODY: f64 = 13.0;
pub(super) const SMALL: f64 = 11.5;
/// Where all plots begin and end.
pub(super) const LEFT: f64 = 190.0;
pub(super) const RIGHT: f64 = WIDTH - 40.0;
/// The sides' colours; their marks differ too.
pub(super) const SIDES: [Ink; 2] = [Ink::Work(Work::Run), Ink::Work(Work::Inflate)];

pub(super) fn heading(pen: &mut Pen, text: &str, y: f64) -> f64 {
    pen.text((MARGIN, y + HEADING), Anchor::Start, HEADING, Ink::Text, text, WIDTH - 2.0 * MARGIN);
    y + HEADING + 8.0
}

pub(super) fn time(ns: f64) -> String {
    units::precise(ns.max(0.0).round() as u64, &STYLE)
}

/// What a phase is called and painted by: its last name.
pub(super) fn name_of(phase: &Phase) -> String {
    let name = if phase.path.is_empty() { "whole run" } else { phase.name() };
    STYLE.clean(name).into_owned()
}

pub(super) fn work_of(phase: &Phase) -> Work {
    Work::of(phase.name())
}

/// From values to pixels, in equal steps or equal factors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) log: bool,
}

impl Axis {
    pub(super) fn x(&self, value: f64) -> f64 {
        let part = if self.log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.left + (self.right - self.left) * part.clamp(0.0, 1.0)
    }

    /// Round values.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if !self.log {
            return ticks(self.to, 8);
        }
        let decades = (self.to / self.from).log10();
        let factors: &[f64] = match decades {
            d if d > 6.0 => &[1.0],
            d if d > 3.0 => &[1.0, 3.0],
            _ => &[1.0, 2.0, 5.0],
        };
        let (first, last) = (self.from.log10().floor() as i32, self.to.log10().ceil() as i32);
        let all = (first..=last).flat_map(|p| factors.iter().map(move |f| f * 10f64.powi(p)));
        all.filter(|v| *v >= self.from * 0.999_999 && *v <= self.to * 1.000_001).collect()
    }

    /// Grid lines from `top` to `bottom` with labels below; a label that would touch the one before is left out.
    pub(super) fn draw(&self, pen: &mut Pen, top: f64, bottom: f64, label: impl Fn(f64) -> String) {
        let mut end = 0.0;
        for tick in self.ticks() {
            let x = self.x(tick);
            pen.line((x, top), (x, bottom), Ink::Grid, 1.0);
            let text = label(tick);
            let half = font::width(&text, SMALL) / 2.0;
            if x - half > end + 8.0 && x + half < WIDTH - 4.0 {
                pen.text((x, bottom + 14.0), Anchor::Middle, SMALL, Ink::Muted, &text, 2.0 * half + 1.0);
                end = x + half;
            }
        }
    }
}

/// A whisker: a line from `low` to `high` with ends.
pub(super) fn whisker(pen: &mut Pen, axis: &Axis, (low, high): (f64, f64), y: f64, tall: f64, ink: Ink) {
    let (from, to) = (axis.x(low), axis.x(high));
    pen.line((from, y), (to, y), ink, 1.4);
    for x in [from, to] {
        pen.line((x, y - tall / 2.0), (x, y + tall / 2.0), ink, 1.4);
    }
}
