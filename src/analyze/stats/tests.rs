//! Against published worked examples, and against what scipy and statsmodels say (`tests/statistics/reference.py`).

use proptest::prelude::*;
use serde_json::Value;

use super::bootstrap::{Random, ratio_interval, resampled_median};
use super::rank::{holm, least_p, mann_whitney, runs_needed, shift};
use super::*;

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut out = values.to_vec();
    out.sort_by(f64::total_cmp);
    out
}

#[track_caller]
fn near(got: f64, expected: f64, relative: f64) {
    assert!((got - expected).abs() <= relative * expected.abs().max(1e-300), "got {got}, expected {expected}");
}

fn reference() -> Value {
    serde_json::from_str(include_str!("../../../tests/statistics/reference.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn medians_and_their_intervals_are_scipys() {
    for case in reference()["samples"].as_array().unwrap() {
        let values = numbers(&case["values"]);
        near(median(&values).unwrap(), case["median"].as_f64().unwrap(), 1e-12);
        let interval = median_interval(&values);
        if values.len() < 6 {
            assert_eq!(interval, None, "not even the whole range of {} values has 95 %", values.len());
        } else {
            let Interval { low, high } = interval.unwrap();
            assert_eq!((Some(low), Some(high)), (case["low"].as_f64(), case["high"].as_f64()), "n = {}", values.len());
        }
        let mad = case["mad"].as_f64().unwrap();
        if values.len() > 2 {
            near(robust_variation(&values).unwrap(), 1.4826 * mad / median(&values).unwrap(), 1e-9);
            near(modified_z(&values)[0], (values[0] - median(&values).unwrap()) / mad, 1e-9);
        }
    }
}

#[test]
fn ranks_of_the_medians_interval_are_those_of_published_tables() {
    // Dixon and Massey, Introduction to Statistical Analysis, table A-25 (95 %): the rank of the lower end, counted
    // from 1.
    for (n, rank) in [
        (5, None),
        (6, Some(1)),
        (8, Some(1)),
        (9, Some(2)),
        (10, Some(2)),
        (15, Some(4)),
        (20, Some(6)),
        (25, Some(8)),
        (30, Some(10)),
        (50, Some(18)),
    ] {
        assert_eq!(median_rank(n).map(|r| r + 1), rank, "n = {n}");
    }
}

#[test]
fn mann_whitney_is_scipys() {
    let reference = reference();
    let (mut exact, mut tied) = (0, 0);
    for case in reference["groups"].as_array().unwrap() {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let test = mann_whitney(&a, &b).unwrap();
        assert_eq!(test.u, case["u"].as_f64().unwrap());
        assert_eq!(Some(test.exact), case["exact"].as_bool());
        near(test.p, case["p"].as_f64().unwrap(), 1e-9);
        exact += usize::from(test.exact);
        tied += usize::from(!test.exact && a.len() * b.len() <= 400);
    }
    assert!(exact >= 5 && tied >= 2, "{exact} exact, {tied} tied");
}

#[test]
fn mann_whitney_on_worked_examples() {
    // Hollander and Wolfe (1973), p. 69: permeability constants of the human chorioamnion; W = 35, one-sided p =
    // 0.1272.
    let at_term = sorted(&[0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]);
    let earlier = sorted(&[1.15, 0.88, 0.90, 0.74, 1.21]);
    let test = mann_whitney(&at_term, &earlier).unwrap();
    assert!(test.exact && test.u == 35.0);
    assert_eq!(format!("{:.4}", test.p), "0.2544");
    // Aesop's tortoises and hares, finishing T H H H H H T T T T T H: U is 11 for the one and 25 for the other.
    let tortoises = [1.0, 7.0, 8.0, 9.0, 10.0, 11.0];
    let hares = [2.0, 3.0, 4.0, 5.0, 6.0, 12.0];
    assert_eq!(mann_whitney(&tortoises, &hares).unwrap().u, 25.0);
    assert_eq!(mann_whitney(&hares, &tortoises).unwrap().u, 11.0);
    // Complete separation, by counting: 2/C(8,4), 2/C(20,10).
    near(mann_whitney(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]).unwrap().p, 2.0 / 70.0, 1e-12);
    near(least_p(10, 10), 2.0 / 184_756.0, 1e-12);
    assert_eq!(mann_whitney(&[5.0, 5.0], &[5.0, 5.0, 5.0]).unwrap().p, 1.0, "nothing but ties shows nothing");
    assert_eq!(mann_whitney(&[], &[1.0]), None);
    assert_eq!((runs_needed(1.0), runs_needed(2.0), runs_needed(40.0)), (4, 5, 7));
}

#[test]
fn shifts_are_what_scipys_test_does_not_reject() {
    let reference = reference();
    let mut seen = 0;
    for case in reference["groups"].as_array().unwrap().iter().filter(|c| !c["shift"].is_null()) {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let got = shift(&a, &b).unwrap();
        near(got.value, case["shift"]["value"].as_f64().unwrap(), 1e-12);
        let Some(ends) = case["shift"]["interval"].as_array() else {
            assert_eq!(got.interval, None, "{} and {} values reject nothing", a.len(), b.len());
            continue;
        };
        let Interval { low, high } = got.interval.unwrap();
        near(low, ends[0].as_f64().unwrap(), 1e-12);
        near(high, ends[1].as_f64().unwrap(), 1e-12);
        seen += 1;
    }
    assert!(seen > 8);
}

#[test]
fn a_shift_on_a_worked_example() {
    // The same constants; estimate 0.305, and -0.15 to 0.76 is what R's wilcox.test(conf.int = TRUE) says. Ours is of
    // ratios.
    let exp = |v: &[f64]| sorted(&v.iter().map(|x| x.exp()).collect::<Vec<_>>());
    let at_term = exp(&[0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]);
    let earlier = exp(&[1.15, 0.88, 0.90, 0.74, 1.21]);
    let got = shift(&earlier, &at_term).unwrap();
    let interval = got.interval.unwrap();
    // R takes the median of differences and we that of ratios: of an even number they are not quite the same.
    near(got.value.ln(), 0.305, 1e-4);
    near(interval.low.ln(), -0.15, 1e-9);
    near(interval.high.ln(), 0.76, 1e-9);
    assert_eq!((shift(&[], &[1.0]), shift(&[0.0, 1.0], &[1.0])), (None, None));
}

#[test]
fn holm_is_statsmodels_and_rs() {
    for case in reference()["holm"].as_array().unwrap() {
        let asked: Vec<(f64, f64)> = numbers(&case["p"]).into_iter().map(|p| (p, 0.25)).collect();
        for (got, expected) in holm(&asked).into_iter().zip(numbers(&case["corrected"])) {
            near(got, expected, 1e-9);
        }
    }
    // A question with half of all weight is asked twice as strictly as if it were alone, however many others there are.
    let mut asked = vec![(0.01, 100.0)];
    asked.extend(std::iter::repeat_n((0.9, 1.0), 100));
    near(holm(&asked)[0], 0.02, 1e-9);
    assert!(holm(&[]).is_empty());
}

#[test]
fn ratio_intervals_are_those_of_a_long_bootstrap() {
    let reference = reference();
    let mut seen = 0;
    for case in reference["groups"].as_array().unwrap() {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let ratio = ratio_interval(&a, &b, 1);
        let Some(expected) = case["ratio"].as_array() else {
            assert_eq!(ratio, None);
            continue;
        };
        let Interval { low, high } = ratio.unwrap();
        let expected: Vec<f64> = expected.iter().map(|v| v.as_f64().unwrap()).collect();
        // The ends are themselves random: by some hundredths of the interval's width, and more where few values make
        // big steps.
        let slack = (expected[1] - expected[0]) * if a.len() < 20 { 0.12 } else { 0.06 };
        assert!((low - expected[0]).abs() <= slack && (high - expected[1]).abs() <= slack, "{low} {high} {expected:?}");
        seen += 1;
    }
    assert!(seen > 8);
}

/// The shortcut by beta distributed ranks draws medians as the long way does.
#[test]
fn a_resampled_median_is_the_median_of_a_resample() {
    for n in [1usize, 2, 3, 6, 7, 10, 31] {
        let values: Vec<f64> = (0..n).map(|i| (i * i) as f64).collect();
        let mut random = Random::new(n as u64);
        const DRAWS: usize = 20_000;
        let mut short: Vec<f64> = (0..DRAWS).map(|_| resampled_median(&values, &mut random)).collect();
        let mut long: Vec<f64> = (0..DRAWS)
            .map(|_| {
                let drawn: Vec<f64> = (0..n).map(|_| values[(random.bits() % n as u64) as usize]).collect();
                median(&sorted(&drawn)).unwrap()
            })
            .collect();
        short.sort_by(f64::total_cmp);
        long.sort_by(f64::total_cmp);
        // Kolmogorov–Smirnov: the greatest distance of the two distributions, at any value that occurs.
        let below = |v: &[f64], x: f64| v.partition_point(|y| *y <= x) as f64 / DRAWS as f64;
        let far = short.iter().map(|x| (below(&short, *x) - below(&long, *x)).abs()).fold(0.0, f64::max);
        assert!(far < 1.95 * (2.0 / DRAWS as f64).sqrt(), "n = {n}: {far}");
    }
}

#[test]
fn far_out_means_ten_standard_deviations() {
    let mut values: Vec<f64> = (0..20).map(|i| 100.0 + f64::from(i % 5)).collect();
    assert!(modified_z(&values).into_iter().all(|z| !is_outlier(z)));
    values[7] = 1000.0;
    let z = modified_z(&values);
    assert_eq!((0..20).filter(|i| is_outlier(z[*i])).collect::<Vec<_>>(), [7]);
    // More than half are equal: there is no scale to be far out on.
    assert!(modified_z(&[1.0, 1.0, 1.0, 9.0]).into_iter().all(|z| z == 0.0));
    assert!(modified_z(&[]).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn sides_can_be_swapped(a in proptest::collection::vec(1u32..40, 1..25), b in proptest::collection::vec(1u32..40, 1..25)) {
        let values = |v: &[u32]| sorted(&v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
        let (a, b) = (values(&a), values(&b));
        let (one, two) = (mann_whitney(&a, &b).unwrap(), mann_whitney(&b, &a).unwrap());
        prop_assert!((one.p - two.p).abs() < 1e-12);
        prop_assert_eq!(one.u + two.u, (a.len() * b.len()) as f64);
        prop_assert!(one.p > 0.0 && one.p <= 1.0);
        // By pairs, the slow way.
        let pairs: f64 = a.iter().flat_map(|x| b.iter().map(move |y| if x > y { 1.0 } else if x == y { 0.5 } else { 0.0 })).sum();
        prop_assert_eq!(one.u, pairs);
    }

    #[test]
    fn the_shift_excludes_1_where_the_test_sees_a_difference(a in proptest::collection::vec(1u32..4000, 3..30), b in proptest::collection::vec(1u32..4000, 3..30), by in 1u32..4, grid in 1u32..200) {
        // A coarse grid makes ties.
        let values = |v: &[u32], by: u32| sorted(&v.iter().map(|x| f64::from((x / grid * grid).max(1) * by)).collect::<Vec<_>>());
        let (a, b) = (values(&a, 1), values(&b, by));
        let test = mann_whitney(&a, &b).unwrap();
        let got = shift(&a, &b).unwrap();
        prop_assert!(test.p >= ALPHA || got.interval.is_some());
        if let Some(Interval { low, high }) = got.interval {
            prop_assert!(low <= got.value && got.value <= high);
            let greater = test.u < (a.len() * b.len()) as f64 / 2.0;
            prop_assert!(test.p >= ALPHA || if greater { low >= 1.0 } else { high <= 1.0 }, "{} {low} {high}", test.p);
            // Without ties it is the other way round, too.
            let mut all = [a.clone(), b.clone()].concat();
            let n = all.len();
            all.sort_by(f64::total_cmp);
            all.dedup();
            prop_assert!(all.len() < n || test.p < ALPHA || (low <= 1.0 && high >= 1.0), "{} {low} {high}", test.p);
        }
    }

    #[test]
    fn intervals_hold_the_median(v in proptest::collection::vec(1.0f64..1e9, 6..60), w in proptest::collection::vec(1.0f64..1e9, 6..60)) {
        let (v, w) = (sorted(&v), sorted(&w));
        let middle = median(&v).unwrap();
        let Interval { low, high } = median_interval(&v).unwrap();
        prop_assert!(low <= middle && middle <= high);
        let Interval { low, high } = ratio_interval(&v, &w, 3).unwrap();
        prop_assert!(low <= high);
        prop_assert_eq!(ratio_interval(&v, &w, 3), ratio_interval(&v, &w, 3));
    }

    #[test]
    fn corrected_ps_keep_their_order_and_only_grow(p in proptest::collection::vec(0.0f64..1.0, 1..40)) {
        let corrected = holm(&p.iter().map(|p| (*p, 1.0)).collect::<Vec<_>>());
        for (i, p_i) in p.iter().enumerate() {
            prop_assert!(corrected[i] >= *p_i && corrected[i] <= 1.0);
            prop_assert!(corrected[i] <= (p_i * p.len() as f64).min(1.0) + 1e-12, "never stricter than Bonferroni");
            for (j, p_j) in p.iter().enumerate() {
                prop_assert!(p_i > p_j || corrected[i] <= corrected[j]);
            }
        }
    }
}
