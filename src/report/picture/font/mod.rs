//! The one font of all pictures, and how wide text in it is.
//!
//! It is part of the program, so that a picture looks the same on a machine without fonts. SVG is shown by a browser
//! with whatever it has; there each text carries the width measured here (`textLength`), so that nothing can run out of
//! its box.

use std::borrow::Cow;
use std::sync::LazyLock;

use ab_glyph::{Font as _, FontRef, Glyph, Point, PxScale};
use unicode_width::UnicodeWidthChar;

use crate::report::text::words;

static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(include_bytes!("DejaVuSansCondensed-subset.ttf")).expect("the embedded font is a font")
});

/// Advance of a character in em. What the font doesn't have counts as the square or half square that another font will
/// draw.
fn advance(c: char) -> f64 {
    let font = &*FONT;
    let id = font.glyph_id(c);
    if id.0 == 0 {
        return c.width().unwrap_or(0) as f64 * 0.6;
    }
    f64::from(font.h_advance_unscaled(id)) / units_per_em()
}

fn units_per_em() -> f64 {
    f64::from(FONT.units_per_em().unwrap_or(2048.0))
}

/// Width of a text in pixels at a font size in pixels.
pub fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

/// The text cut to at most `room` pixels, ending in `…` if something is missing. Empty if not even that fits.
pub fn fit(text: &str, size: f64, room: f64) -> Cow<'_, str> {
    if width(text, size) <= room {
        return Cow::Borrowed(text);
    }
    let mut left = room - width("…", size);
    if left < 0.0 {
        return Cow::Borrowed("");
    }
    let mut out = String::new();
    for c in text.chars() {
        left -= advance(c) * size;
        if left < 0.0 {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out.push('…');
    Cow::Owned(out)
}

/// As many of `parts` as fit, with `joiner` between; `…` stands for those that don't.
pub fn fit_parts(parts: &[String], joiner: &str, size: f64, room: f64) -> String {
    let whole = parts.join(joiner);
    if width(&whole, size) <= room {
        return whole;
    }
    for count in (1..parts.len()).rev() {
        let some = parts[..count].join(joiner) + " …";
        if width(&some, size) <= room {
            return some;
        }
    }
    parts.first().map(|p| fit(p, size, room).into_owned()).unwrap_or_default()
}

/// A sentence in at most `lines` lines of at most `room` pixels; a word that is too long is broken.
pub fn wrap(sentence: &str, size: f64, room: f64, lines: usize) -> Vec<String> {
    let mut out = vec![String::new()];
    for word in words(sentence).into_iter().filter(|w| !w.is_empty()).flat_map(|w| pieces(&w, size, room)) {
        let full = out.len() >= lines;
        let line = out.last_mut().expect("never empty");
        if line.is_empty() {
            line.push_str(&word);
        } else if full || width(line, size) + width(" ", size) + width(&word, size) <= room {
            line.push(' ');
            line.push_str(&word);
        } else {
            out.push(word);
        }
    }
    out.iter().map(|line| fit(line, size, room).into_owned()).collect()
}

fn pieces(word: &str, size: f64, room: f64) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut used = 0.0;
    for c in word.chars() {
        let next = advance(c) * size;
        if used + next > room && used > 0.0 {
            out.push(String::new());
            used = 0.0;
        }
        used += next;
        out.last_mut().expect("never empty").push(c);
    }
    out
}

/// Calls `dot` with x, y and coverage (0 to 1) of each pixel of a text whose baseline begins at `x`, `y`.
pub fn raster(text: &str, size: f64, x: f64, y: f64, mut dot: impl FnMut(i32, i32, f64)) {
    let font = &*FONT;
    // ab_glyph's scale is the height from ascent to descent, not the em.
    let scale = PxScale::from((size * f64::from(font.height_unscaled()) / units_per_em()) as f32);
    let mut at = x;
    for c in text.chars() {
        let glyph = Glyph { id: font.glyph_id(c), scale, position: Point { x: at as f32, y: y as f32 } };
        at += advance(c) * size;
        if let Some(outline) = font.outline_glyph(glyph) {
            let bounds = outline.px_bounds();
            let (left, top) = (bounds.min.x as i32, bounds.min.y as i32);
            outline.draw(|dx, dy, coverage| dot(left + dx as i32, top + dy as i32, f64::from(coverage)));
        }
    }
}

#[cfg(test)]
mod tests;
