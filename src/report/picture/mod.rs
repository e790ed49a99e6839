//! Pictures as shapes, before they are SVG or PNG.
//!
//! [`timeline`] lays out one run, [`font`] measures its text, [`palette`] has its colours; [`svg`] and [`png`] turn the
//! [`Scene`] into bytes. Both draw the same shapes, so what is true of one picture is true of the other.

pub mod charts;
pub mod font;
pub mod palette;
pub mod png;
pub mod svg;
pub mod timeline;

#[cfg(test)]
mod tests;

use palette::{Shades, Work};

/// Width of all pictures, in pixels at 100 %.
pub const WIDTH: f64 = 1200.0;

/// A picture: shapes in the order in which they are painted. Lengths are pixels, y grows downwards.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Height; the width is [`WIDTH`].
    pub height: f64,
    /// What it is, for those who cannot see it and as the window's title.
    pub title: String,
    /// What it says, in a sentence or two.
    pub description: String,
    /// The shapes.
    pub shapes: Vec<Shape>,
}

/// What something is painted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// See [`palette::BACK`].
    Back,
    /// See [`palette::PANEL`].
    Panel,
    /// See [`palette::TEXT`].
    Text,
    /// See [`palette::MUTED`].
    Muted,
    /// See [`palette::GRID`].
    Grid,
    /// See [`palette::FAILED`].
    Failed,
    /// A kind of work, hatched where it fills an area.
    Work(Work),
}

impl Ink {
    /// The colours.
    pub fn shades(self) -> Shades {
        match self {
            Ink::Back => palette::BACK,
            Ink::Panel => palette::PANEL,
            Ink::Text => palette::TEXT,
            Ink::Muted => palette::MUTED,
            Ink::Grid => palette::GRID,
            Ink::Failed => palette::FAILED,
            Ink::Work(work) => work.shades(),
        }
    }

    /// As a class and the name of a CSS variable.
    pub fn class(self) -> &'static str {
        match self {
            Ink::Back => "back",
            Ink::Panel => "panel",
            Ink::Text => "text",
            Ink::Muted => "muted",
            Ink::Grid => "grid",
            Ink::Failed => "failed",
            Ink::Work(work) => work.class(),
        }
    }
}

/// Left, top, width, height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub w: f64,
    /// Height.
    pub h: f64,
}

/// Which point of a text its position names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its start.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// One shape.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A filled rectangle.
    Fill(Rect, Ink),
    /// The outline of a rectangle, drawn inside it, of a width in pixels.
    Outline(Rect, Ink, f64),
    /// A line through points, of a width in pixels.
    Line(Vec<(f64, f64)>, Ink, f64),
    /// The area inside a closed line.
    Area(Vec<(f64, f64)>, Ink),
    /// A text on one line.
    Text(Text),
    /// Shapes that belong together, with what to say of them where somebody points at them.
    Group(String, Vec<Shape>),
}

/// A text on one line. What is drawn is never wider than the room it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// Left edge, middle or right edge by the anchor.
    pub x: f64,
    /// Baseline.
    pub y: f64,
    /// Font size in pixels.
    pub size: f64,
    /// See there.
    pub anchor: Anchor,
    /// Colour.
    pub ink: Ink,
    /// What is drawn.
    pub text: String,
    /// Its width in pixels.
    pub width: f64,
}

impl Text {
    /// Left and right edge.
    pub fn span(&self) -> (f64, f64) {
        let left = match self.anchor {
            Anchor::Start => self.x,
            Anchor::Middle => self.x - self.width / 2.0,
            Anchor::End => self.x - self.width,
        };
        (left, left + self.width)
    }
}

/// Puts shapes into a list.
#[derive(Debug, Default)]
pub struct Pen(pub Vec<Shape>);

impl Pen {
    /// A filled rectangle.
    pub fn fill(&mut self, x: f64, y: f64, w: f64, h: f64, ink: Ink) {
        self.0.push(Shape::Fill(Rect { x, y, w, h }, ink));
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, width: f64) {
        self.0.push(Shape::Line(vec![from, to], ink, width));
    }

    /// A text cut to `room`; gives the width that it takes.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, size: f64, ink: Ink, text: &str, room: f64) -> f64 {
        let text = font::fit(text, size, room).into_owned();
        let width = font::width(&text, size);
        if !text.is_empty() {
            self.0.push(Shape::Text(Text { x: at.0, y: at.1, size, anchor, ink, text, width }));
        }
        width
    }

    /// What `draw` draws, as a group with a title.
    pub fn group(&mut self, title: String, draw: impl FnOnce(&mut Pen)) {
        let mut inner = Pen::default();
        draw(&mut inner);
        self.0.push(Shape::Group(title, inner.0));
    }
}

/// Round numbers for an axis from 0 to `end` (positive): at most `most` steps of 1, 2 or 5 times a power of ten.
pub fn ticks(end: f64, most: usize) -> Vec<f64> {
    if !(end.is_finite() && end > 0.0) {
        return vec![0.0];
    }
    let least = end / most.max(1) as f64;
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= least * 0.999_999).unwrap_or(end);
    (0..).map(|i| f64::from(i) * step).take_while(|t| *t <= end * 1.000_001).collect()
}
