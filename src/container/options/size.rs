//! Amounts of memory, `512m`, and of processors, `1.5`.

/// Bytes, as docker reads them (go-units `RAMInBytes`): a number, perhaps with a fraction, and a unit of 1024: `b`,
/// `k`, `m`, `g`, `t`, `p`, each also as `kb` or `kib`, in any case. A space may stand before the unit.
pub fn bytes(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is no size: expected a number with `b`, `k`, `m` or `g` after it, such as `512m`");
    let at = text.rfind(|c: char| c.is_ascii_digit() || c == '.').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at + 1);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(wrong()),
    };
    if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(wrong());
    }
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let bytes = number * (1u64 << shift) as f64;
    if bytes >= i64::MAX as f64 { Err(format!("`{text}` is more than a size can be")) } else { Ok(bytes as i64) }
}

/// The same with `-1` for no limit.
pub fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// A number of processors in billionths (docker's `NanoCPUs`): `1.5`, `0.25`, also `3/2`.
pub fn nano_cpus(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no number of CPUs: expected one such as `1.5`");
    let decimal = |text: &str| -> Option<u128> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return None;
        }
        if fraction.trim_end_matches('0').len() > 9 {
            return None;
        }
        let fraction = format!("{:0<9}", fraction.get(..fraction.len().min(9)).unwrap_or(""));
        format!("{whole}{fraction}").parse().ok()
    };
    let nanos = match text.split_once('/') {
        Some((over, under)) => {
            let (over, under): (u128, u128) = (over.parse().map_err(|_| wrong())?, under.parse().map_err(|_| wrong())?);
            let nanos = over.checked_mul(1_000_000_000).ok_or_else(wrong)?;
            if under == 0 || nanos % under != 0 {
                return Err(wrong());
            }
            nanos / under
        }
        None => decimal(text).ok_or_else(|| match text.split_once('.') {
            Some((_, f)) if f.len() > 9 => {
                format!("`{text}` is too precise for a number of CPUs: nine decimals at most")
            }
            _ => wrong(),
        })?,
    };
    u64::try_from(nanos).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32K", 32 << 10),
            ("32kb", 32 << 10),
            ("32Kib", 32 << 10),
            ("32Mb", 32 << 20),
            ("32 GB", 32 << 30),
            ("32t", 32 << 40),
            ("32Pb", 32 << 50),
            ("32.5kB", (32.5 * 1024.0) as i64),
            ("0.3 K", 307),
            ("0", 0),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "hello", "-32", "-1", "32  k", "32bm", "b", " 32", "1e3", "32m!", "9999999p", "1.2.3"] {
            assert!(bytes(text).is_err(), "{text}: {:?}", bytes(text));
        }
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
    }

    #[test]
    fn cpus_are_billionths() {
        for (text, expected) in [
            ("1", 1_000_000_000),
            ("1.5", 1_500_000_000),
            ("0.01", 10_000_000),
            (".5", 500_000_000),
            ("3/2", 1_500_000_000),
        ] {
            assert_eq!(nano_cpus(text), Ok(expected), "{text}");
        }
        for text in ["", ".", "-1", "x", "1.0000000001", "1/3", "1/0", "1e9"] {
            assert!(nano_cpus(text).is_err(), "{text}");
        }
    }
}
