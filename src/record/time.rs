//! Moments in text, in one calendar: jiff's. `ns` is nanoseconds since the Unix epoch, which end in the year 2554.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

/// A moment as RFC 3339 has it, in UTC, to the nanosecond.
pub fn rfc3339(ns: u64) -> String {
    let at = Timestamp::from_nanosecond(ns.into()).expect("the year 2554 is in jiff's calendar");
    format!("{at:.9}")
}

/// What a program writes (RFC 3339, 5.6). What is before 1970, which Go writes for "never", is 0; more than nine digits
/// of a second are cut.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let shortened = (digits > 9).then(|| format!("{whole}.{}{}", &rest[..9], &rest[digits..]));
    // RFC 3339 wants seconds, a time and an offset; jiff would do without them.
    let pieces = Pieces::parse(Some(shortened.as_deref().unwrap_or(text)).filter(|t| t.len() >= 20)?).ok()?;
    let at = pieces.date().to_datetime(pieces.time()?);
    Some(nanoseconds(at, pieces.to_numeric_offset()?).clamp(0, u64::MAX.into()) as u64)
}

fn nanoseconds(at: DateTime, offset: Offset) -> i128 {
    match offset.to_timestamp(at) {
        Ok(at) => at.as_nanosecond(),
        // Outside of jiff's range it is far outside of ours.
        Err(_) if at.year() > 1970 => i128::MAX,
        Err(_) => i128::MIN,
    }
}

/// What a user writes: `2026-11-20`, `2026-11-20T13:00`, `2026-11-20 13:00:05.25Z`, `2026-11-20T13:00:05+01:00`;
/// without a zone it is UTC. A bare number is seconds since the Unix epoch.
pub fn parse(text: &str) -> Result<u64, String> {
    moment(text.trim()).ok_or_else(|| {
        format!("`{text}` is no moment: expected e.g. `2026-11-20`, `2026-11-20T13:00:05Z`, `2026-11-20T13:00:05+01:00` or seconds since 1970")
    })
}

fn moment(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<u64>().ok()?.checked_mul(1_000_000_000);
    }
    // jiff takes the leap second for the one before it; whoever types it has made a mistake.
    if text.contains(":60") {
        return None;
    }
    let pieces = Pieces::parse(text).ok().filter(|p| p.time_zone_annotation().is_none())?;
    let at = pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight()));
    u64::try_from(nanoseconds(at, pieces.to_numeric_offset().unwrap_or(Offset::UTC))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_and_read_by_the_calendar() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999999Z"),
            (1_709_251_200_000_000_000, "2024-03-01T00:00:00.000000000Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(rfc3339(ns), text);
            assert_eq!(parse(text), Ok(ns));
        }
        for (text, seconds) in [
            ("1700000000", 1_700_000_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2023-11-14 23:13:20+01:00", 1_700_000_000),
            ("2023-11-14t16:43:20-0530", 1_700_000_000),
            ("2023-11-14", 1_699_920_000),
            ("2023-11-14T01:00", 1_699_923_600),
        ] {
            assert_eq!(parse(text), Ok(seconds * 1_000_000_000), "{text}");
        }
        for bad in [
            "",
            "yesterday",
            "2023-02-29",
            "2023-13-01",
            "2023-1-1",
            "2023-11-14T24:00",
            "2023-11-14T12:60",
            "1969-12-31",
            "2023-11-14T12:00:60",
            "2023-11-14T12:00:00.1234567890",
            "2555-01-01",
            "99999999999999",
            "2023-11-14T",
            "é-01-01",
            "2023-11-14T12:00+é1",
            "2023-11-14Té",
        ] {
            assert!(parse(bad).unwrap_err().contains("is no moment"), "{bad}");
        }
    }

    #[test]
    fn what_programs_write_is_read_by_the_calendar() {
        for (text, ns) in [
            ("2023-11-14T22:13:20Z", Some(1_700_000_000_000_000_000)),
            ("2023-11-14t23:13:20.5+01:00", Some(1_700_000_000_500_000_000)),
            ("2023-11-14T22:13:20.123456789987Z", Some(1_700_000_000_123_456_789)),
            ("0001-01-01T00:00:00Z", Some(0)),
            ("2555-01-01T00:00:00Z", Some(u64::MAX)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000_000)),
            ("2023-02-30T00:00:00Z", None),
            ("2023-02-29T00:00:00Z", None),
            ("2023-04-31T00:00:00Z", None),
            ("2023-11-14T24:00:00Z", None),
            ("2023-11-14T22:13:20", None),
            ("2023-11-14T22:13Z", None),
            ("2023-11-14", None),
            ("2023-11-14T22:13:20.é+01:00", None),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59.5Z", Some(951_868_799_500_000_000)),
            ("2026-11-20T13:46:34.123456789+01:00", Some(1_795_178_794_123_456_789)),
            ("2026-11-20T11:16:34.123456789123-01:30", Some(1_795_178_794_123_456_789)),
            ("9999-12-31T23:59:59Z", Some(u64::MAX)),
            ("", None),
            ("2026-13-20T00:00:00Z", None),
            ("2026-11-20T00:00:00+1", None),
            ("+026-11-20T00:00:00Z", None),
            ("ü026-11-20T00:00:00Z", None),
        ] {
            assert_eq!(parse_rfc3339(text), ns, "{text}");
        }
    }
}
