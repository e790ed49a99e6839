//! The `Range` header (RFC 9110, section 14): one range of bytes or none.

/// What a `Range` header asks for, given the length of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// No range, or one that a server is to ignore (another unit, several ranges, nonsense).
    Whole,
    /// First byte and number of bytes, at least one, inside the whole.
    Part { start: u64, len: u64 },
    /// Nothing of the whole: status 416.
    Unsatisfiable,
}

impl Range {
    pub(super) fn parse(header: &str, size: u64) -> Range {
        Self::try_parse(header, size).unwrap_or(Range::Whole)
    }

    fn try_parse(header: &str, size: u64) -> Option<Range> {
        let (unit, ranges) = header.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = ranges.trim().split_once('-')?;
        let (start, end) = match (first, last) {
            // The last bytes; more of them than there are means all.
            ("", last) => (size.saturating_sub(number(last)?), size),
            (first, "") => (number(first)?, size),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return None;
                }
                (first, last.saturating_add(1).min(size))
            }
        };
        Some(if start < end { Range::Part { start, len: end - start } } else { Range::Unsatisfiable })
    }
}

/// Digits only; what does not fit is as good as the largest number.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |start, len| Range::Part { start, len };
        for (header, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-9", part(0, 10)),
            ("bytes=0-10", part(0, 10)),
            ("bytes=9-", part(9, 1)),
            ("bytes=3-5", part(3, 3)),
            ("Bytes=3-5", part(3, 3)),
            ("bytes=-1", part(9, 1)),
            ("bytes=-10", part(0, 10)),
            ("bytes=-99999999999999999999999", part(0, 10)),
            ("bytes=2-99999999999999999999999", part(2, 8)),
            ("bytes=10-", Range::Unsatisfiable),
            ("bytes=10-11", Range::Unsatisfiable),
            ("bytes=99999999999999999999999-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=5-3", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=", Range::Whole),
            ("bytes", Range::Whole),
            ("", Range::Whole),
            ("bytes=a-b", Range::Whole),
            ("bytes=+1-2", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("lines=0-1", Range::Whole),
            ("bytes=1--2", Range::Whole),
        ] {
            assert_eq!(Range::parse(header, 10), expected, "{header}");
        }
        assert_eq!(Range::parse("bytes=0-", 0), Range::Unsatisfiable);
        assert_eq!(Range::parse("bytes=-5", 0), Range::Unsatisfiable);
    }
}
