//! Numbers as people read them. The one place where a duration, a size or a rate becomes text.

use super::Style;

/// A length of time: `850 ns`, `52 µs`, `18.4 ms`, `3.24 s`, `12 min 3 s`.
pub fn duration(ns: u64, style: &Style) -> String {
    let us = if style.unicode { "µs" } else { "us" };
    match ns {
        0 => "0 ms".to_owned(),
        1..1_000 => format!("{ns} ns"),
        1_000..99_500 => format!("{} {us}", rounded(ns, 1_000)),
        99_500..999_950_000 => format!("{}.{} ms", rounded(ns, 100_000) / 10, rounded(ns, 100_000) % 10),
        999_950_000..99_995_000_000 => {
            let cs = rounded(ns, 10_000_000);
            format!("{}.{:02} s", cs / 100, cs % 100)
        }
        99_995_000_000..599_950_000_000 => {
            let ds = rounded(ns, 100_000_000);
            format!("{}.{} s", ds / 10, ds % 10)
        }
        _ => {
            let s = rounded(ns, 1_000_000_000);
            format!("{} min {} s", s / 60, s % 60)
        }
    }
}

/// The same with three digits that count, for tables: `410 µs`, `1.24 ms`, `18.4 ms`.
pub fn precise(ns: u64, style: &Style) -> String {
    match ns {
        99_500..999_500 => format!("{} {}", rounded(ns, 1_000), if style.unicode { "µs" } else { "us" }),
        999_500..9_995_000 => format!("{}.{:02} ms", rounded(ns, 10_000) / 100, rounded(ns, 10_000) % 100),
        _ => duration(ns, style),
    }
}

/// Decimal, as docker shows sizes: `812 B`, `4.1 kB`, `340 MB`.
pub fn bytes(n: u64) -> String {
    if n < 1000 { format!("{n} B") } else { scaled(n as f64, 99.95, "B") }
}

/// Bytes per second: `52 MB/s`.
pub fn rate(per_second: f64) -> String {
    if per_second < 999.5 { format!("{per_second:.0} B/s") } else { scaled(per_second, 9.95, "B/s") }
}

/// `value` in the unit that leaves 1 to 999, with a decimal below `decimal_below`.
fn scaled(value: f64, decimal_below: f64, unit: &str) -> String {
    let mut value = value;
    let mut prefix = "";
    for next in ["k", "M", "G", "T", "P", "E"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        prefix = next;
    }
    if value < decimal_below { format!("{value:.1} {prefix}{unit}") } else { format!("{value:.0} {prefix}{unit}") }
}

/// `75.5 %`; of nothing it is 0.
pub fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", share(part, whole) * 100.0)
}

/// `part` of `whole` as a number from 0; of nothing it is 0.
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// One time by another as every report states it, the longer by the shorter: `1.05×`, `12.3×`, `230×`. Which of the two
/// is the longer one is told beside it, or by [`faster_or_slower`].
pub fn ratio(ratio: f64, style: &Style) -> String {
    let sign = if style.unicode { '×' } else { 'x' };
    format!("{}{sign}", number(if ratio < 1.0 && ratio > 0.0 { 1.0 / ratio } else { ratio }))
}

/// The same with its direction: `2.96× faster` where the first of the two took less time, else `1.30× slower`.
pub fn faster_or_slower(ratio: f64, style: &Style) -> String {
    let word = if ratio < 1.0 { "faster" } else { "slower" };
    format!("{} {word}", self::ratio(ratio, style))
}

/// A number of times with three digits that count.
pub fn number(times: f64) -> String {
    match times {
        r if r < 0.0995 => format!("{r:.3}"),
        r if r < 9.995 => format!("{r:.2}"),
        r if r < 99.95 => format!("{r:.1}"),
        r => format!("{r:.0}"),
    }
}

/// `1 file`, `3 files`.
pub fn count(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// How long ago: `now`, `5 s ago`, `3 min ago`, `2 h ago`, `12 d ago`.
pub fn ago(then_ns: u64, now_ns: u64) -> String {
    let s = now_ns.saturating_sub(then_ns) / 1_000_000_000;
    match s {
        0 => "now".to_owned(),
        1..60 => format!("{s} s ago"),
        60..3600 => format!("{} min ago", s / 60),
        3600..86_400 => format!("{} h ago", s / 3600),
        _ => format!("{} d ago", s / 86_400),
    }
}

fn rounded(ns: u64, unit: u64) -> u64 {
    ns / unit + u64::from(ns % unit >= unit / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_never_carry_into_a_wrong_unit() {
        for (ns, text) in [
            (0, "0 ms"),
            (999, "999 ns"),
            (1_000, "1 µs"),
            (52_400, "52 µs"),
            (99_499, "99 µs"),
            (99_500, "0.1 ms"),
            (18_449_999, "18.4 ms"),
            (18_450_000, "18.5 ms"),
            (999_949_999, "999.9 ms"),
            (999_950_000, "1.00 s"),
            (3_240_000_000, "3.24 s"),
            (99_994_999_999, "99.99 s"),
            (99_995_000_000, "100.0 s"),
            (599_949_999_999, "599.9 s"),
            (723_000_000_000, "12 min 3 s"),
            (u64::MAX, "307445734 min 34 s"),
        ] {
            assert_eq!(duration(ns, &Style::default()), text, "{ns}");
        }
        assert_eq!(duration(52_400, &Style::PLAIN), "52 us");
        for (ns, text) in [
            (99_499, "99 µs"),
            (99_500, "100 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (9_994_999, "9.99 ms"),
            (9_995_000, "10.0 ms"),
        ] {
            assert_eq!(precise(ns, &Style::default()), text, "{ns}");
        }
    }

    #[test]
    fn sizes_and_rates() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (4_096, "4.1 kB"),
            (99_949, "99.9 kB"),
            (340_000_000, "340 MB"),
            (999_500, "1.0 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(n), text, "{n}");
        }
        assert_eq!(rate(52_300_000.0), "52 MB/s");
        assert_eq!(rate(5_230_000.0), "5.2 MB/s");
        assert_eq!(rate(12.0), "12 B/s");
        assert_eq!(ratio(76.2, &Style::default()), "76.2×");
        assert_eq!(ratio(0.5, &Style::PLAIN), "2.00x");
        assert_eq!(faster_or_slower(0.34, &Style::default()), "2.94× faster");
        assert_eq!(faster_or_slower(1.3, &Style::default()), "1.30× slower");
        assert_eq!(percent(755, 1000), "75.5 %");
        assert_eq!(percent(1, 0), "0.0 %");
        assert_eq!(ago(0, 7_300_000_000_000), "2 h ago");
    }
}
