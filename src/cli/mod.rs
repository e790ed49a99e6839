//! The command line: flags in, exit code out. Only this module and `report` put words on the screen.
#![allow(missing_docs)]

mod about;
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

use std::ffi::OsString;

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
    if let Some(code) = about::answer_shell() {
        return code;
    }
    let words = args::spelling::ours(std::env::args_os().collect());
    let cli = match Cli::read(&words) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &words),
    };
    output::color(&cli.color);
    let verbose = cli.verbose;
    let is_run = matches!(cli.command, Command::Run(_) | Command::Exec(_));
    let is_pull = matches!(cli.command, Command::Pull(_));
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
        Command::Completions(args) => about::completions(&args),
        Command::Version(args) => about::version(&args),
        Command::Man(args) => about::man(&args),
    };
    let code = done.unwrap_or_else(|error| {
        output::fail(error.as_ref(), verbose);
        let code = error.exit_code();
        // Of what is not there yet the help says nothing.
        if code == MISUSED && !error.to_string().contains("built yet") {
            output::say_wrapped(&args::usage::see(&words));
        }
        match code {
            // As docker's: the container's own codes begin below.
            MISUSED if is_run => RUN_FAILED,
            // As docker pull's.
            RUN_FAILED if is_pull => 1,
            code => code,
        }
    });
    output::unwritten().filter(|_| code == 0).unwrap_or(code)
}

/// Exit code of a `run` that did not come to a container.
const RUN_FAILED: u8 = 125;

/// Exit code of a command line that means nothing.
const MISUSED: u8 = 2;

fn usage(error: &clap::Error, words: &[OsString]) -> u8 {
    let help = !error.use_stderr() || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if help {
        // Help that was asked for goes to standard output.
        let printed = error.print();
        if !error.use_stderr() && !output::written(printed) {
            return output::unwritten().unwrap_or(125);
        }
        return u8::try_from(error.exit_code()).unwrap_or(2);
    }
    let command = args::spelling::command(words).and_then(|at| words.get(at));
    let is_run = command.is_some_and(|word| word == "run" || word == "exec");
    let args::usage::Misuse { sentence, hint, see } = args::usage::misuse(error, words);
    match args::not_yet(error) {
        Some(sentence) => output::say_wrapped(&format!("trace: {sentence}")),
        None => {
            output::say_wrapped(&format!("trace: {sentence}"));
            hint.iter().for_each(|hint| output::say_wrapped(&format!("hint: {hint}")));
            output::say_wrapped(&see);
        }
    }
    if is_run { RUN_FAILED } else { MISUSED }
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
            CliError::NoTrace(words) => Some(select::hint(words)),
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
