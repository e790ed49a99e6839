//! From a finished run to its file and its report. Nothing here happens before the container has gone.

use std::path::Path;

use super::CliError;
use super::export::after_run;
use super::output::{To, clean, say, say_file_unwritten, say_text, style, write};
use crate::analyze::cold_warm::{self, Measured};
use crate::backend::settings::{self, Target};
use crate::container::signals::Signals;
use crate::error::Failure;
use crate::export::after_run::Destination;
use crate::import;
use crate::names::attr;
use crate::record::file;
use crate::record::model::{Attributes, Trace};
use crate::record::{Mono, Recorder};
use crate::report::{self, Format};
use crate::store::Store;
use crate::store::alike::{self, Past};
use crate::store::lock::Lock;
use crate::store::retention::Keep;

/// Starts to record; joins the caller's trace if `TRACEPARENT` says so (W3C trace context by environment).
pub fn begin() -> Recorder {
    let recorder = super::context::recorder();
    recorder.install();
    recorder
}

/// Who recorded and where.
fn resource() -> Attributes {
    host().with(attr::PROCESS_PID, std::process::id())
}

/// The same without the process.
pub fn host() -> Attributes {
    let uname = rustix::system::uname();
    let text = |c: &std::ffi::CStr| c.to_string_lossy().into_owned();
    let mut resource = Attributes::new()
        .with(attr::SERVICE_NAME, "trace")
        .with(attr::SERVICE_VERSION, env!("CARGO_PKG_VERSION"))
        .with(attr::HOST_NAME, text(uname.nodename()))
        .with(attr::HOST_ARCH, host_arch())
        .with(attr::OS_TYPE, "linux")
        .with(attr::OS_VERSION, text(uname.release()));
    let (own, wrong) = settings::resource_attributes(&settings::environment);
    if let Some(wrong) = wrong {
        say(&clean(&format!("Note: {wrong}")));
    }
    for (key, value) in own {
        resource.set(key, value);
    }
    resource
}

/// As OpenTelemetry names it.
pub fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// How much to print at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    Full,
    Short,
    Summary,
    /// Where to find it.
    Pointer,
    None,
}

impl Report {
    pub fn named(name: &str) -> Self {
        match name {
            "full" => Report::Full,
            "summary" => Report::Summary,
            "none" => Report::None,
            _ => Report::Short,
        }
    }
}

/// What is needed to compare with earlier runs of the same image.
pub struct Compared<'a> {
    /// The image's canonical name.
    pub image: &'a str,
    /// Kind of this run.
    pub kind: &'static str,
    /// Kind to compare with.
    pub other: &'static str,
    /// What runs must have in common to be compared, see [`alike::key`].
    pub alike: String,
    /// Only runs that went well are held against others.
    pub succeeded: bool,
}

/// Files that the user asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'a> {
    /// The trace.
    pub trace: Option<&'a Path>,
    /// The report, in the format of the file's ending.
    pub report: Option<&'a Path>,
}

/// What is to be known for sending the trace.
pub struct Export<'a> {
    /// `--otlp`.
    pub url: Option<&'a str>,
    /// Whoever asks for the end doesn't wait for it.
    pub signals: &'a mut Signals,
}

/// Writes the trace, then prints the report, then sends the trace if that is asked for. Gives where it was sent.
pub fn end(
    recorder: &Recorder,
    store: Option<&Store>,
    files: Files<'_>,
    report: Report,
    compared: Option<&Compared<'_>>,
    export: Export<'_>,
) -> Option<Target> {
    let trace = recorder.finish(resource());
    // What the caller does not record is not sent unless the user says so.
    let unsampled = export.url.is_none() && !recorder.sampled();
    let destination = if unsampled { Destination::Nowhere } else { after_run::destination(export.url) };
    let mut mark = after_run::mark(&destination, store, trace.id);
    let mut kept = false;
    if let Some(store) = store {
        match keep(store, &trace, recorder.has_caller()) {
            Ok(()) => kept = true,
            Err(e) => {
                say(&format!("trace: the run is not recorded: {e}"));
                mark = mark.and_then(|m| m.remove().err().and(None));
            }
        }
    }
    if let Some(path) = files.trace
        && let Err(e) = file::write(&trace, path)
    {
        say_file_unwritten(&e);
    }
    if let Some(path) = files.report
        && let Err(e) = write_report(&trace, Format::of_run_file(path), path)
    {
        say_file_unwritten(&e);
    }
    print(&trace, report, kept);
    if let (Some(store), true, Some(compared)) = (store, kept, compared) {
        hold_against_others(&trace, store, report, compared);
    }
    let stop = &mut || export.signals.interrupted().is_some();
    after_run::deliver(destination, &trace, store.filter(|_| kept), mark, report == Report::None, stop)
}

/// Several runs may belong to one trace of the caller, also at once: a file has them all.
fn keep(store: &Store, trace: &Trace, has_caller: bool) -> Result<(), Box<dyn Failure>> {
    if has_caller {
        let _alone = Lock::exclusive(&store.path("locks/callers-traces"))?;
        if import::import(store, trace.clone(), true)?.known {
            store.note_grown(trace.id)?;
        }
    } else {
        store.keep_trace(trace.id, &(file::to_line(trace) + "\n"))?;
    }
    Ok(())
}

fn hold_against_others(trace: &Trace, store: &Store, report: Report, compared: &Compared<'_>) {
    let Some(this) = Measured::of(trace).filter(|_| compared.succeeded) else { return };
    // How it ended and where the image came from belong to what must be alike.
    let root = trace.root().map(|r| &r.attributes);
    let hub = root.and_then(|r| r.str(attr::HUB)).unwrap_or_default();
    let exit = root.and_then(|r| r.int(attr::PROCESS_EXIT_CODE));
    let key = alike::key(&format!("{}|{hub}|{exit:?}", compared.alike));
    if report != Report::None {
        print_comparison(this, store, compared, &key);
    }
    let past = Past { id: trace.id, wall_ns: this.wall_ns, pull_ns: this.pull_ns };
    let _ = store.note_run(compared.image, compared.kind, &key, past);
}

/// Writes a report to a file: text as wide as the terminal, without colours.
pub fn write_report(trace: &Trace, format: Format, path: &Path) -> Result<(), CliError> {
    let plain = report::Style { color: false, ..style(To::Stdout) };
    write(path, report::render(trace, format, &plain))
}

/// By `TRACE_KEEP_TRACES`, else the default.
pub fn limits() -> Keep {
    match std::env::var("TRACE_KEEP_TRACES").as_deref() {
        Err(_) | Ok("") => Keep::default(),
        // Rather too much than too little is kept.
        Ok(text) => Keep::parse(text).unwrap_or_else(|why| {
            say(&format!("Note: TRACE_KEEP_TRACES: {why}; all are kept"));
            Keep::ALL
        }),
    }
}

/// Keeps the directory of recorded runs from growing without bound. Comes after everything else and, where nobody has
/// set limits, only now and then: a warm run should not pay for looking at ten thousand files.
pub fn retain(store: &Store, keep: Option<&Keep>) {
    if keep.is_none() && !Mono::now().0.is_multiple_of(Keep::SELDOM) {
        return;
    }
    let keep = keep.copied().unwrap_or_else(limits);
    match store.prune_traces(&keep) {
        Ok(pruned) => say_unsent(pruned.unsent),
        Err(e) => say(&format!("trace: old recorded runs are still there: {e}")),
    }
}

/// A run that nobody will get to see any more does not go silently.
pub fn say_unsent(unsent: usize) {
    if unsent > 0 {
        let runs = report::units::count(unsent as u64, "old recorded run");
        say(&format!("Note: {runs} removed without ever having been exported; $TRACE_KEEP_TRACES keeps more"));
    }
}

fn print(trace: &Trace, report: Report, stored: bool) {
    let format = match report {
        Report::Full => Format::Waterfall,
        Report::Short => Format::Short,
        Report::Summary => Format::Summary,
        Report::Pointer if stored => {
            say(&format!("`trace show {}` shows where this run's time went", &trace.id.to_string()[..8]));
            return;
        }
        Report::Pointer | Report::None => return,
    };
    // A line between the container's output and ours.
    say_text("\n");
    say_text(report::render(trace, format, &style(To::Stderr)));
}

fn print_comparison(this: Measured, store: &Store, compared: &Compared<'_>, key: &str) {
    let past = |kind| {
        let runs = store.alike(compared.image, kind, key);
        runs.into_iter().map(|p| Measured { wall_ns: p.wall_ns, pull_ns: p.pull_ns }).collect::<Vec<_>>()
    };
    let mut mine = past(compared.kind);
    mine.push(this);
    if let Some(comparison) = cold_warm::compare((compared.kind, &mine), (compared.other, &past(compared.other))) {
        let style = style(To::Stderr);
        for line in
            report::text::wrap(&report::terminal::closing_line(&comparison, &style), style.columns(), 3, style.unicode)
        {
            say(&line);
        }
    }
}
