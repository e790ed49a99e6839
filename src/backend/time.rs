//! Moments in text. `ns` is nanoseconds since the Unix epoch, which end in the year 2554.

/// A moment as RFC 3339 has it, in UTC, to the nanosecond.
pub fn rfc3339(ns: u64) -> String {
    let (days, rest) = (ns / DAY, ns % DAY);
    // The Gregorian calendar repeats every 400 years (146097 days); years begin in March, so that the leap day is the last.
    let days = days + EPOCH;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    let (seconds, nanos) = (rest / SECOND, rest % SECOND);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;

/// Days from the first of March of the year 0 to the Unix epoch.
const EPOCH: u64 = 719_468;

/// What a user writes: `2026-11-20`, `2026-11-20T13:00`, `2026-11-20 13:00:05.25Z`, `2026-11-20T13:00:05+01:00`; without a zone it is
/// UTC. A bare number is seconds since the Unix epoch.
pub fn parse(text: &str) -> Result<u64, String> {
    moment(text.trim()).ok_or_else(|| {
        format!("`{text}` is no moment: expected e.g. `2026-11-20`, `2026-11-20T13:00:05Z`, `2026-11-20T13:00:05+01:00` or seconds since 1970")
    })
}

fn moment(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<u64>().ok()?.checked_mul(SECOND);
    }
    let (date, clock) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, "00:00"),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if parts.next().is_some() || day == 0 || day > length {
        return None;
    }
    let (y, m) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = (y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1).checked_sub(EPOCH)?;
    let (clock, ahead, zone) = match clock.find(['Z', 'z', '+', '-']) {
        None => (clock, false, 0),
        Some(at) => {
            let (clock, zone) = clock.split_at(at);
            (clock, zone.starts_with('+'), if zone.len() == 1 { 0 } else { minutes(&zone[1..])? * 60 * SECOND })
        }
    };
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    let (to_minute, second) = match whole.match_indices(':').nth(1) {
        Some((at, _)) => (&whole[..at], digits(&whole[at + 1..], 2).filter(|s| *s < 60)?),
        None => (whole, 0),
    };
    let at = days.checked_mul(DAY)?.checked_add((minutes(to_minute)? * 60 + second) * SECOND + nanos)?;
    if ahead { at.checked_sub(zone) } else { at.checked_add(zone) }
}

/// `13:05`, `1305`, as minutes.
fn minutes(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':').or_else(|| text.split_at_checked(2))?;
    Some(digits(hours, 2).filter(|h| *h < 24)? * 60 + digits(minutes, 2).filter(|m| *m < 60)?)
}

fn digits(text: &str, count: usize) -> Option<u64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
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
            assert_eq!(parse(text), Ok(seconds * SECOND), "{text}");
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
}
