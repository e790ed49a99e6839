//! The command line as clap sees it. Plain options for the engine are made from it by the commands.

mod about;
mod exchange;
mod exec;
mod login;
mod reports;
mod run;
pub mod spelling;
mod store;
pub mod usage;

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use about::{Completions, Man, Version};
pub use exchange::{Export, Import, Metrics, Open};
pub use exec::Exec;
pub use login::{Login, Logout};
pub use reports::{Bench, Compare, Ls, Show};
pub use run::{Pull, Recording, Run};
pub use store::{Hub, Image, Images, Logs, Prune, Ps, Rm, Volume};

/// Run a container and see where the time goes.
#[derive(Debug, Parser)]
#[command(name = "trace", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = "Example: trace run hello-world")]
pub struct Cli {
    /// Show the chain of causes of an error
    #[arg(long, global = true)]
    pub verbose: bool,
    /// Colour the output: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_default_value = true, value_parser = ["auto", "always", "never"])]
    pub color: String,
    #[command(subcommand)]
    pub command: Command,
}

/// The whole command line, for those who describe it.
pub fn command() -> clap::Command {
    Cli::command()
}

impl Cli {
    /// From the words of the command line.
    pub fn read(words: &[OsString]) -> Result<Self, clap::Error> {
        let is_run = words.get(1).is_some_and(|word| word == "run");
        if is_run && let Ok(OnlyRun { verbose, color, command: RunCommand::Run(args) }) = OnlyRun::try_parse_from(words)
        {
            return Ok(Cli { verbose, color, command: Command::Run(args) });
        }
        // Help and errors of `run` too: they speak of everything there is.
        Cli::try_parse_from(words)
    }
}

/// [`Cli`] with `run` as its only command. To build the parsers of all commands takes longer than to parse, and `run`
/// is the one whose time counts.
#[derive(Debug, Parser)]
#[command(name = "trace", disable_help_subcommand = true)]
struct OnlyRun {
    #[arg(long, global = true)]
    verbose: bool,
    #[arg(long, global = true, default_value = "auto", value_parser = ["auto", "always", "never"])]
    color: String,
    #[command(subcommand)]
    command: RunCommand,
}

#[derive(Debug, Subcommand)]
enum RunCommand {
    Run(Box<Run>),
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a container and show where the time went
    Run(Box<Run>),
    /// Run another program in a running container
    Exec(Box<Exec>),
    /// List recorded runs, newest first
    Ls(Ls),
    /// Show a recorded run
    Show(Show),
    /// Compare two recorded runs, or two groups of them
    #[command(visible_alias = "diff")]
    Compare(Compare),
    /// Run an image many times, cold and warm alternately, with statistics
    Bench(Box<Bench>),
    /// Export recorded runs to other tools
    Export(Export),
    /// Import traces from files, Jaeger or Tempo
    Import(Import),
    /// Open a recorded run in the browser
    Open(Open),
    /// Write metrics of recorded runs for dashboards
    Metrics(Metrics),
    /// Pull an image
    Pull(Pull),
    /// Log in to a registry
    Login(Login),
    /// Log out of a registry
    Logout(Logout),
    /// List images
    Images(Images),
    /// Manage one image
    #[command(subcommand)]
    Image(Image),
    /// List containers
    Ps(Ps),
    /// Remove containers
    Rm(Rm),
    /// Show the output of a kept container
    Logs(Logs),
    /// Remove exited containers and layers that no image needs
    Prune(Prune),
    /// Manage volumes
    #[command(subcommand)]
    Volume(Volume),
    /// Use the built-in registry
    #[command(subcommand)]
    Hub(Hub),
    /// Write completions for a shell
    Completions(Completions),
    /// Show the version
    Version(Version),
    /// Write manual pages
    #[command(hide = true)]
    Man(Man),
}

/// Flags of the contract that are not built yet: they are refused by name, never ignored.
const NOT_YET: &[&str] = &[
    "-d",
    "--detach",
    "-p",
    "--publish",
    "--log-opt",
    "--health-cmd",
    "--health-interval",
    "--health-retries",
    "--health-start-interval",
    "--health-start-period",
    "--health-timeout",
    "--cgroup-parent",
    "--detach-keys",
    "--attach",
    "-a",
    "-P",
    "--publish-all",
    "--gpus",
    "--link",
    "--runtime",
    "--engine",
    "--fault",
];

/// Commands of the contract that are not built yet.
const COMMANDS_NOT_YET: &[&str] = &["simulate", "push", "load", "save", "inspect", "stats", "wait", "stop", "kill"];

/// One sentence for a flag or command that this version does not have but a later one will.
pub fn not_yet(error: &clap::Error) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(s)) => Some(s.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let arg = context(ContextKind::InvalidArg)?;
            let flag = arg.split(['=', ' ']).next()?;
            NOT_YET.contains(&flag).then(|| format!("`{flag}` is not built yet"))
        }
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand)?;
            COMMANDS_NOT_YET.contains(&name).then(|| format!("`trace {name}` is not built yet"))
        }
        _ => None,
    }
}

/// `90s`, `15m`, `2h`, `3d`; a bare number is seconds.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("`{text}` is no length of time: expected e.g. `90s`, `15m`, `2h` or `3d`");
    let (number, unit) = match text.char_indices().last() {
        Some((at, c)) if c.is_ascii_alphabetic() => (&text[..at], c),
        _ => (text, 's'),
    };
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(std::time::Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
