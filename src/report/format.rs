//! Every form in which a run, a comparison or a bench is written: one list for `--format`, for the ending of `-o FILE`
//! and for the renderers.

use std::path::Path;

/// A form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A run: the rows that matter, with bars ([`waterfall`](super::terminal::waterfall)).
    Short,
    /// A run: one row for each span, with bars.
    Waterfall,
    /// A run: every span with all that it carries ([`tree`](super::terminal::tree)).
    Tree,
    /// A run: time by span name ([`blame`](super::terminal::blame)).
    Blame,
    /// A run: what waited for what ([`critical`](super::terminal::critical)).
    Critical,
    /// A run in two or three lines ([`summary`](super::terminal::summary)).
    Summary,
    /// A comparison or a bench for people ([`compare::text`](super::compare::text)).
    Text,
    /// A comparison or a bench as Markdown tables ([`compare::markdown`](super::compare::markdown)).
    Markdown,
    /// For programs ([`json`](super::json), [`compare::json`](super::compare::json)).
    Json,
    /// A picture that scales and follows the reader's light or dark theme ([`svg`](super::picture::svg)).
    Svg,
    /// The same picture as pixels ([`png`](super::picture::png)).
    Png,
    /// One interactive page that needs no other file ([`html`](super::html)).
    Html,
}

impl Format {
    /// What `trace show --format` offers, in the order in which help lists it.
    pub const OF_RUN: [Format; 10] = [
        Format::Short,
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

    /// What `trace compare --format` offers.
    pub const OF_COMPARISON: [Format; 6] =
        [Format::Text, Format::Json, Format::Markdown, Format::Svg, Format::Png, Format::Html];

    /// What `trace bench -o FILE` writes.
    pub const OF_BENCH: [Format; 2] = [Format::Markdown, Format::Json];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Short => "short",
            Format::Waterfall => "waterfall",
            Format::Tree => "tree",
            Format::Blame => "blame",
            Format::Critical => "critical",
            Format::Summary => "summary",
            Format::Text => "text",
            Format::Markdown => "markdown",
            Format::Json => "json",
            Format::Svg => "svg",
            Format::Png => "png",
            Format::Html => "html",
        }
    }

    /// The names of `formats`, for the parser of the command line.
    pub fn names<const N: usize>(formats: [Format; N]) -> [&'static str; N] {
        formats.map(Format::name)
    }

    /// The one of `formats` that has this name.
    pub fn named(name: &str, formats: &[Format]) -> Option<Format> {
        formats.iter().copied().find(|format| format.name() == name)
    }

    /// The one of `formats` that the ending of a file name asks for.
    pub fn of_file(path: &Path, formats: &[Format]) -> Option<Format> {
        Format::of_ending(path.extension()?).filter(|format| formats.contains(format))
    }

    /// What an ending asks for, `txt` or `svg`.
    pub fn of_ending(ending: &std::ffi::OsStr) -> Option<Format> {
        Some(match ending.to_str()?.to_ascii_lowercase().as_str() {
            "txt" => Format::Text,
            "md" => Format::Markdown,
            "json" => Format::Json,
            "svg" => Format::Svg,
            "png" => Format::Png,
            "html" | "htm" => Format::Html,
            _ => return None,
        })
    }

    /// What the ending of a file asks for when a run is written to it; the waterfall for other endings and none.
    pub fn of_run_file(path: &Path) -> Format {
        Format::of_file(path, &Format::OF_RUN).unwrap_or(Format::Waterfall)
    }

    /// Whether a terminal can do nothing with it.
    pub fn is_binary(self) -> bool {
        self == Format::Png
    }
}
