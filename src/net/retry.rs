//! When to try again: `Retry-After`, and pauses that grow.

use std::time::{Duration, SystemTime};

/// How long a `Retry-After` header asks to wait (RFC 9110, 10.2.3): seconds, or a date, of which one in the past asks
/// for nothing. `None` if it is neither.
pub fn retry_after(value: &str) -> Option<Duration> {
    retry_after_from(value, SystemTime::now())
}

fn retry_after_from(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty() {
        // More than fits is as good as for ever.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

/// Exponential backoff.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The pause after the first failure.
    pub initial: Duration,
    /// How much longer each further pause is.
    pub factor: u32,
    /// No pause is longer.
    pub max: Duration,
}

impl Backoff {
    /// The pause after so many failures, counted from 1.
    pub fn after(&self, failures: u32) -> Duration {
        let factor = self.factor.saturating_pow(failures.saturating_sub(1));
        self.initial.saturating_mul(factor).min(self.max)
    }

    /// The same with up to half of it added by chance, so that those who failed together do not come back together.
    pub fn after_with_jitter(&self, failures: u32, random: u64) -> Duration {
        let pause = self.after(failures);
        let half = u64::try_from(pause.as_nanos() / 2).unwrap_or(u64::MAX).max(1);
        pause + Duration::from_nanos(random % half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2015 07:28:00 GMT").unwrap();
        for (value, seconds) in [
            (" 3 ", Some(3)),
            ("0", Some(0)),
            ("Wed, 21 Oct 2015 07:28:07 GMT", Some(7)),
            ("Wednesday, 21-Oct-15 07:29:00 GMT", Some(60)),
            ("Wed Oct 21 07:28:01 2015", Some(1)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("", None),
            ("-1", None),
            ("soon", None),
            ("Wed, 31 Feb 2015 07:27:00 GMT", None),
        ] {
            assert_eq!(retry_after_from(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let ms = Duration::from_millis;
        let backoff = Backoff { initial: ms(100), factor: 3, max: ms(1000) };
        assert_eq!([1, 2, 3, 40].map(|n| backoff.after(n)), [ms(100), ms(300), ms(900), ms(1000)]);
        for random in [0, 1, u64::MAX, 49_999_999] {
            let pause = backoff.after_with_jitter(1, random);
            assert!((ms(100)..ms(150)).contains(&pause), "{pause:?}");
        }
    }
}
