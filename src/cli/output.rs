//! How this program speaks: what it says to stderr, what was asked for to stdout.

use std::error::Error;
use std::io::{self, IsTerminal, Write};

use crate::error::Failure;
use crate::report::Style;

/// A line to the user. If nobody listens any more there is nothing to do about it.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Text to the user as it is.
pub fn say_text(text: impl AsRef<[u8]>) {
    let _ = io::stderr().lock().write_all(text.as_ref());
}

/// What a command was asked for. A reader that has gone away (`| head`) is no error.
pub fn print(text: impl AsRef<[u8]>) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_ref()).and_then(|()| out.flush());
}

/// An error: one sentence, a hint on a line of its own, and with `verbose` the causes.
pub fn fail(error: &dyn Failure, verbose: bool) {
    say(&format!("trace: {}", clean(&error.to_string())));
    if verbose {
        let mut cause: Option<&dyn Error> = error.source();
        while let Some(e) = cause {
            say(&format!("  caused by: {}", clean(&e.to_string())));
            cause = e.source();
        }
    }
    if let Some(hint) = error.hint() {
        say(&format!("hint: {}", clean(&hint)));
    }
}

/// Messages can quote what a registry or an image said; nothing of it may steer the terminal.
pub use crate::net::text::printable as clean;

/// Where text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To stderr: reports of a run.
    Stderr,
    /// To stdout: what a command was asked for.
    Stdout,
}

/// Width, colour and character set of the terminal, or plain text for anything else.
pub fn style(to: To) -> Style {
    let terminal = match to {
        To::Stderr => io::stderr().is_terminal(),
        To::Stdout => io::stdout().is_terminal(),
    };
    let size = match to {
        To::Stderr => terminal_size::terminal_size_of(io::stderr()),
        To::Stdout => terminal_size::terminal_size_of(io::stdout()),
    };
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let width = if terminal { size.map(|(w, _)| usize::from(w.0)) } else { columns };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    Style { width: width.filter(|w| *w > 0).unwrap_or(100), color: terminal && !no_color && !dumb, unicode: unicode() }
}

/// By the locale; without one, modern terminals take UTF-8.
fn unicode() -> bool {
    let set = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
    let Some(locale) = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set) else { return true };
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8") || !(locale == "c" || locale == "posix")
}
