//! What programs write as JSON although JSON has no word for it, put so that a strict parser reads it:
//!
//! - numbers that are none (`NaN`, `-Infinity`, `1e999`) become text behind a [`MARK`], which [`real`] reads back;
//! - whole numbers beyond 64 bits become text, so that no digit is lost;
//! - half a surrogate pair (`\ud83d` alone, as JavaScript cuts texts) becomes U+FFFD, and so do bytes that are no
//!   UTF-8.

use std::borrow::Cow;

/// Stands before a number that JSON cannot write. Unicode assigns no character to it.
const MARK: char = '\u{10fffe}';

/// The number behind a mark.
pub(crate) fn real(text: &str) -> Option<f64> {
    text.strip_prefix(MARK)?.parse().ok()
}

/// The same text if there is nothing to mend. Line breaks stay where they are.
pub(crate) fn mend(text: &[u8]) -> Cow<'_, [u8]> {
    let sound = match std::str::from_utf8(text) {
        Ok(_) => None,
        Err(_) => Some(String::from_utf8_lossy(text).into_owned().into_bytes()),
    };
    match sound {
        None => mend_text(text).map_or(Cow::Borrowed(text), Cow::Owned),
        Some(sound) => Cow::Owned(mend_text(&sound).unwrap_or(sound)),
    }
}

fn mend_text(text: &[u8]) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    let mut copied = 0;
    let mut at = 0;
    let mut inside = false;
    while let Some(&byte) = text.get(at) {
        if inside {
            match byte {
                b'"' => inside = false,
                b'\\' if text.get(at + 1) == Some(&b'u') => {
                    let length = escape(text, at);
                    if length == LONE {
                        replace(&mut out, text, &mut copied, at..at + 6, b"\\ufffd");
                        at += 6;
                    } else {
                        at += length;
                    }
                    continue;
                }
                b'\\' => at += 1,
                _ => {}
            }
            at += 1;
            continue;
        }
        match byte {
            b'"' => inside = true,
            b'0'..=b'9' | b'-' | b'+' | b'N' | b'n' | b'I' | b'i' => {
                let length = text[at..].iter().take_while(|b| is_word(**b)).count();
                let token = &text[at..at + length];
                if let Some(instead) = instead(token) {
                    replace(&mut out, text, &mut copied, at..at + length, instead.as_bytes());
                }
                at += length;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    if let Some(out) = &mut out {
        out.extend_from_slice(&text[copied..]);
    }
    out
}

fn replace(out: &mut Option<Vec<u8>>, text: &[u8], copied: &mut usize, part: std::ops::Range<usize>, instead: &[u8]) {
    let out = out.get_or_insert_with(|| Vec::with_capacity(text.len() + 64));
    out.extend_from_slice(&text[*copied..part.start]);
    out.extend_from_slice(instead);
    *copied = part.end;
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// What [`escape`] says of a half of a pair.
const LONE: usize = 0;

/// The length of the `\u` escape at `at`, of both halves of a pair; [`LONE`] for half a pair.
fn escape(text: &[u8], at: usize) -> usize {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let valid = digits.iter().all(u8::is_ascii_hexdigit);
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|_| valid)
    };
    match unit(at) {
        Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
        Some(0xd800..=0xdfff) => LONE,
        Some(_) => 6,
        // Not an escape: the parser says so.
        None => 2,
    }
}

/// What a parser is to read in place of a word outside strings.
fn instead(word: &[u8]) -> Option<String> {
    let word = std::str::from_utf8(word).ok()?;
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        let whole = digits.bytes().all(|b| b.is_ascii_digit());
        if whole {
            let fits = digits.len() < 19 || word.parse::<i64>().is_ok() || word.parse::<u64>().is_ok();
            return (!fits).then(|| format!("\"{word}\""));
        }
        let infinite =
            digits.bytes().any(|b| b.eq_ignore_ascii_case(&b'e')) && word.parse::<f64>().is_ok_and(f64::is_infinite);
        return infinite.then(|| format!("\"{MARK}{word}\""));
    }
    let named = ["nan", "inf", "infinity"].iter().any(|name| digits.eq_ignore_ascii_case(name));
    named.then(|| format!("\"{MARK}{word}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(text: &str) -> String {
        String::from_utf8(mend(text.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn what_is_json_stays_as_it_is() {
        for text in [
            r#"{"a":[1,-2.5,1e9,9223372036854775807,18446744073709551615,null,true],"b":"NaN \u00e9 \ud83d\ude00 \\ud83d"}"#,
            "",
            "{",
            r#""\"#,
            r#""\u12"#,
        ] {
            assert!(matches!(mend(text.as_bytes()), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_read_back() {
        for (word, value) in [
            ("NaN", f64::NAN),
            ("nan", f64::NAN),
            ("-NaN", f64::NAN),
            ("Infinity", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e999", f64::INFINITY),
            ("-1.5E+400", f64::NEG_INFINITY),
        ] {
            let text: String = serde_json::from_str(&mended(word)).unwrap();
            let read = real(&text).unwrap();
            assert!(read == value || (read.is_nan() && value.is_nan()), "{word}: {read}");
        }
        assert_eq!(real("NaN"), None, "as text it is text");
    }

    #[test]
    fn no_digit_is_lost_and_halves_of_pairs_are_marked() {
        assert_eq!(
            mended("[18446744073709551616,-9223372036854775809]"),
            r#"["18446744073709551616","-9223372036854775809"]"#
        );
        assert_eq!(
            mended(r#"{"\ud83d":"a\ude00b\ud83d\ud83d\ude00\uD83Dx"}"#),
            r#"{"\ufffd":"a\ufffdb\ufffd\ud83d\ude00\ufffdx"}"#
        );
        assert_eq!(mend(b"\"\xff\xfe\"\n").as_ref(), "\"\u{fffd}\u{fffd}\"\n".as_bytes());
    }
}
