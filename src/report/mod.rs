//! What people read: a trace in, text or a picture out. Nothing here prints.
//!
//! Reading order: [`waterfall`] with its [`rows`], their [`detail`] and the closing [`finding`]; the smaller formats
//! [`tree`], [`blame`], [`critical`], [`json`], [`summary`], [`list`]; what they share, [`units`] and [`text`]. Then
//! the [`picture`] of the same rows, as [`svg`] and [`png`], and the interactive [`html`].
//!
//! Names, attributes and messages may come from strangers: all text from a trace goes through [`text::clean`] on its
//! way out, so that no file can steer the reader's terminal.

pub mod bench;
pub mod compare;
pub mod detail;
pub mod finding;
pub mod format;
pub mod html;
pub mod json;
pub mod picture;
pub mod rows;
pub mod style;
pub mod terminal;
pub mod text;
pub mod title;
pub mod units;

#[cfg(test)]
mod tests;

use crate::analyze::Analysis;
use crate::record::model::Trace;

pub use format::Format;
use rows::Extent;
pub use style::Style;
pub(crate) use style::sgr;

use picture::{png, svg};
use terminal::{blame, critical, summary, tree, waterfall};

/// The trace in a format, as the bytes of a file; text ends with a line break. A trace without spans gives nothing.
pub fn render(trace: &Trace, format: Format, style: &Style) -> Vec<u8> {
    let Some(analysis) = Analysis::of(trace) else { return Vec::new() };
    let text = match format {
        // A run has no tables of its own: as text it is the waterfall.
        Format::Short => waterfall::waterfall(trace, &analysis, style, Extent::Short),
        Format::Waterfall | Format::Text | Format::Markdown => {
            waterfall::waterfall(trace, &analysis, style, Extent::Full)
        }
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
