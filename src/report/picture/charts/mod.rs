//! Two groups of runs as a picture: their phases one above the other on one axis, every run as a tick under the distribution
//! of its group, and each phase's ratio with its interval.

mod distribution;
mod phases;
mod ratios;

use super::{Anchor, Ink, Pen, Scene, WIDTH, font};
use crate::analyze::compare::{Comparison, Phase};
use crate::report::compare::words;
use crate::report::picture::palette::Work;
use crate::report::picture::timeline::STYLE;
use crate::report::units;

const MARGIN: f64 = 24.0;
const TITLE: f64 = 20.0;
const HEADING: f64 = 15.0;
const BODY: f64 = 13.0;
const SMALL: f64 = 11.5;
/// Where all plots begin and end.
const LEFT: f64 = 190.0;
const RIGHT: f64 = WIDTH - 40.0;
/// The sides' colours; their marks differ too.
const SIDES: [Ink; 2] = [Ink::Work(Work::Run), Ink::Work(Work::Inflate)];

/// The picture.
pub fn charts(c: &Comparison) -> Scene {
    let mut pen = Pen::default();
    let title = format!("{} against {}", STYLE.clean(&c.a.label), STYLE.clean(&c.b.label));
    let findings = words::findings(c, &STYLE);
    let mut y = header(&mut pen, c, &title, &findings);
    y = phases::phases(&mut pen, c, y + 14.0);
    y = distribution::distribution(&mut pen, c, y + 26.0);
    y = ratios::ratios(&mut pen, c, y + 26.0);
    y = notes(&mut pen, c, y + 14.0);
    Scene { height: y + MARGIN / 2.0, title, description: findings.join(" "), shapes: pen.0 }
}

/// Gives where it ends.
fn header(pen: &mut Pen, c: &Comparison, title: &str, findings: &[String]) -> f64 {
    let room = WIDTH - 2.0 * MARGIN;
    pen.group(title.to_owned(), |pen| {
        pen.text((MARGIN, 36.0), Anchor::Start, TITLE, Ink::Text, title, room);
    });
    let mut y = 38.0;
    for sentence in findings {
        y = paragraph(pen, sentence, Ink::Text, y);
    }
    let both = [(&c.a, &c.total.a), (&c.b, &c.total.b)];
    for ((group, total), name) in both.into_iter().zip(words::names(c, &STYLE)) {
        let runs = units::count(group.runs.len() as u64, "run");
        let mut parts = vec![STYLE.clean(&name).into_owned(), runs];
        if let Some(total) = total {
            parts.push(format!("median {}", time(total.median)));
            parts.extend(words::interval_of_times(total.interval, &STYLE).map(|i| format!("95 % {i}")));
        }
        parts.extend(group.variation.map(|v| format!("± {:.0} %", v * 100.0)));
        y = paragraph(pen, &parts.join(" · "), Ink::Muted, y);
    }
    y
}

fn notes(pen: &mut Pen, c: &Comparison, y: f64) -> f64 {
    let mut y = y;
    for warning in words::warnings(c, &STYLE) {
        y = paragraph(pen, &format!("▲ {warning}"), Ink::Text, y);
    }
    paragraph(pen, &words::legend(c, &STYLE), Ink::Muted, y)
}

/// A text over as many lines as it needs; gives the last baseline.
fn paragraph(pen: &mut Pen, text: &str, ink: Ink, y: f64) -> f64 {
    let room = WIDTH - 2.0 * MARGIN;
    let mut y = y;
    for line in font::wrap(text, BODY, room, 8) {
        y += 19.0;
        pen.text((MARGIN, y), Anchor::Start, BODY, ink, &line, room);
    }
    y
}

fn heading(pen: &mut Pen, text: &str, y: f64) -> f64 {
    pen.text((MARGIN, y + HEADING), Anchor::Start, HEADING, Ink::Text, text, WIDTH - 2.0 * MARGIN);
    y + HEADING + 8.0
}

fn time(ns: f64) -> String {
    units::precise(ns.max(0.0).round() as u64, &STYLE)
}

/// What a phase is called and painted by: its last name.
fn name_of(phase: &Phase) -> String {
    let name = if phase.path.is_empty() { "whole run" } else { phase.name() };
    STYLE.clean(name).into_owned()
}

fn work_of(phase: &Phase) -> Work {
    Work::of(phase.name())
}

/// From values to pixels, in equal steps or equal factors.
#[derive(Clone, Copy, Debug)]
struct Axis {
    from: f64,
    to: f64,
    left: f64,
    right: f64,
    log: bool,
}

impl Axis {
    fn x(&self, value: f64) -> f64 {
        let part = if self.log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.left + (self.right - self.left) * part.clamp(0.0, 1.0)
    }

    /// Round values.
    fn ticks(&self) -> Vec<f64> {
        if !self.log {
            return super::ticks(self.to, 8);
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
    fn draw(&self, pen: &mut Pen, top: f64, bottom: f64, label: impl Fn(f64) -> String) {
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
fn whisker(pen: &mut Pen, axis: &Axis, (low, high): (f64, f64), y: f64, tall: f64, ink: Ink) {
    let (from, to) = (axis.x(low), axis.x(high));
    pen.line((from, y), (to, y), ink, 1.4);
    for x in [from, to] {
        pen.line((x, y - tall / 2.0), (x, y + tall / 2.0), ink, 1.4);
    }
}
