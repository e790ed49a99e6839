use super::*;
use crate::analyze::samples;
use crate::record::model::{Status, TraceId};

/// `n` copies of a sample that differ in id and start.
fn copies(trace: &Trace, n: u64) -> Vec<Trace> {
    (0..n)
        .map(|i| {
            let mut t = trace.clone();
            t.id = TraceId(t.id.0 + (u128::from(i) << 64) + t.spans.len() as u128);
            t.spans.iter_mut().for_each(|s| {
                s.start += i * 1_000_000_000;
                s.end += i * 1_000_000_000;
            });
            t
        })
        .collect()
}

#[test]
fn presence_comes_before_duration() {
    let cold = copies(&samples::cold(1), 10);
    let warm = copies(&samples::warm(), 10);
    let c = compare_traces(("cold", &cold), ("warm", &warm)).unwrap();
    let row = |path: &str| c.phases.iter().find(|p| p.phase.joined() == path).unwrap();
    let pull = row("image.pull");
    assert_eq!((pull.presence_a, pull.presence_b, pull.verdict), (10, 0, Verdict::OnlyA));
    assert_eq!((pull.p, pull.ratio), (None, None));
    assert_eq!(row("image.pull/layer.pull/layer.download").presence_a, 10);
    let run = row("container.run");
    assert_eq!((run.presence_a, run.presence_b), (10, 10));
    assert!(run.p.is_some() && run.ratio.is_some());
    assert_eq!(c.total.verdict, Verdict::Faster);
    assert!(c.layers.is_empty(), "one layer is the same as all layers");
    // Parents before children, in order of start.
    let order: Vec<String> = c.phases.iter().map(|p| p.phase.joined()).collect();
    let at = |path: &str| order.iter().position(|p| p == path).unwrap();
    assert!(at("cache.check") < at("image.pull") && at("image.pull") < at("image.pull/layer.pull"), "{order:?}");
    assert!(at("image.pull/layer.pull/layer.download") < at("container.create"), "{order:?}");
    // The other way round it is the same with the sides swapped.
    let back = compare_traces(("warm", &warm), ("cold", &cold)).unwrap();
    assert_eq!(back.phases.iter().map(|p| p.phase.joined()).collect::<Vec<_>>(), order);
    assert_eq!(back.total.verdict, Verdict::Slower);
    assert_eq!(back.total.p, c.total.p);
}

#[test]
fn layers_are_aligned_by_digest() {
    let six = copies(&samples::cold(6), 3);
    let c = compare_traces(("a", &six), ("b", &six)).unwrap();
    let downloads: Vec<_> =
        c.layers.iter().filter(|l| l.phase.joined() == "image.pull/layer.pull/layer.download").collect();
    assert_eq!(downloads.len(), 6);
    assert!(downloads.iter().all(|l| l.presence_a == 3 && l.presence_b == 3));
    assert!(c.warnings.contains(&Warning::InBoth(3)), "{:?}", c.warnings);
    let all = c.phases.iter().find(|p| p.phase.joined() == "image.pull/layer.pull/layer.download").unwrap();
    let union = all.a.as_ref().unwrap().median;
    let sum: f64 = downloads.iter().map(|d| d.a.as_ref().unwrap().median).sum();
    assert!(union <= sum && downloads.iter().all(|d| d.a.as_ref().unwrap().median <= union));
}

#[test]
fn what_cannot_be_supported_is_not_called() {
    let cold = copies(&samples::cold(1), 3);
    let warm = copies(&samples::warm(), 3);
    let one = compare_traces(("cold", &cold[..1]), ("warm", &warm[..1])).unwrap();
    assert!(matches!(one.total.verdict, Verdict::TooFew { .. }), "{:?}", one.total);
    assert!(one.total.ratio.unwrap().interval.is_none());
    let three = compare_traces(("cold", &cold), ("warm", &warm)).unwrap();
    let Verdict::TooFew { needed } = three.total.verdict else { panic!("{:?}", three.total) };
    assert_eq!(needed, 4, "nine tenths of 5 % for the whole run: 2/C(8,4) is the first below");
    // Copies are all equal, so ties make it the normal approximation; real times are not.
    let four = compare_traces(("cold", &copies(&samples::cold(1), 4)), ("warm", &copies(&samples::warm(), 4))).unwrap();
    assert_eq!(four.total.verdict, Verdict::Faster, "{:?}", four.total);
}

#[test]
fn the_runs_that_are_needed_depend_on_what_the_whole_run_said() {
    // Ten runs of 20 phases, of which six are left on each side.
    let mut random = stats::bootstrap::Random::new(3);
    let mut six = |slower: f64, first| {
        let mut runs = drawn(&mut random, &[1.0], slower, first);
        runs.truncate(6);
        runs
    };
    let (a, b, c) = (six(1.0, 1), six(1.0, 100), six(3.0, 200));
    // The whole run passes its weight on: of 20 questions the clearest difference of six and six is certain.
    let certain = compare(("a", &a), ("c", &c)).unwrap();
    assert!(certain.phases.iter().all(|p| p.verdict == Verdict::Slower), "{:?}", certain.phases);
    // If it doesn't, each phase has a two-hundredth of 5 %.
    let unclear = compare(("a", &a), ("b", &b)).unwrap();
    assert_eq!(unclear.total.verdict, Verdict::Unclear);
    assert!(unclear.phases.iter().all(|p| p.verdict == Verdict::TooFew { needed: 8 }), "{:?}", unclear.phases);
    // A phase that did not change among others that did is unclear, and not for want of runs.
    let mut c = c;
    for (run, like) in c.iter_mut().zip(&b) {
        run.phases[7] = like.phases[7].clone();
    }
    let one = compare(("a", &a), ("c", &c)).unwrap();
    let verdicts: Vec<Verdict> = one.phases.iter().map(|p| p.verdict).collect();
    assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Slower).count(), 19, "{verdicts:?}");
    assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Unclear).count(), 1, "{verdicts:?}");
}

#[test]
fn failed_runs_are_left_out_and_counted() {
    let cold = copies(&samples::cold(1), 4);
    let mut warm = copies(&samples::warm(), 4);
    warm[0].spans.iter_mut().filter(|s| s.parent.is_none()).for_each(|s| s.status = Status::Error("no".into()));
    let c = compare_traces(("cold", &cold), ("warm", &warm)).unwrap();
    assert_eq!((c.b.runs.len(), c.b.failed), (3, 1));
    assert!(c.warnings.contains(&Warning::Failed { a: 0, b: 1 }));
    assert!(compare_traces(("cold", &cold), ("warm", &warm[..1])).is_none());
    assert!(compare_traces(("cold", &[]), ("warm", &warm)).is_none());
}

#[test]
fn other_machines_and_hubs_are_said() {
    let cold = copies(&samples::cold(1), 2);
    let mut warm = copies(&samples::warm(), 2);
    warm[1].origins[0].resource.set(crate::names::attr::HOST_ARCH, "arm64");
    warm[0].spans[0].attributes.set(crate::names::attr::HUB, "elsewhere");
    warm[0].origins[0].resource.set(crate::names::attr::BENCH_COLD, "store");
    warm[1].origins[0].resource.set(crate::names::attr::BENCH_COLD, "page-cache");
    let c = compare_traces(("cold", &cold), ("warm", &warm)).unwrap();
    let differs: Vec<Setting> = c
        .warnings
        .iter()
        .filter_map(|w| if let Warning::Differs { setting, .. } = w { Some(*setting) } else { None })
        .collect();
    for setting in [Setting::Architecture, Setting::Hub, Setting::ColdLevel] {
        assert!(differs.contains(&setting), "{differs:?}");
    }
}

/// Wall times in ms of 40 warm and 31 cold runs of hello-world, one after the other on one machine, processor time not
/// shared. The spread (1.4826 · MAD / median) is 7 and 6 %; about one run in ten is slower by a quarter and more, one
/// by six times.
const WARM: [f64; 40] = [
    4.23, 4.23, 4.34, 4.35, 4.38, 4.39, 4.39, 4.40, 4.48, 4.51, 4.54, 4.55, 4.56, 4.56, 4.57, 4.58, 4.58, 4.59, 4.60,
    4.63, 4.67, 4.68, 4.68, 4.75, 4.79, 4.79, 4.87, 4.88, 4.88, 4.90, 4.90, 4.98, 5.03, 5.07, 5.14, 5.30, 6.23, 6.66,
    8.02, 8.20,
];
const COLD: [f64; 31] = [
    8.73, 8.81, 8.83, 8.89, 8.92, 8.92, 8.94, 9.04, 9.04, 9.08, 9.09, 9.11, 9.12, 9.14, 9.27, 9.31, 9.38, 9.40, 9.41,
    9.56, 9.65, 9.66, 9.78, 10.02, 10.38, 10.57, 10.94, 11.04, 11.27, 12.20, 56.43,
];

/// A group of 10 runs with the noise of real ones: a run as a whole is slow or fast as one of `noise`, and each of its
/// 20 phases a little by itself.
fn drawn(random: &mut stats::bootstrap::Random, noise: &[f64], slower: f64, first: u128) -> Vec<Run> {
    let middle = stats::median(noise).unwrap();
    let phases: Vec<Phase> =
        (0..20).map(|i| Phase { path: [format!("phase {i}").into()].into(), layer: None }).collect();
    (0..10u128)
        .map(|i| {
            // Smoothed, or there would be more ties than clocks give.
            let all = noise[(random.bits() % noise.len() as u64) as usize] / middle * (0.02 * random.normal()).exp();
            let phases: Vec<_> = phases
                .iter()
                .map(|p| (p.clone(), (5e5 * slower * all * (0.05 * random.normal()).exp()) as u64, 0))
                .collect();
            Run {
                id: TraceId(first + i),
                name: "run".into(),
                start: i as u64,
                wall_ns: phases.iter().map(|p| p.1).sum(),
                image: None,
                kind: None,
                failed: false,
                observed_by: None,
                settings: Vec::new(),
                phases,
            }
        })
        .collect()
}

/// How often of `trials` the whole run, and anything at all, is called different.
fn called(trials: u64, noise: &[f64], slower: f64) -> (usize, usize) {
    let (mut whole, mut anything) = (0, 0);
    for seed in 0..trials {
        let mut random = stats::bootstrap::Random::new(seed);
        let a = drawn(&mut random, noise, 1.0, 1);
        let b = drawn(&mut random, noise, slower, 100);
        let c = compare_with(("a", &a), ("b", &b), false).unwrap();
        let sure = |p: &PhaseComparison| matches!(p.verdict, Verdict::Faster | Verdict::Slower);
        whole += usize::from(c.total.verdict == Verdict::Slower || (slower == 1.0 && sure(&c.total)));
        anything += usize::from(sure(&c.total) || c.phases.iter().any(sure));
    }
    (whole, anything)
}

#[test]
fn the_noise_is_as_described() {
    assert_eq!([&WARM[..], &COLD].map(|v| (stats::robust_variation(v).unwrap() * 100.0).round()), [7.0, 6.0]);
}

#[test]
fn groups_of_one_distribution_are_seldom_called_different() {
    // 5 % of 1,000 and two standard errors.
    const MOST: usize = 50 + 14;
    for noise in [&WARM[..], &COLD] {
        let (whole, anything) = called(1000, noise, 1.0);
        assert!(whole <= anything && anything <= MOST, "{whole} whole runs, {anything} with any phase, of 1000");
        assert!(anything > 0, "a test that never says yes has no power");
    }
}

#[test]
fn a_real_shift_is_found() {
    for noise in [&WARM[..], &COLD] {
        let (found, _) = called(1000, noise, 1.2);
        assert!(found >= 900, "{found} of 1000");
        let (less, _) = called(100, noise, 1.02);
        assert!(less < 50, "2 % drowns in this noise: {less} of 100");
    }
}

/// A group whose runs as a whole take these times in ms.
fn runs_of(walls: &[f64], first: u128) -> Vec<Run> {
    let mut random = stats::bootstrap::Random::new(1);
    let mut runs = drawn(&mut random, &WARM, 1.0, first);
    runs.truncate(walls.len());
    runs.iter_mut().zip(walls).for_each(|(run, ms)| run.wall_ns = (ms * 1e6) as u64);
    runs
}

#[test]
fn a_verdict_that_the_medians_do_not_carry_says_so() {
    // Eight of ten are faster than nearly all of the others, and on both sides some are far out: ranks are sure,
    // medians are not.
    let a = runs_of(&[5.0, 5.1, 5.2, 5.3, 9.0, 9.1, 9.2, 9.3, 9.4, 9.5], 1);
    let b = runs_of(&[4.0, 4.1, 4.2, 4.3, 4.4, 5.05, 5.15, 8.9, 8.95, 9.15], 100);
    let c = compare(("a", &a), ("b", &b)).unwrap();
    let (ratio, shift) = (c.total.ratio.unwrap().interval.unwrap(), c.total.shift.unwrap().interval.unwrap());
    assert_eq!(c.total.verdict, Verdict::Faster, "{:?}", c.total);
    assert!(ratio.high > 1.0 && shift.high < 1.0, "{ratio:?} {shift:?}");
    assert!(!c.total.medians_agree());
    // Without the stragglers both agree.
    let b = runs_of(&[4.0, 4.1, 4.2, 4.3, 4.4, 4.5, 4.6, 4.7, 4.8, 4.9], 100);
    let c = compare(("a", &a), ("b", &b)).unwrap();
    assert!(c.total.verdict == Verdict::Faster && c.total.medians_agree(), "{:?}", c.total);
}
