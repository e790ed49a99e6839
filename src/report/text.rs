//! Text from outside, made safe for a terminal, and cut to a width in columns.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

pub(super) use crate::net::text::is_unprintable;

/// `text` with everything unsafe written out as an escape, e.g. `\u{1b}`. Without `unicode` everything that is not
/// ASCII becomes `?`.
pub fn clean(text: &str, unicode: bool) -> Cow<'_, str> {
    let fine = |c: char| if unicode { !is_unprintable(c) } else { c.is_ascii() && !c.is_ascii_control() };
    if text.chars().all(fine) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(' '),
            c if fine(c) => out.push(c),
            c if is_unprintable(c) => out.extend(c.escape_unicode()),
            _ => out.push('?'),
        }
    }
    Cow::Owned(out)
}

/// Columns that a text takes; it must be [`clean`].
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(|c| c.width().unwrap_or(0)).sum() }
}

/// The text cut to at most `columns`, ending in `…` (`~` without `unicode`) if something is missing.
pub fn cut(text: &str, columns: usize, unicode: bool) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    if columns == 0 {
        return Cow::Borrowed("");
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w > columns - 1 {
            break;
        }
        used += w;
        out.push(c);
    }
    out.push(if unicode { '…' } else { '~' });
    Cow::Owned(out)
}

/// Appends `text`, cut or padded on the right to exactly `columns`.
pub fn left(out: &mut String, text: &str, columns: usize, unicode: bool) {
    let text = cut(text, columns, unicode);
    out.push_str(&text);
    spaces(out, columns - width(&text));
}

/// Appends `text`, cut or padded on the left to exactly `columns`.
pub fn right(out: &mut String, text: &str, columns: usize, unicode: bool) {
    let text = cut(text, columns, unicode);
    spaces(out, columns - width(&text));
    out.push_str(&text);
}

/// Appends `n` spaces.
pub fn spaces(out: &mut String, n: usize) {
    out.extend(std::iter::repeat_n(' ', n));
}

/// As many of `parts` as fit into `columns`, with `joiner` between; `…` stands for those that don't. A first part that
/// is too long is cut.
pub fn join(parts: &[String], joiner: &str, columns: usize, unicode: bool) -> String {
    let more = if unicode { " …" } else { " ~" };
    let whole = parts.join(joiner);
    if width(&whole) <= columns {
        return whole;
    }
    let mut out = String::new();
    for part in parts {
        let added = if out.is_empty() { width(part) } else { width(joiner) + width(part) };
        if width(&out) + added + 2 > columns {
            break;
        }
        if !out.is_empty() {
            out.push_str(joiner);
        }
        out.push_str(part);
    }
    if out.is_empty() {
        return parts.first().map(|p| cut(p, columns, unicode).into_owned()).unwrap_or_default();
    }
    out.push_str(more);
    out
}

/// The words of a sentence; a number and its unit are one.
pub fn words(sentence: &str) -> Vec<String> {
    const UNITS: [&str; 17] =
        ["%", "ns", "µs", "us", "ms", "s", "min", "B", "kB", "MB", "GB", "TB", "B/s", "kB/s", "MB/s", "GB/s", "TB/s"];
    let mut out: Vec<String> = Vec::new();
    for word in sentence.split(' ') {
        let is_unit = UNITS.contains(&word.trim_end_matches(['.', ',', ';', ':', ')']));
        match out.last_mut().filter(|before| is_unit && before.ends_with(|c: char| c.is_ascii_digit())) {
            Some(number) => {
                number.push(' ');
                number.push_str(word);
            }
            None => out.push(word.to_owned()),
        }
    }
    out
}

/// A sentence in at most `lines` lines of at most `columns`, broken between words.
pub fn wrap(sentence: &str, columns: usize, lines: usize, unicode: bool) -> Vec<String> {
    let mut out: Vec<String> = vec![String::new()];
    for word in words(sentence) {
        let full = out.len() == lines;
        let line = out.last_mut().expect("never empty");
        if line.is_empty() {
            line.push_str(&word);
        } else if full || width(line) + 1 + width(&word) <= columns {
            line.push(' ');
            line.push_str(&word);
        } else {
            out.push(word);
        }
    }
    out.iter().map(|line| cut(line, columns, unicode).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_could_steer_it() {
        assert_eq!(clean("a\x1b[31mb", true), "a\\u{1b}[31mb");
        assert_eq!(clean("\u{9b}2J\u{202e}x\u{200b}", true), "\\u{9b}2J\\u{202e}x\\u{200b}");
        assert_eq!(clean("one\ntwo\r", true), "one two\\u{d}");
        assert_eq!(clean("ümläut 層", true), "ümläut 層");
        assert_eq!(clean("ü層\x1b", false), "??\\u{1b}");
        assert_eq!(clean("\u{e0041}", true), "\\u{e0041}");
    }

    #[test]
    fn a_number_keeps_its_unit() {
        let lines = wrap("of that 28 % starting, 23 % waiting (96.0 MB, 1.2 GB/s).", 24, 9, true);
        assert_eq!(lines, ["of that 28 % starting,", "23 % waiting (96.0 MB,", "1.2 GB/s)."]);
        assert_eq!(wrap("layer s of 10 x", 9, 9, true), ["layer s", "of 10 x"]);
    }

    #[test]
    fn cuts_by_columns_and_not_by_bytes() {
        assert_eq!(cut("layer 1/6", 20, true), "layer 1/6");
        assert_eq!(cut("layer 1/6", 6, true), "layer…");
        assert_eq!(cut("layer 1/6", 6, false), "layer~");
        // A wide character that would stick out by half goes altogether.
        assert_eq!(cut("層層層", 4, true), "層…");
        assert_eq!(width("層…"), 3);
        let mut out = String::new();
        left(&mut out, "層層層", 4, true);
        assert_eq!(out, "層… ");
        assert_eq!(cut("abc", 0, true), "");
    }

    #[test]
    fn sentences_break_between_words() {
        assert_eq!(wrap("one two three", 8, 3, true), ["one two", "three"]);
        assert_eq!(wrap("one two three four", 8, 2, true), ["one two", "three f…"]);
        assert_eq!(wrap("onetwothree", 8, 2, true), ["onetwot…"]);
    }

    #[test]
    fn details_lose_whole_parts() {
        let parts = ["dns 0.4", "tcp 0.9", "tls 1.8"].map(str::to_owned);
        assert_eq!(join(&parts, " · ", 27, true), "dns 0.4 · tcp 0.9 · tls 1.8");
        assert_eq!(join(&parts, " · ", 26, true), "dns 0.4 · tcp 0.9 …");
        assert_eq!(join(&parts, " · ", 10, true), "dns 0.4 …");
        assert_eq!(join(&parts, " · ", 5, true), "dns …");
    }
}
