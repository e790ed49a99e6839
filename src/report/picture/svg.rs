//! A [`Scene`] as SVG, written as markup.
//!
//! Colours are CSS variables that follow the reader's light or dark setting, and are light in print. Titles say in full
//! what is cut in the picture. Each text has its measured width, so that it keeps to its box in whatever font there is.

use std::fmt::Write;

use super::palette::{Hatch, Work};
use super::{Anchor, Ink, Scene, Shape, Text, WIDTH};

const INKS: [Ink; 6] = [Ink::Back, Ink::Panel, Ink::Text, Ink::Muted, Ink::Grid, Ink::Failed];
/// Fonts about as wide as the one that was measured.
const FONTS: &str = "'DejaVu Sans Condensed',Arial,'Liberation Sans',Helvetica,sans-serif";

/// The file; ends with a line break.
pub fn svg(scene: &Scene) -> String {
    let mut out = String::with_capacity(16_384);
    let height = number(scene.height.ceil());
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"trace\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\">\n<title>{0}</title>\n<desc>{1}</desc>",
        escape(&scene.title),
        escape(&scene.description)
    );
    style(&mut out, scene);
    let _ = writeln!(out, "<rect class=\"back\" width=\"100%\" height=\"100%\"/>");
    shapes(&mut out, &scene.shapes);
    out.push_str("</svg>\n");
    out
}

/// `--network:#00609a;…` for all inks, light or dark.
pub(crate) fn variables(dark: bool) -> String {
    let inks = INKS.into_iter().chain(Work::ALL.map(Ink::Work));
    inks.fold(String::new(), |mut out, ink| {
        let shades = ink.shades();
        let _ = write!(out, "--{}:#{:06x};", ink.class(), if dark { shades.dark } else { shades.light });
        out
    })
}

/// `--network` and so on.
pub(crate) fn variable_names() -> impl Iterator<Item = String> {
    INKS.into_iter().chain(Work::ALL.map(Ink::Work)).map(|ink| format!("--{}", ink.class()))
}

/// Colours, and the hatchings that the picture uses.
fn style(out: &mut String, scene: &Scene) {
    let (light, dark) = (variables(false), variables(true));
    let mut used = Vec::new();
    inks(&scene.shapes, &mut used);
    let _ = write!(
        out,
        "<style>\n.trace{{{light}color-scheme:light dark;font-family:{FONTS}}}\n\
         @media (prefers-color-scheme:dark){{.trace{{{dark}}}}}\n@media print{{.trace{{{light}}}}}\n"
    );
    for ink in INKS.into_iter().chain(Work::ALL.map(Ink::Work)).filter(|i| *i == Ink::Back || used.contains(i)) {
        // The plain colour first is for programs that know no variables.
        let (class, rgb) = (ink.class(), ink.shades().light);
        let _ = write!(out, ".trace .{class}{{fill:#{rgb:06x};fill:var(--{class})}}");
        let _ = writeln!(out, ".trace .l-{class}{{fill:none;stroke:#{rgb:06x};stroke:var(--{class})}}");
    }
    out.push_str(".trace .hatch{fill:none;stroke:#fff;stroke:var(--back);stroke-opacity:.55}\n</style>\n<defs>");
    for work in Work::ALL.into_iter().filter(|w| w.hatch() != Hatch::Plain && used.contains(&Ink::Work(*w))) {
        let (size, path) = hatch_path(work.hatch());
        let class = work.class();
        let _ = write!(
            out,
            "<pattern id=\"h-{class}\" width=\"{size}\" height=\"{size}\" patternUnits=\"userSpaceOnUse\">\
             <rect class=\"{class}\" width=\"{size}\" height=\"{size}\"/><path class=\"hatch\" d=\"{path}\"/></pattern>"
        );
    }
    out.push_str("</defs>\n");
}

fn inks(shapes: &[Shape], used: &mut Vec<Ink>) {
    for shape in shapes {
        let ink = match shape {
            Shape::Fill(_, ink) | Shape::Outline(_, ink, _) | Shape::Line(_, ink, _) | Shape::Area(_, ink) => *ink,
            Shape::Text(text) => text.ink,
            Shape::Group(_, inner) => {
                inks(inner, used);
                continue;
            }
        };
        if !used.contains(&ink) {
            used.push(ink);
        }
    }
}

/// Size of a tile and the lines in it.
fn hatch_path(hatch: Hatch) -> (u32, &'static str) {
    match hatch {
        Hatch::Plain => (6, ""),
        Hatch::Rising => (6, "M-1 1l2-2M0 6l6-6M5 7l2-2"),
        Hatch::Falling => (6, "M-1 5l2 2M0 0l6 6M5-1l2 2"),
        Hatch::Level => (4, "M0 1.5h4"),
        Hatch::Upright => (4, "M1.5 0v4"),
        Hatch::Dots => (4, "M1 1.5h1.4M3 3.5h1"),
    }
}

fn shapes(out: &mut String, all: &[Shape]) {
    for shape in all {
        let _ = match shape {
            Shape::Fill(r, ink) => {
                let paint = match ink {
                    // Hatching of what is hardly wider than a line only blurs it.
                    Ink::Work(work) if work.hatch() != Hatch::Plain && r.w >= 6.0 => {
                        format!("fill=\"url(#h-{})\"", work.class())
                    }
                    _ => format!("class=\"{}\"", ink.class()),
                };
                let (x, y, w, h) = (number(r.x), number(r.y), number(r.w), number(r.h));
                writeln!(out, "<rect {paint} x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"/>")
            }
            Shape::Outline(r, ink, width) => {
                let (x, y) = (number(r.x + width / 2.0), number(r.y + width / 2.0));
                let (w, h) = (number((r.w - width).max(0.01)), number((r.h - width).max(0.01)));
                let class = ink.class();
                writeln!(
                    out,
                    "<rect class=\"l-{class}\" stroke-width=\"{width}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"/>"
                )
            }
            Shape::Line(points, ink, width) => {
                writeln!(out, "<path class=\"l-{}\" stroke-width=\"{width}\" d=\"{}\"/>", ink.class(), path(points))
            }
            Shape::Area(points, ink) => writeln!(out, "<path class=\"{}\" d=\"{}Z\"/>", ink.class(), path(points)),
            Shape::Text(text) => one_text(out, text),
            Shape::Group(title, inner) => {
                let _ = writeln!(out, "<g><title>{}</title>", escape(title));
                shapes(out, inner);
                writeln!(out, "</g>")
            }
        };
    }
}

fn one_text(out: &mut String, text: &Text) -> std::fmt::Result {
    let anchor = match text.anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    };
    // One sign has no gaps to spread.
    let length = match text.text.chars().nth(1) {
        Some(_) => format!(" textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\"", number(text.width)),
        None => String::new(),
    };
    writeln!(
        out,
        "<text class=\"{}\" x=\"{}\" y=\"{}\" font-size=\"{}\"{anchor}{length}>{}</text>",
        text.ink.class(),
        number(text.x),
        number(text.y),
        text.size,
        escape(&text.text)
    )
}

/// `M0 1H5V3`: straight steps are written short.
fn path(points: &[(f64, f64)]) -> String {
    let mut out = String::new();
    let mut last: Option<(String, String)> = None;
    for (x, y) in points {
        let (x, y) = (number(*x), number(*y));
        let _ = match &last {
            None => write!(out, "M{x} {y}"),
            Some((lx, ly)) if *lx == x && *ly == y => continue,
            Some((lx, _)) if *lx == x => write!(out, "V{y}"),
            Some((_, ly)) if *ly == y => write!(out, "H{x}"),
            Some(_) => write!(out, "L{x} {y}"),
        };
        last = Some((x, y));
    }
    out
}

/// At most two decimals, no trailing zeros.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Text for XML: markup and what XML 1.0 forbids are written out.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            c if crate::report::text::is_unprintable(c) || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                out.extend(c.escape_unicode())
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(escape("</title><script>'\"&"), "&lt;/title&gt;&lt;script&gt;&#39;&quot;&amp;");
        assert_eq!(escape("\u{1b}\u{0}\u{202e}\u{ffff}"), "\\u{1b}\\u{0}\\u{202e}\\u{ffff}");
    }

    #[test]
    fn numbers_and_paths_are_short() {
        assert_eq!([1.0, 0.5, 1.0 / 3.0, -0.001].map(number), ["1", "0.5", "0.33", "0"]);
        assert_eq!(path(&[(0.0, 1.0), (5.0, 1.0), (5.0, 1.0), (5.0, 3.0), (6.0, 4.0)]), "M0 1H5V3L6 4");
    }
}
