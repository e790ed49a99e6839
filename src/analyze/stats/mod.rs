//! Statistics that need no assumption about the shape of a distribution: run times are skewed and have long tails.
//!
//! Nothing is deleted as an outlier; values far out are only pointed at. All functions are deterministic.

pub mod bootstrap;
pub mod rank;
#[cfg(test)]
mod tests;

/// Confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// A differing needs a corrected p below this.
pub const ALPHA: f64 = 0.05;

/// From where on a modified z-score (distance from the median by the median absolute deviation) is pointed at:
/// 10 standard deviations of a normal distribution, as hyperfine does.
pub const OUTLIER: f64 = 14.826;

/// Two ends of a range, both inside.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The middle of sorted values, of an even number the mean of the middle two; `None` of nothing.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(sorted[n / 2]),
        _ => Some(sorted[n / 2 - 1].midpoint(sorted[n / 2])),
    }
}

/// The 95 % interval of the median of sorted values from their order statistics: the narrowest symmetric pair of ranks
/// between which the population's median lies with a probability of at least 95 %, whatever the distribution (binomial
/// with p = ½; David and Nagaraja, Order Statistics, 7.1). `None` below 6 values, of which not even the whole range
/// reaches 95 %.
pub fn median_interval(sorted: &[f64]) -> Option<Interval> {
    let rank = median_rank(sorted.len())?;
    Some(Interval { low: sorted[rank], high: sorted[sorted.len() - 1 - rank] })
}

/// The greatest rank, counted from 0, that may be the lower end.
fn median_rank(n: usize) -> Option<usize> {
    // P(fewer than r+1 of n values below the median) must not exceed 2.5 %.
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let ln_half_n = n as f64 * 0.5f64.ln();
    let mut ln_choose = 0.0;
    let mut below = 0.0;
    let mut rank = None;
    for r in 0..n / 2 {
        below += f64::exp(ln_choose + ln_half_n);
        // Rounding must not turn 2.5 % exactly into more.
        if below > tail * (1.0 + 1e-9) {
            break;
        }
        rank = Some(r);
        ln_choose += ((n - r) as f64 / (r + 1) as f64).ln();
    }
    rank
}

/// Modified z-scores: (value − median) / median absolute deviation, in the order of `values`. Where more than half of
/// the values are equal the deviation is 0; then nothing is said (all zeros) rather than everything else called an
/// outlier.
pub fn modified_z(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(middle) = median(&sorted) else { return Vec::new() };
    let mut deviations: Vec<f64> = sorted.iter().map(|v| (v - middle).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    let mad = median(&deviations).unwrap_or(0.0);
    values.iter().map(|v| if mad > 0.0 { (v - middle) / mad } else { 0.0 }).collect()
}

/// Whether a modified z-score is far out, on either side.
pub fn is_outlier(z: f64) -> bool {
    z.abs() > OUTLIER
}

/// Spread by size, the standard deviation being estimated from the median absolute deviation so that single values far
/// out don't make it: 1.4826 · MAD / median. `None` of nothing or where the median is not positive.
pub fn robust_variation(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = median(&sorted).filter(|m| *m > 0.0)?;
    let mut deviations: Vec<f64> = sorted.iter().map(|v| (v - middle).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    median(&deviations).map(|mad| 1.4826 * mad / middle)
}
