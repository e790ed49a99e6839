//! `trace run` and `trace pull`.

mod options;
mod security;

pub use options::environment;

use std::path::PathBuf;
use std::sync::Arc;

use super::args;
use super::context;
use super::export;
use super::link;
use super::output::{check_files, fail, format, print};
use super::progress::PullLines;
use super::recording::{self, Compared, Export, Report};
use super::{CliError, Done};
use crate::backend::settings::Target;
use crate::container::signals::Signals;
use crate::engine::{self, Context, EngineError, HubChoice, ImageRequest, Startup};
use crate::error::Failure;
use crate::names::span;
use crate::record::{Mono, Recorder};
use crate::registry::{ImageRef, Platform};
use crate::report::Format;
use crate::store::Durability;

/// `trace run`.
pub fn run(args: args::Run, started: Mono, verbose: bool) -> Done {
    let options = options::resolve(&args)?;
    export::check_url(args.recording.otlp.as_deref())?;
    check_report_files(&args.recording)?;
    let report = Report::named(&args.recording.report);
    let mut signals = block_signals()?;
    let recorder = recording::begin();
    let root = engine::root_stage(span::RUN, started);
    context::record_baggage(&root, &args.record_baggage);
    let lines = Arc::new(PullLines::for_run(args.quiet));

    let startup = engine::startup(&root, started, options.plain, durability(&args.durability));
    let mut outcome = None;
    let mut store = None;
    let code = match startup {
        Ok(Startup { store: opened, privilege, denied }) => {
            let context = Context {
                store: &opened,
                privilege: privilege.as_ref(),
                denied: denied.into(),
                observer: lines.clone(),
            };
            let ended = engine::run(&context, &options, &mut signals, &root);
            lines.stop();
            let code = match &ended.result {
                Ok(exit) => exit.code(),
                Err(e) => {
                    fail(e, verbose);
                    e.exit_code()
                }
            };
            for e in &ended.known.leftovers {
                fail(e, verbose);
            }
            outcome = Some(ended);
            drop(context);
            store = Some(opened);
            code
        }
        Err(e) => {
            root.fail(e.kind(), &e.to_string());
            fail(&e, verbose);
            e.exit_code()
        }
    };
    drop(root);

    let image = options.image.canonical();
    let compared = outcome.as_ref().and_then(|o| {
        let kind = o.known.kind?;
        let (kind, other) = (kind.name(), kind.other().name());
        let succeeded = o.result.is_ok();
        Some(Compared { image: &image, kind, other, alike: options.what_makes_runs_alike(), succeeded })
    });
    // Where no container came to be, the sentence above is what matters; the picture is there to be asked for.
    let report = match &outcome {
        Some(o) if o.known.image.is_some() || report == Report::None => report,
        _ => Report::Pointer,
    };
    let files = files(&args.recording.trace_out, &args.recording.output);
    let export = Export { url: args.recording.otlp.as_deref(), signals: &mut signals };
    let sent = recording::end(&recorder, store.as_ref(), files, report, compared.as_ref(), export);
    tell(sent, args.recording.jaeger_url.as_deref(), &recorder, report);
    if let Some(store) = &store {
        recording::retain(store, args.recording.keep_traces.as_ref());
    }
    Ok(code)
}

/// `trace pull`.
pub fn pull(args: args::Pull, started: Mono, verbose: bool) -> Done {
    export::check_url(args.recording.otlp.as_deref())?;
    check_report_files(&args.recording)?;
    let (image, hub) = (ImageRef::parse(&args.image).map_err(EngineError::from)?, HubChoice::parse(&args.hub));
    let request = ImageRequest::new(image, &hub, platform(args.platform.as_deref())?)?;
    if !args.quiet && !args.image.contains('@') && !args.image.rsplit('/').next().unwrap_or_default().contains(':') {
        print("Using default tag: latest\n");
    }
    let mut signals = block_signals()?;
    let recorder = recording::begin();
    let root = engine::root_stage(span::PULL, started);
    let lines = Arc::new(PullLines::for_pull(args.quiet));
    let Startup { store, privilege, denied } = engine::startup(&root, started, false, durability(&args.durability))?;
    let context =
        Context { store: &store, privilege: privilege.as_ref(), denied: denied.into(), observer: lines.clone() };
    let result = engine::pull_image(&context, &mut signals, &root, &request);
    lines.stop();
    let code = match &result {
        Ok(_) => {
            print(format!("{}\n", request.image.canonical()));
            0
        }
        Err(e) => {
            root.fail(e.kind(), &e.to_string());
            fail(e, verbose);
            // docker pull's
            if e.exit_code() == 125 { 1 } else { e.exit_code() }
        }
    };
    drop(root);
    let report = if result.is_err() || args.quiet { Report::None } else { Report::named(&args.recording.report) };
    let files = files(&args.recording.trace_out, &args.recording.output);
    let export = Export { url: args.recording.otlp.as_deref(), signals: &mut signals };
    let sent = recording::end(&recorder, Some(&store), files, report, None, export);
    tell(sent, args.recording.jaeger_url.as_deref(), &recorder, report);
    recording::retain(&store, args.recording.keep_traces.as_ref());
    Ok(code)
}

/// Where the run that was sent can be looked at.
pub fn tell(sent: Option<Target>, jaeger: Option<&str>, recorder: &Recorder, report: Report) {
    if let Some(target) = sent.filter(|_| report != Report::None) {
        link::tell(jaeger, &target.url, &[recorder.trace_id()]);
    }
}

/// A run whose report cannot be written afterwards need not begin.
fn check_report_files(recording: &args::Recording) -> Result<(), CliError> {
    let output = recording.output.as_deref();
    format(None, output, &Format::OF_RUN, Format::Waterfall)?;
    check_files([output, recording.trace_out.as_deref()])
}

pub fn files<'a>(trace: &'a Option<PathBuf>, report: &'a Option<PathBuf>) -> recording::Files<'a> {
    recording::Files { trace: trace.as_deref(), report: report.as_deref() }
}

pub fn block_signals() -> Result<Signals, CliError> {
    Signals::block().map_err(signals_failed)
}

pub fn signals_failed(source: std::io::Error) -> CliError {
    CliError::File { action: "watch signals by", path: "signalfd".into(), source }
}

/// clap has checked the word.
fn durability(text: &str) -> Durability {
    Durability::parse(text).unwrap_or_default()
}

pub fn platform(text: Option<&str>) -> Result<Platform, CliError> {
    match text {
        None => Ok(Platform::host()),
        Some(text) => Platform::parse(text).map_err(|e| CliError::Usage(e.to_string())),
    }
}
