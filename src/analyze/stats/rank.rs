//! Is it a difference? Mann–Whitney's U, and Holm's correction for asking many times.

use super::ALPHA;

/// Up to this product of the sizes the distribution of U is counted out; beyond it the normal distribution is the same to three digits.
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

/// Mann and Whitney (1947), two-sided. Without ties and with at most 400 pairs exact; else normal with the correction for ties and for continuity.
/// Both groups must be sorted. `None` if one is empty.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> Option<MannWhitney> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (u, ties) = u_and_ties(a, b);
    let far = u.max(n * m - u);
    if ties == 0.0 && a.len() * b.len() <= EXACT {
        let p = exact_p(a.len(), b.len(), far as usize);
        return Some(MannWhitney { u, p, exact: true });
    }
    let all = n + m;
    let variance = n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
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

/// Twice the probability of a U of at least `far`, at most 1.
fn exact_p(n: usize, m: usize, far: usize) -> f64 {
    // ways[k][u]: subsets of k of the ranks seen so far whose U is u. Counts as floating point: C(40, 20) needs 38 bits, and they are exact to 53.
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
    let tail: f64 = ways[n][far.min(most)..].iter().sum();
    (2.0 * tail / all).min(1.0)
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

/// Holm's correction (1979) with weights: `questions` are pairs of p and a weight; the weights need not add up to 1. Gives corrected p in the same order.
/// With equal weights this is the usual step-down procedure. Whatever the dependence between the questions, the probability of even one
/// wrong "yes" among all of them stays below the level.
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
