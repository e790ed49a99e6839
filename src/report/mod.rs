//! What people read: a trace in, text or a picture out. Nothing here prints.
//!
//! Reading order: [`waterfall`] with its [`rows`], their [`detail`] and the closing [`finding`]; the smaller formats
//! [`tree`], [`blame`], [`critical`], [`json`], [`summary`], [`list`]; what they share, [`units`] and [`text`]. Then the
//! [`picture`] of the same rows, as [`svg`] and [`png`], and the interactive [`html`].
//!
//! Names, attributes and messages may come from strangers: all text from a trace goes through [`text::clean`] on its
//! way out, so that no file can steer the reader's terminal.

pub mod bench;
pub mod compare;
pub mod detail;
pub mod finding;
pub mod html;
pub mod json;
pub mod picture;
pub mod rows;
pub mod terminal;
pub mod text;
pub mod units;

#[cfg(test)]
mod tests;

use crate::analyze::Analysis;
use crate::record::model::Trace;

use picture::{png, svg};
use terminal::{blame, critical, summary, tree, waterfall};

/// How text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns that a line may take; less than 40 counts as 40.
    pub width: usize,
    /// Whether escape sequences for colours are written.
    pub color: bool,
    /// Whether anything but ASCII is written.
    pub unicode: bool,
}

impl Style {
    /// ASCII without colours, 80 columns.
    pub const PLAIN: Style = Style { width: 80, color: false, unicode: false };

    pub(crate) fn columns(&self) -> usize {
        self.width.max(40)
    }

    /// `text` in the colour `code` (an SGR parameter such as `33`), if colours are wanted.
    pub(crate) fn paint(&self, out: &mut String, code: &str, text: &str) {
        if self.color && !text.is_empty() && !code.is_empty() {
            out.push_str("\x1b[");
            out.push_str(code);
            out.push('m');
            out.push_str(text);
            out.push_str("\x1b[0m");
        } else {
            out.push_str(text);
        }
    }

    /// `text` from a trace, safe for a terminal.
    pub(crate) fn clean<'t>(&self, text: &'t str) -> std::borrow::Cow<'t, str> {
        text::clean(text, self.unicode)
    }

    /// The dot between facts.
    pub(crate) fn dot(&self) -> &'static str {
        if self.unicode { " · " } else { " | " }
    }

    /// From one size to another.
    pub(crate) fn arrow(&self) -> &'static str {
        if self.unicode { " → " } else { " -> " }
    }
}

impl Default for Style {
    /// Unicode without colours, 80 columns.
    fn default() -> Self {
        Style { width: 80, color: false, unicode: true }
    }
}

/// SGR codes. Never the only carrier of a meaning: marks and shades say the same.
pub(crate) mod sgr {
    pub(crate) const BOLD: &str = "1";
    pub(crate) const DIM: &str = "2";
    pub(crate) const FAILED: &str = "31";
    pub(crate) const CRITICAL: &str = "33";
    pub(crate) const ASIDE: &str = "36";
}

/// The formats of `trace show --format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One row a span with bars: [`waterfall`].
    Waterfall,
    /// Every span with everything it carries: [`tree`].
    Tree,
    /// Time by span name: [`blame`].
    Blame,
    /// The chain of what waited for what: [`critical`].
    Critical,
    /// Trace and analysis for programs: [`json`].
    Json,
    /// Two or three lines: [`summary`].
    Summary,
    /// The waterfall as a picture that scales and follows light and dark: [`svg`].
    Svg,
    /// The same as pixels: [`png`].
    Png,
    /// One interactive page that needs nothing else: [`html`].
    Html,
}

impl Format {
    /// All, in the order in which help lists them.
    pub const ALL: [Format; 9] = [
        Format::Waterfall,
        Format::Tree,
        Format::Blame,
        Format::Critical,
        Format::Json,
        Format::Summary,
        Format::Svg,
        Format::Png,
        Format::Html,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Waterfall => "waterfall",
            Format::Tree => "tree",
            Format::Blame => "blame",
            Format::Critical => "critical",
            Format::Json => "json",
            Format::Summary => "summary",
            Format::Svg => "svg",
            Format::Png => "png",
            Format::Html => "html",
        }
    }

    /// The format of a name.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|f| f.name() == name)
    }

    /// The format that a file's ending asks for; the waterfall for other endings and none.
    pub fn of_file(path: &std::path::Path) -> Format {
        let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        match ending.as_deref() {
            Some("svg") => Format::Svg,
            Some("png") => Format::Png,
            Some("html" | "htm") => Format::Html,
            Some("json") => Format::Json,
            _ => Format::Waterfall,
        }
    }

    /// Whether a terminal can do nothing with it.
    pub fn is_binary(self) -> bool {
        self == Format::Png
    }
}

/// The trace in a format, as the bytes of a file; text ends with a line break. A trace without spans gives nothing.
pub fn render(trace: &Trace, format: Format, style: &Style) -> Vec<u8> {
    let Some(analysis) = Analysis::of(trace) else { return Vec::new() };
    let text = match format {
        Format::Waterfall => waterfall::waterfall(trace, &analysis, style),
        Format::Tree => tree::tree(trace, &analysis, style),
        Format::Blame => blame::blame(&analysis, style),
        Format::Critical => critical::critical(&analysis, style),
        Format::Json => json::json(trace, &analysis),
        Format::Summary => summary::summary(trace, &analysis, style),
        Format::Svg => svg::svg(&picture::timeline::timeline(trace, &analysis)),
        Format::Html => html::run(trace, &analysis),
        Format::Png => return png::png(&picture::timeline::timeline(trace, &analysis)),
    };
    text.into_bytes()
}
