//! How wide, how colourful and in which characters text is written.

use super::text;

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
    /// The width where there is no terminal and nobody has named one.
    pub const NO_TERMINAL: usize = usize::MAX;

    /// ASCII without colours, 80 columns.
    pub const PLAIN: Style = Style { width: 80, color: false, unicode: false };

    /// Columns that a line may take.
    pub fn columns(&self) -> usize {
        if self.width == Self::NO_TERMINAL { 100 } else { self.width.max(40) }
    }

    /// Columns that a line of a table may take: where no terminal shows it, a program reads it, and nothing is cut.
    pub fn table_columns(&self) -> usize {
        if self.width == Self::NO_TERMINAL { usize::MAX / 4 } else { self.columns() }
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
