//! Numbers as tar writes them.

use super::Time;

/// A numeric header field: octal text, or base-256 with the top bit set (GNU, star), which can be negative.
/// `None` if it is neither or does not fit.
pub(super) fn field(bytes: &[u8]) -> Option<i64> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => base256(bytes),
        _ => octal(bytes),
    }
}

/// The same where a negative number makes no sense.
pub(super) fn unsigned(bytes: &[u8]) -> Option<u64> {
    field(bytes).and_then(|n| u64::try_from(n).ok())
}

fn base256(bytes: &[u8]) -> Option<i64> {
    // Bit 7 of the first byte is the mark, bit 6 the sign of a two's complement number.
    let negative = bytes[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (i, &b) in bytes.iter().enumerate() {
        let b = if i > 0 {
            b
        } else if negative {
            b | 0x80
        } else {
            b & 0x7f
        };
        value = value << 8 | i128::from(b);
    }
    i64::try_from(value).ok()
}

fn octal(bytes: &[u8]) -> Option<i64> {
    // Spaces and NULs may stand before and after the digits; an empty field is zero.
    let is_pad = |b: &u8| *b == b' ' || *b == 0;
    let start = bytes.iter().position(|b| !is_pad(b)).unwrap_or(bytes.len());
    let end = bytes[start..].iter().position(|b| *b == 0).map_or(bytes.len(), |n| start + n);
    let digits = bytes[start..end].trim_ascii_end();
    digits.iter().try_fold(0i64, |n, d| match d {
        b'0'..=b'7' => n.checked_mul(8)?.checked_add(i64::from(d - b'0')),
        _ => None,
    })
}

/// Decimal digits only.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Decimal digits, perhaps after a minus.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] => decimal(digits).and_then(|n| 0i64.checked_sub_unsigned(n)),
        digits => decimal(digits).and_then(|n| i64::try_from(n).ok()),
    }
}

/// A pax time: decimal seconds, possibly negative, possibly with a fraction, which is cut to nanoseconds.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) || fraction.len() > 100 {
        return None;
    }
    let sec = i64::try_from(decimal(whole)?).ok()?;
    let nsec = (0..9).fold(0u32, |n, i| n * 10 + fraction.get(i).map_or(0, |d| u32::from(d - b'0')));
    Some(match (negative, nsec) {
        (false, _) => Time { sec, nsec },
        (true, 0) => Time { sec: -sec, nsec: 0 },
        (true, _) => Time { sec: -sec - 1, nsec: 1_000_000_000 - nsec },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        assert_eq!(field(b"0000644\0"), Some(0o644));
        assert_eq!(field(b"   644 \0"), Some(0o644));
        assert_eq!(field(b"77777777777 "), Some(0o77777777777));
        assert_eq!(field(b"\0\0\0\0"), Some(0));
        assert_eq!(field(b"0000649\0"), None);
        assert_eq!(field(b"-000001\0"), None);
        assert_eq!(field(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), Some(0xffff_ffff));
        assert_eq!(field(&[0xff; 12]), Some(-1));
        assert_eq!(field(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]), Some(-256));
        let mut huge = [0xffu8; 12];
        huge[0] = 0x80;
        assert_eq!(field(&huge), None);
        assert_eq!(unsigned(&[0xff; 12]), None);
    }

    #[test]
    fn times() {
        let t = |s: &str| time(s.as_bytes()).map(|t| (t.sec, t.nsec));
        assert_eq!(t("1350244992.023960108"), Some((1350244992, 23960108)));
        assert_eq!(t("-1.5"), Some((-2, 500_000_000)));
        assert_eq!(t("-1"), Some((-1, 0)));
        assert_eq!(t("-0.000000001"), Some((-1, 999_999_999)));
        assert_eq!(t("1.1234567899999"), Some((1, 123456789)));
        assert_eq!(t("1."), Some((1, 0)));
        for bad in ["", "-", ".5", "1e3", "--1", "1.-5", "99999999999999999999", "+1", "1.5x"] {
            assert_eq!(t(bad), None, "{bad}");
        }
    }
}
