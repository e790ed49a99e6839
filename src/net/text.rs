//! Text from outside (an image, a registry, a tracing back end, a file) made fit to be printed. Without this it could
//! steer a terminal, or show something else than it says.

/// Whether a character must not reach a terminal: control characters steer it; bidirectional embeddings, overrides and
/// isolates reorder what stands around them (CVE-2021-42574); line and paragraph separators break one line into
/// several; zero-width and other invisible characters hide.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{34f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text on one line, with a replacement character for each one that must not be printed.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The same, at most `max` characters of it.
pub fn printable_prefix(text: &str, max: usize) -> String {
    text.chars().take(max).map(|c| if is_unprintable(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// At most `max` characters of a server's words for a sentence of ours: on one line, with a space for each character
/// that must not be printed.
pub fn one_line(text: &str, max: usize) -> String {
    let text: String = text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).take(max).collect();
    text.trim().to_owned()
}

/// The same, ending in `…` if something is missing.
pub fn excerpt(text: &str, max: usize) -> String {
    let mut out = one_line(text, max);
    if text.chars().nth(max).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_reorders_or_hides_gets_through() {
        for c in "\u{1b}\u{7}\u{7f}\u{9b}\n\t\r\0\u{85}\u{202a}\u{202d}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{200b}\u{200d}\
                  \u{2028}\u{2029}\u{feff}\u{61c}\u{ad}\u{e0041}"
            .chars()
        {
            assert_eq!(printable(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
        let text = "plain, übel, 日本語, עברית, العربية, 🦀, `x`";
        assert_eq!(printable(text), text);
        assert_eq!(printable_prefix("é\u{202e}xyz", 3), "é\u{fffd}x");
        assert_eq!(one_line(" a\nb\u{200b}c ", 9), "a b c");
        assert_eq!((excerpt("abc", 3), excerpt("abcd", 3)), ("abc".into(), "abc…".into()));
    }
}
