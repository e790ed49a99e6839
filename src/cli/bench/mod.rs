//! `trace bench`: many runs of one image, each a process of its own, cold and warm and engines in turn.

mod bundle;
mod check;
mod engines;
mod process;
mod state;

pub use state::all;

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::check::{Check, Judgement};
use self::engines::Ready;
use self::process::{Ended, Watch};
use super::output::{To, check_files, print, say, say_text, style, write};
use super::{CliError, Done, args, export};
use crate::analyze::bench::{Bench, BenchRun, Engine as Named, OURS, Plan, Skipped, succeeded};
use crate::container::signals::Signals;
use crate::record::clock::unix_now;
use crate::record::model::TraceId;
use crate::report::{self, Format};
use crate::store::Store;

/// So many failures of our own engine in a row end the bench.
const GIVE_UP: usize = 3;

/// `trace bench`.
pub fn bench(args: &args::Bench) -> Done {
    check(args)?;
    let checks = args.check.iter().map(|c| Check::parse_all(c)).collect::<Result<Vec<_>, _>>();
    let checks = checks.map_err(CliError::Usage)?.concat();
    checks.iter().try_for_each(Check::can_be_judged)?;
    export::check_url(args.otlp.as_deref())?;
    let mut words = args.image_and_command.iter().cloned();
    let plan = Plan {
        image: words.next().unwrap_or_default(),
        command: words.collect(),
        hub: args.hub.clone(),
        cold: args.cold,
        warm: args.warm,
        vs: args.vs.clone(),
        cold_level: if args.drop_caches { "page-cache" } else { "store" }.to_owned(),
    };
    let store = Store::open(&Store::default_root()?)?;
    let signals = Signals::block().map_err(super::run::signals_failed)?;
    let mut watch = Watch::new(signals);
    let mut bench = match args.resume.then(|| state::unfinished(&store, &plan)).flatten() {
        Some(bench) => {
            say(&format!(
                "Going on with bench {}: {} are there",
                &bench.id[..8],
                report::units::count(bench.runs.len() as u64, "run")
            ));
            bench
        }
        None => state::new(plan),
    };
    let _lock = state::lock(&store, &bench.id)?;
    let own = store.tmp()?;
    let stores = Stores { own: Store::open(own.path())?, kept: &store };
    let mut engines = ready(&stores.own, &mut bench, &mut watch)?;
    // One that was interrupted before all engines were asked does not know what it lacks.
    let complete = !watch.asked();
    let before = bench.runs.len();
    let result = measure(&stores, &mut bench, &mut engines, &mut watch);
    engines.finish(&mut watch);
    drop(own);
    bench.finished = result.is_ok() && complete && bench.runs.len() >= asked_for(&bench);
    state::save(&store, &bench)?;
    tell(args, &bench)?;
    let id = |r: &BenchRun| TraceId::from_hex(r.trace_id.as_deref()?);
    let ids: Vec<TraceId> = bench.runs[before..].iter().filter_map(id).collect();
    export::after_run::after_bench(&store, &ids, args.otlp.as_deref(), args.jaeger_url.as_deref());
    result?;
    if !bench.finished {
        return Ok(130);
    }
    judge(&checks, &bench, &store)
}

/// Says what became of each bound; 1 if one is not kept.
fn judge(checks: &[Check], bench: &Bench, store: &Store) -> Done {
    let mut code = 0;
    for check in checks {
        match check.judge(bench, store)? {
            Judgement::Kept(sentence) => say(&format!("kept {sentence}")),
            Judgement::Unknown(sentence) => say(&format!("Note: {sentence}")),
            Judgement::Broken(sentence) => {
                say(&format!("trace: not kept {sentence}"));
                code = 1;
            }
        }
    }
    Ok(code)
}

/// What clap cannot see.
fn check(args: &args::Bench) -> Result<(), CliError> {
    let usage = |text: String| Err(CliError::Usage(text));
    if args.cold + args.warm == 0 {
        return usage("nothing to do: expected at least one run by `--cold N` or `--warm N`".to_owned());
    }
    // As in `docker run` all that follows the image belongs to the container; here that is hardly ever meant.
    const OURS: [&str; 11] = [
        "--cold",
        "--warm",
        "--hub",
        "--vs",
        "--drop-caches",
        "--resume",
        "--output",
        "-o",
        "--json",
        "--check",
        "--export-hyperfine",
    ];
    let own = |word: &&String| OURS.contains(&word.split('=').next().unwrap_or_default());
    if let Some(word) = args.image_and_command.get(1).filter(own) {
        return usage(format!(
            "`{word}` stands after the image, so it would be an argument of the container: expected it before `{}`",
            args.image_and_command[0]
        ));
    }
    if args.drop_caches && !rustix::process::geteuid().is_root() {
        return usage("`--drop-caches` needs root: only root may empty the kernel's page cache".to_owned());
    }
    if !args.vs.is_empty() && matches!(args.hub.as_str(), "auto" | "") {
        return usage(
            "`--vs` needs one registry that all engines pull from: expected `--hub builtin`, `--hub docker.io` or `--hub HOST`"
                .to_owned(),
        );
    }
    match args.output.as_deref().map(|p| (p, Format::of_file(p, &Format::OF_BENCH))) {
        Some((path, None)) => {
            usage(format!("the ending of `{}` names no format: expected `.md` or `.json`", path.display()))
        }
        _ => check_files([args.output.as_deref(), args.export_hyperfine.as_deref()]),
    }
}

/// Our engine, and of the others those that can take part.
fn ready(store: &Store, bench: &mut Bench, watch: &mut Watch) -> Result<Ready, Box<dyn crate::error::Failure>> {
    let mut ready = engines::prepare(store, bench, watch)?;
    bench.skipped = std::mem::take(&mut ready.skipped);
    for Skipped { name, why } in &bench.skipped {
        say(&format!("{name} does not take part: {why}"));
    }
    let named = ready.engines.iter().map(|e| Named {
        name: e.name.to_owned(),
        version: e.version.clone(),
        command: e.warm.clone(),
        note: e.note.clone(),
    });
    bench.engines = named.collect();
    Ok(ready)
}

fn asked_for(bench: &Bench) -> usize {
    let cold = bench.engines.iter().filter(|e| engines::pulls(&e.name)).count();
    cold * bench.plan.cold + bench.engines.len() * bench.plan.warm
}

/// The turns that are still to come: in each round all cold ones, then all warm ones, and every round another engine
/// begins.
fn turns(bench: &Bench) -> Vec<(usize, &'static str, String)> {
    let mut out = Vec::new();
    for round in 0..bench.plan.cold.max(bench.plan.warm) {
        for (kind, count) in [("cold", bench.plan.cold), ("warm", bench.plan.warm)] {
            for i in 0..bench.engines.len() {
                let name = &bench.engines[(i + round) % bench.engines.len()].name;
                let done = || bench.runs.iter().any(|r| r.round == round && r.kind == kind && r.engine == *name);
                if round < count && (kind == "warm" || engines::pulls(name)) && !done() {
                    out.push((round, kind, name.clone()));
                }
            }
        }
    }
    out
}

/// Where the images of a bench are, and where its runs are kept.
struct Stores<'a> {
    own: Store,
    kept: &'a Store,
}

impl Stores<'_> {
    /// Takes the recorded run over; whether it was there.
    fn keep(&self, id: TraceId) -> bool {
        let (from, to) = (self.own.trace_path(id), self.kept.trace_path(id));
        std::fs::rename(from, to).is_ok()
    }
}

fn measure(
    stores: &Stores<'_>,
    bench: &mut Bench,
    ready: &mut Ready,
    watch: &mut Watch,
) -> Result<(), Box<dyn crate::error::Failure>> {
    let turns = turns(bench);
    let progress = Progress::new(turns.len());
    let mut failed = 0;
    for (i, (round, kind, name)) in turns.iter().enumerate() {
        let Some(engine) = ready.engines.iter_mut().find(|e| e.name == name) else { continue };
        progress.turn(i, *round, kind, name);
        if *kind == "cold" {
            engine.forget(watch);
        } else if !engine.has_image {
            // The first warm run must find the image; this one is not counted.
            let _ = engine.run("warm", watch)?;
        }
        settle(&stores.own, *kind == "cold" && bench.plan.cold_level == "page-cache")?;
        if watch.asked() {
            break;
        }
        let start_unix_ns = unix_now();
        let Ended { wall, code, said, trace, cut_short } = engine.run(kind, watch)?;
        if cut_short {
            break;
        }
        engine.has_image = true;
        let run = BenchRun {
            engine: name.clone(),
            kind: (*kind).to_owned(),
            round: *round,
            process_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
            exit_code: code,
            start_unix_ns,
            trace_id: trace.filter(|t| stores.keep(*t)).map(|t| t.to_string()),
        };
        if succeeded(&run) {
            failed = 0;
        } else {
            failed += 1;
            progress.above(&format!(
                "{name} failed with {code}: {}",
                said.lines().last().unwrap_or("it says nothing").trim()
            ));
        }
        bench.runs.push(run);
        state::save(stores.kept, bench)?;
        if failed >= GIVE_UP {
            progress.clear();
            return Err(CliError::Usage(format!("{GIVE_UP} runs in a row failed: the bench ends here")).into());
        }
        if watch.asked() {
            break;
        }
    }
    progress.clear();
    Ok(())
}

/// Writes out what earlier runs left dirty, so that it does not burden the next one; with `drop` the page cache goes
/// too.
fn settle(store: &Store, drop: bool) -> Result<(), CliError> {
    let fail = |path: &str| {
        let path = path.to_owned();
        move |source| CliError::File { action: "write out", path, source }
    };
    let root = store.path("");
    let dir = std::fs::File::open(&root).map_err(fail(&root.display().to_string()))?;
    rustix::fs::syncfs(&dir).map_err(|e| fail(&root.display().to_string())(e.into()))?;
    if drop {
        // Linux, Documentation/admin-guide/sysctl/vm.rst: 3 is page cache, dentries and inodes; only clean ones go.
        rustix::fs::sync();
        std::fs::write("/proc/sys/vm/drop_caches", "3").map_err(fail("/proc/sys/vm/drop_caches"))?;
    }
    Ok(())
}

fn tell(args: &args::Bench, bench: &Bench) -> Result<(), CliError> {
    if let Some(path) = &args.output {
        let text = match Format::of_file(path, &Format::OF_BENCH) {
            Some(Format::Json) => report::bench::json(bench),
            _ => report::bench::markdown(bench),
        };
        write(path, &text)?;
    }
    if let Some(path) = &args.export_hyperfine {
        write(path, report::bench::hyperfine(bench))?;
    }
    if args.json {
        print(report::bench::json(bench));
        say_text(report::bench::text(bench, &style(To::Stderr)));
    } else {
        print(report::bench::text(bench, &style(To::Stdout)));
    }
    if !bench.runs.is_empty() {
        say(&report::bench::pointer(bench));
    }
    if !bench.finished {
        say("Not finished: the same command with `--resume` goes on");
    }
    Ok(())
}

/// A bar on a terminal, else a line now and then.
struct Progress {
    bar: ProgressBar,
    begun: Instant,
    live: bool,
    total: usize,
    said: std::cell::Cell<Option<Instant>>,
}

impl Progress {
    fn new(total: usize) -> Self {
        use std::io::IsTerminal;
        let live = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            Some(total as u64),
            if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        if let Ok(style) = ProgressStyle::with_template("{bar:20} {pos}/{len}  {msg}") {
            bar.set_style(style);
        }
        Progress { bar, begun: Instant::now(), live, total, said: std::cell::Cell::new(None) }
    }

    /// Before turn `i`.
    fn turn(&self, i: usize, round: usize, kind: &str, name: &str) {
        let left = left(self.total - i, i, self.begun.elapsed());
        let left = left.map_or(String::new(), |d| format!(", about {} left", seconds(d)));
        let what = if name == OURS { kind.to_owned() } else { format!("{kind} {name}") };
        self.bar.set_position(i as u64);
        self.bar.set_message(format!("round {}, {what}{left}", round + 1));
        const SELDOM: Duration = Duration::from_secs(10);
        if !self.live && self.said.get().is_none_or(|at| at.elapsed() > SELDOM) {
            self.said.set(Some(Instant::now()));
            say(&format!("Run {} of {}{left}", i + 1, self.total));
        }
    }

    fn above(&self, line: &str) {
        self.bar.suspend(|| say(&super::output::clean(line)));
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// What is still to do at the pace so far: preparing and writing out is part of a turn.
fn left(turns: usize, done: usize, elapsed: Duration) -> Option<Duration> {
    (done > 0).then(|| elapsed.mul_f64(turns as f64 / done as f64))
}

fn seconds(d: Duration) -> String {
    match d.as_secs() {
        s @ 0..120 => format!("{} s", s.max(1)),
        s => format!("{} min", s.div_ceil(60)),
    }
}
