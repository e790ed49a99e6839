//! Every reader against broken files: no panic, no hang, no memory without end.
#![allow(clippy::print_stdout, reason = "figures for whoever runs it by hand")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use trace_run::analyze::Analysis;
use trace_run::formats::{WireFormat, mapping, read};
use trace_run::record::file;
use trace_run::report;

use super::common::fixtures;
use super::mutate::{self, Dice};

/// What one case may take. The machine may be busy with others.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest growth of memory in all cases together, bytes: inputs are some 100 kB, and what comes of each is dropped.
const MEMORY: u64 = 512 << 20;

#[test]
fn broken_files_are_refused_or_read() {
    run(Duration::from_secs(5), 1);
}

/// `TRACE_FUZZ_SECONDS=3600 cargo test --test fuzz -- --ignored --nocapture an_hour`
#[test]
#[ignore = "takes as long as TRACE_FUZZ_SECONDS says"]
fn an_hour_of_broken_files() {
    let seconds = std::env::var("TRACE_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3600);
    let seed = std::env::var("TRACE_FUZZ_SEED").ok().and_then(|s| s.parse().ok());
    let now = || std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(2, |d| d.as_secs());
    run(Duration::from_secs(seconds), seed.unwrap_or_else(now));
}

fn run(length: Duration, seed: u64) {
    let seeds = seeds();
    let begun = Instant::now();
    let before = resident("VmRSS");
    let (mut cases, mut read, mut slowest, mut findings) = (0u64, 0u64, Duration::ZERO, Vec::new());
    let mut said = begun;
    // Only this thread is silent: other tests run beside it.
    let (told, this) = (std::panic::take_hook(), std::thread::current().id());
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() != this {
            told(panic);
        }
    }));
    while begun.elapsed() < length {
        let case = seed.wrapping_mul(1 << 32).wrapping_add(cases);
        let bytes = mutate::file(&mut Dice::new(case), &seeds);
        let start = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| one(&bytes)));
        let took = start.elapsed();
        slowest = slowest.max(took);
        cases += 1;
        match done {
            Ok(was_read) => read += u64::from(was_read),
            Err(panic) => {
                let why = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                findings.push(keep(&bytes, case, &why.unwrap_or_default()));
            }
        }
        if took > PATIENCE {
            findings.push(keep(&bytes, case, &format!("took {took:?}")));
        }
        if said.elapsed() > Duration::from_secs(60) {
            said = Instant::now();
            println!(
                "{} s: {cases} cases, {read} read, slowest {slowest:?}, {} findings, peak {} MiB",
                begun.elapsed().as_secs(),
                findings.len(),
                resident("VmHWM") >> 20
            );
        }
    }
    let _ = std::panic::take_hook();
    let peak = resident("VmHWM").saturating_sub(before);
    println!(
        "{cases} cases in {:?} from seed {seed}: {read} read, slowest {slowest:?}, memory grew by at most {} MiB",
        begun.elapsed(),
        peak >> 20
    );
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    assert!(cases > 50 && read > 0, "{cases} cases, {read} read");
    assert!(peak < MEMORY, "memory grew by {} MiB", peak >> 20);
}

/// Whether it was read. What was read is also shown, brought onto our names, written in every form, and read back.
fn one(bytes: &[u8]) -> bool {
    let name = Path::new("fuzz");
    let traces = match read::parse(bytes, name) {
        Ok(traces) => traces,
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.len() < 2000, "a sentence of {} bytes", sentence.len());
            assert!(!sentence.contains('\n'), "{sentence}");
            return false;
        }
    };
    assert!(!traces.is_empty());
    for format in [WireFormat::OtlpProto, WireFormat::Jaeger, WireFormat::Chrome, WireFormat::Perfetto] {
        let _ = format.render(&traces);
    }
    for mut trace in traces.into_iter().take(4) {
        let line = file::to_line(&trace);
        let again = file::parse(line.as_bytes(), name).unwrap_or_else(|e| panic!("our own line: {e}")).remove(0);
        assert_eq!(file::to_line(&again), line);
        let spans = trace.spans.len();
        mapping::apply(&mut trace);
        if let Some(analysis) = Analysis::of(&trace) {
            assert!(analysis.segments.iter().map(|s| s.duration()).sum::<u64>() == analysis.wall());
            let _ = report::terminal::waterfall::waterfall(
                &trace,
                &analysis,
                &report::Style::PLAIN,
                report::rows::Extent::Full,
            );
        }
        mapping::undo(&mut trace);
        assert!(trace.spans.len() <= spans);
    }
    true
}

/// The fixtures, two of them compressed as well, and our own recorded runs in every form.
fn seeds() -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> =
        fixtures::all().iter().map(|path| std::fs::read(path).unwrap()).filter(|b| b.len() < 200_000).collect();
    let dir = tempfile::tempdir().unwrap();
    for name in ["dockerd-cold.pb.gz", "jaeger-v3-cri.json.zst"] {
        out.push(std::fs::read(fixtures::compressed(name, dir.path())).unwrap());
    }
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    for name in ["warm-hello-world", "cold-hello-world"] {
        let traces = file::read(&ours.join(format!("{name}.otlp.jsonl"))).unwrap();
        out.extend([WireFormat::Otlp, WireFormat::OtlpProto, WireFormat::Jaeger].map(|f| f.render(&traces)));
    }
    out
}

/// Of this process, bytes.
fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn keep(bytes: &[u8], case: u64, why: &str) -> String {
    let path: PathBuf = std::env::temp_dir().join(format!("trace-fuzz-{case}"));
    std::fs::write(&path, bytes).unwrap();
    let why: String = why.chars().take(300).collect();
    println!("finding: {} ({} bytes): {why}", path.display(), bytes.len());
    format!("{} ({} bytes): {why}", path.display(), bytes.len())
}
