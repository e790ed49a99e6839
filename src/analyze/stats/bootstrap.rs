//! The ratio of two medians, with an interval by bootstrap.
//!
//! The bootstrap (Efron 1979) draws n of n values with replacement, takes the median, and does so many times. Drawing
//! is the same as taking `values[⌊n·U⌋]` for n uniform U, and the values are sorted, so the resample's median needs
//! only the middle one or two of n uniform numbers in order. Those follow a beta distribution and are drawn directly:
//! one resample costs the same for 10 runs as for 10,000, and the result is distributed exactly as that of the long
//! way.

use super::{CONFIDENCE, Interval};

/// Resamples for one interval. The error of a 2.5 % quantile from this many is a quarter of a percentage point.
pub const RESAMPLES: usize = 4000;

/// The fewest values from which an interval is made; below, the bootstrap's intervals are far too narrow.
pub const LEAST: usize = 6;

/// The 95 % percentile interval of `median(b) / median(a)` of sorted positive values. The logarithms of medians are
/// what is subtracted, so swapping the two inverts the ends. `None` with fewer than [`LEAST`] values on a side, or
/// where a value is not positive.
pub fn ratio_interval(a: &[f64], b: &[f64], seed: u64) -> Option<Interval> {
    if a.len().min(b.len()) < LEAST || a[0] <= 0.0 || b[0] <= 0.0 {
        return None;
    }
    let mut random = Random::new(seed);
    let mut logs: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let a = resampled_median(a, &mut random);
            resampled_median(b, &mut random).ln() - a.ln()
        })
        .collect();
    logs.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let at = |share: f64| logs[(share * (RESAMPLES - 1) as f64).round() as usize].exp();
    Some(Interval { low: at(tail), high: at(1.0 - tail) })
}

/// The median of as many values as there are, drawn with replacement from sorted `values`, of which there must be one.
pub fn resampled_median(values: &[f64], random: &mut Random) -> f64 {
    let n = values.len();
    let at = |u: f64| values[((u * n as f64) as usize).min(n - 1)];
    // The k-th smallest of n uniform numbers is Beta(k, n+1−k): a gamma number by the sum of two.
    let k = n.div_ceil(2);
    let (below, above) = (random.gamma(k as f64), random.gamma((n + 1 - k) as f64));
    let u = below / (below + above);
    if n % 2 == 1 {
        return at(u);
    }
    // The next one is the smallest of the n−k that lie above it.
    let next = u + (1.0 - u) * (1.0 - random.uniform().powf(1.0 / (n - k) as f64));
    at(u).midpoint(at(next))
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, the same on every machine.
pub struct Random(u64);

impl Random {
    /// A sequence that depends on `seed` only.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between 0 and 1, never one of them.
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Gamma with scale 1 and a shape of at least 1 (Marsaglia and Tsang 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }
}
