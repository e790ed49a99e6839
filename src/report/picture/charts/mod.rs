//! Two groups of runs as a picture: their phases one above the other on one axis, every run as a tick under the
//! distribution of its group, and each phase's ratio with its interval.

mod axis;
mod distribution;
mod phases;
mod ratios;

use self::axis::{BODY, MARGIN, TITLE, time};
use super::{Anchor, Ink, Pen, Scene, WIDTH, font};
use crate::analyze::compare::Comparison;
use crate::report::compare::words;
use crate::report::picture::timeline::STYLE;
use crate::report::units;

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

/// Returns where it ends.
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

/// A text over as many lines as it needs; returns the last baseline.
fn paragraph(pen: &mut Pen, text: &str, ink: Ink, y: f64) -> f64 {
    let room = WIDTH - 2.0 * MARGIN;
    let mut y = y;
    for line in font::wrap(text, BODY, room, 8) {
        y += 19.0;
        pen.text((MARGIN, y), Anchor::Start, BODY, ink, &line, room);
    }
    y
}
