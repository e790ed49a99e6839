//! The command line: flags in, exit code out. Only this module and `report` put words on the screen.
#![allow(missing_docs)]

mod args;
mod bench;

mod compare;
mod containers;
mod context;
mod exec;
mod export;
mod hub;
mod images;
mod import;
mod link;
mod login;
mod metrics;
mod open;
mod output;
mod progress;
mod recording;
mod remote;
mod run;
mod select;
mod show;
mod volumes;

use self::args::{Cli, Command, Hub, Image};
use crate::error::Failure;
use crate::record::Mono;

/// What a command gives back: an exit code, or an error that is yet to be told.
type Done = Result<u8, Box<dyn Failure>>;

impl<E: Failure + 'static> From<E> for Box<dyn Failure> {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

/// Parses the command line and does what it says. `started` is when the program began.
pub fn main(started: Mono) -> u8 {
    crate::container::signals::keep_exit_statuses();
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let verbose = cli.verbose;
    let is_run = matches!(cli.command, Command::Run(_) | Command::Exec(_));
    let done = match cli.command {
        Command::Run(args) => run::run(*args, started, verbose),
        Command::Exec(args) => exec::exec(*args, started, verbose),
        Command::Pull(args) => run::pull(args, started, verbose),
        Command::Ls(args) => show::ls(&args),
        Command::Show(args) => show::show(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Export(args) => export::export(&args),
        Command::Import(args) => import::import(&args),
        Command::Open(args) => open::open(&args),
        Command::Metrics(args) => metrics::metrics(&args),
        Command::Login(args) => login::login(&args, verbose),
        Command::Logout(args) => login::logout(&args),
        Command::Images(args) => images::list(&args),
        Command::Image(Image::Rm { images, force }) => images::remove(&images, force),
        Command::Ps(args) => containers::list(&args),
        Command::Rm(args) => containers::remove(&args, verbose),
        Command::Logs(args) => containers::logs(&args),
        Command::Prune(args) => containers::prune(&args),
        Command::Volume(command) => volumes::volume(&command, verbose),
        Command::Hub(Hub::Serve { listen, quiet }) => hub::serve(listen, quiet),
    };
    let code = done.unwrap_or_else(|error| {
        output::fail(error.as_ref(), verbose);
        // As docker's: the container's own codes begin below.
        if is_run && error.exit_code() == 2 { RUN_FAILED } else { error.exit_code() }
    });
    output::unwritten().filter(|_| code == 0).unwrap_or(code)
}

/// Exit code of a `run` that did not come to a container.
const RUN_FAILED: u8 = 125;

fn usage(error: &clap::Error) -> u8 {
    let is_run = std::env::args_os().nth(1).is_some_and(|word| word == "run" || word == "exec");
    let sentence = args::not_yet(error).or_else(|| (is_run && error.use_stderr()).then(|| args::sentence(error)));
    if let Some(sentence) = sentence {
        output::say(&output::clean(&format!("trace: {sentence}")));
        return if is_run { RUN_FAILED } else { 2 };
    }
    // Help that was asked for goes to standard output.
    let printed = error.print();
    if !error.use_stderr() && !output::written(printed) {
        return output::unwritten().unwrap_or(125);
    }
    u8::try_from(error.exit_code()).unwrap_or(2)
}

/// A sentence of the command line itself.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("cannot {action} `{path}`: {source}")]
    File { action: &'static str, path: String, source: std::io::Error },
    #[error("`{program}` did not show it: {why}")]
    Browser { program: String, why: String },
    #[error("cannot use `--security-opt {option}`: {why}")]
    SecurityOption { option: String, why: String },
    #[error("cannot use the seccomp profile `{path}`: {why}")]
    SeccompProfile { path: String, why: String },
    #[error("the input device is not a TTY")]
    NoTerminal,
    #[error("{0}")]
    Login(String),
    #[error("{0}")]
    TooFew(&'static str),
    #[error("the working directory `{0}` is invalid, it needs to be an absolute path")]
    NotAbsolute(String),
    #[error("interrupted")]
    Interrupted,
    #[error("no recorded run is `{0}`")]
    NoTrace(String),
    #[error("of {} read from `{host}` none is a run with `{words}`", crate::report::units::count(*read as u64, "trace"))]
    NotRead { words: String, read: usize, host: String },
    #[error("`{0}` is the begin of more than one recorded run's id")]
    Ambiguous(String),
}

impl Failure for CliError {
    fn kind(&self) -> &'static str {
        "command_line"
    }

    fn hint(&self) -> Option<String> {
        match self {
            CliError::NoTrace(_) => Some("`trace ls` lists them".into()),
            CliError::NotRead { .. } => Some("`--since`, `--service` and `--limit` say what is read".into()),
            _ => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage(_) => 2,
            CliError::Interrupted => 130,
            // docker's
            CliError::Login(_) => 1,
            CliError::NoTerminal | CliError::TooFew(_) => 1,
            CliError::NotAbsolute(_) => 126,
            _ => 125,
        }
    }
}
