//! Is it a difference? Mann–Whitney's U, the shift that belongs to it (Hodges and Lehmann), and Holm's correction for
//! asking many times.

use super::{ALPHA, Interval};

/// Up to this product of the sizes the distribution of U is counted out; beyond it the normal distribution is the same
/// to three digits.
const EXACT: usize = 400;

/// What the test says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// Pairs in which the value of the first group is greater, ties by half.
    pub u: f64,
    /// Probability of a U at least as far from the middle if both groups are of one distribution; two-sided.
    pub p: f64,
    /// Whether the distribution was counted out.
    pub exact: bool,
}

/// Mann and Whitney (1947), two-sided. Without ties and with at most 400 pairs exact; else normal with the correction
/// for ties and for continuity. Both groups must be sorted. `None` if one is empty.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> Option<MannWhitney> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (u, ties) = u_and_ties(a, b);
    let far = u.max(n * m - u);
    if ties == 0.0 && a.len() * b.len() <= EXACT {
        let tails = exact_tails(a.len(), b.len());
        let p = tails[(n * m - far) as usize].min(1.0);
        return Some(MannWhitney { u, p, exact: true });
    }
    let variance = variance(n, m, ties);
    // All values equal: nothing is shown.
    let p = if variance > 0.0 {
        let z = (far - n * m / 2.0 - 0.5) / variance.sqrt();
        libm::erfc(z / std::f64::consts::SQRT_2).min(1.0)
    } else {
        1.0
    };
    Some(MannWhitney { u, p, exact: false })
}

/// U of the first group and Σ(t³ − t) over groups of t equal values.
fn u_and_ties(a: &[f64], b: &[f64]) -> (f64, f64) {
    let (mut i, mut j, mut u, mut ties) = (0, 0, 0.0, 0.0);
    while i < a.len() || j < b.len() {
        let value = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.min(*y),
            (Some(x), None) => *x,
            (None, Some(y)) => *y,
            (None, None) => break,
        };
        let same_a = a[i..].iter().take_while(|v| **v == value).count();
        let same_b = b[j..].iter().take_while(|v| **v == value).count();
        if same_a + same_b == 0 {
            break; // not a number
        }
        u += same_a as f64 * (j as f64 + same_b as f64 / 2.0);
        let t = (same_a + same_b) as f64;
        ties += t * t * t - t;
        i += same_a;
        j += same_b;
    }
    (u, ties)
}

/// Variance of U with the correction for ties.
fn variance(n: f64, m: f64, ties: f64) -> f64 {
    let all = n + m;
    n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)))
}

/// For each U from 0 on twice the probability of one as small.
fn exact_tails(n: usize, m: usize) -> Vec<f64> {
    // ways[k][u]: subsets of k of the ranks seen so far whose U is u. Counts as floating point: C(40, 20) needs 38
    // bits, and they are exact to 53.
    let most = n * m;
    let mut ways = vec![vec![0.0f64; most + 1]; n + 1];
    ways[0][0] = 1.0;
    for rank in 0..n + m {
        for k in (1..=n.min(rank + 1)).rev() {
            // As the k-th smallest of its group this rank has rank − (k − 1) values of the other below it.
            let below = rank + 1 - k;
            if below > m {
                continue;
            }
            let (left, right) = ways.split_at_mut(k);
            for (to, from) in right[0][below..].iter_mut().zip(&left[k - 1]) {
                *to += from;
            }
        }
    }
    let all: f64 = ways[n].iter().sum();
    let mut sum = 0.0;
    ways[n]
        .iter()
        .map(|ways| {
            sum += ways;
            2.0 * sum / all
        })
        .collect()
}

/// By what factor the second group is greater.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Shift {
    /// The median of all ratios of a value of the second group to one of the first (Hodges and Lehmann 1963, for
    /// logarithms).
    pub value: f64,
    /// All factors that [`mann_whitney`] would not reject at 5 % if the second group were divided by them. So it holds
    /// 1 in its inside exactly where the test shows no difference. `None` where no factor can be rejected: too few
    /// values.
    pub interval: Option<Interval>,
}

/// The shift between two sorted groups of positive values. `None` if one is empty or a value is not positive.
pub fn shift(a: &[f64], b: &[f64]) -> Option<Shift> {
    if a.first().is_none_or(|v| *v <= 0.0) || b.first().is_none_or(|v| *v <= 0.0) {
        return None;
    }
    let pairs = a.len() * b.len();
    let value = ratio_at(a, b, (pairs - 1) / 2).midpoint(ratio_at(a, b, pairs / 2));
    let ends = |c: usize| Interval { low: ratio_at(a, b, c), high: ratio_at(a, b, pairs - 1 - c) };
    Some(Shift { value, interval: greatest_rejected(a, b).map(ends) })
}

/// The greatest U that the test rejects.
fn greatest_rejected(a: &[f64], b: &[f64]) -> Option<usize> {
    /// z of a two-sided 5 %.
    const Z: f64 = 1.959_963_984_540_054;
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (_, ties) = u_and_ties(a, b);
    if ties == 0.0 && a.len() * b.len() <= EXACT {
        return exact_tails(a.len(), b.len()).iter().take_while(|p| **p < ALPHA).count().checked_sub(1);
    }
    // The ties are those at a factor of 1, which is where the interval has to agree with the test.
    let below = n * m / 2.0 - 0.5 - Z * variance(n, m, ties).sqrt();
    // The greatest whole number below it.
    (below > 0.0).then(|| below.ceil() as usize - 1)
}

/// The ratio b/a that has `k` of all ratios below it, by halving: the ratios themselves would be millions for groups of
/// thousands.
fn ratio_at(a: &[f64], b: &[f64], k: usize) -> f64 {
    // Among very many ratios nine digits are enough, and multiplying is several times as fast as dividing.
    let many = a.len() * b.len() > 1_000_000;
    let at_most = |ratio: f64| {
        // As values of the first group grow, more of the second lie below their multiple.
        let mut j = 0;
        a.iter().fold(0, |sum, x| {
            let limit = ratio * x;
            while j < b.len() && if many { b[j] <= limit } else { b[j] / x <= ratio } {
                j += 1;
            }
            sum + j
        })
    };
    // Positive numbers are in the order of their bits.
    let near = if many { 1u64 << 22 } else { 0 };
    let (mut low, mut high) = ((b[0] / a[a.len() - 1]).to_bits(), (b[b.len() - 1] / a[0]).to_bits());
    while high > low + near {
        let middle = low + (high - low) / 2;
        if at_most(f64::from_bits(middle)) > k { high = middle } else { low = middle + 1 }
    }
    f64::from_bits(low)
}

/// The least p that the test can give for groups of these sizes: complete separation.
pub fn least_p(n: usize, m: usize) -> f64 {
    let (n, m) = (n.min(m), n.max(m));
    let choose = (0..n).fold(1.0f64, |c, i| c * (m + 1 + i) as f64 / (i + 1) as f64);
    (2.0 / choose).min(1.0)
}

/// The fewest runs on each side with which a p could stay below [`ALPHA`] after being multiplied by `factor`.
pub fn runs_needed(factor: f64) -> usize {
    // 40 against 40 separates better than 1 in 10²²; nobody asks that many questions.
    (2..40).find(|n| least_p(*n, *n) * factor < ALPHA).unwrap_or(40)
}

/// Holm's correction (1979) with weights: `questions` are pairs of p and a weight; the weights need not add up to 1.
/// Returns corrected p in the same order. With equal weights this is the usual step-down procedure. Whatever the
/// dependence between the questions, the probability of even one wrong "yes" among all of them stays below the level.
pub fn holm(questions: &[(f64, f64)]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..questions.len()).collect();
    order.sort_by(|x, y| {
        let key = |i: usize| questions[i].0 / questions[i].1;
        key(*x).total_cmp(&key(*y)).then(x.cmp(y))
    });
    let mut left: f64 = questions.iter().map(|q| q.1).sum();
    let mut corrected = vec![0.0; questions.len()];
    let mut highest = 0.0f64;
    for i in order {
        let (p, weight) = questions[i];
        // The sum of what is left is never below the weight itself, whatever rounding did.
        highest = highest.max((p * (left / weight).max(1.0)).min(1.0));
        corrected[i] = highest;
        left -= weight;
    }
    corrected
}
