//! How this program speaks: what it says to stderr, what was asked for to stdout.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};

use rustix::io::Errno;

use super::CliError;
use crate::error::Failure;
use crate::files::{can_write, write_file};
use crate::report::{Format, Style};

/// A line to the user. If nobody listens any more there is nothing to do about it.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A sentence to the user, safe for the terminal and broken between words where it is narrower.
pub fn say_wrapped(sentence: &str) {
    let sentence = clean(sentence);
    let width = io::stderr().is_terminal().then(|| terminal_size::terminal_size_of(io::stderr())).flatten();
    match width.map(|(w, _)| usize::from(w.0)).filter(|w| *w >= 20) {
        Some(width) => crate::report::text::wrap(&sentence, width, 100, true).iter().for_each(|line| say(line)),
        None => say(&sentence),
    }
}

/// Text to the user as it is.
pub fn say_text(text: impl AsRef<[u8]>) {
    let _ = io::stderr().lock().write_all(text.as_ref());
}

/// The first error of writing to standard output; 0 is none so far.
static UNWRITTEN: AtomicI32 = AtomicI32::new(0);
/// A file that was asked for lacks.
static FILE_UNWRITTEN: AtomicBool = AtomicBool::new(false);

/// What a command was asked for. That it could not be written is told at the end, by [`unwritten`].
pub fn print(text: impl AsRef<[u8]>) {
    if UNWRITTEN.load(Ordering::Relaxed) == 0 {
        let mut out = io::stdout().lock();
        written(out.write_all(text.as_ref()).and_then(|()| out.flush()));
    }
}

/// Remembers how writing to standard output went; whether it went well.
pub fn written(result: io::Result<()>) -> bool {
    if let Err(e) = &result {
        UNWRITTEN.store(e.raw_os_error().unwrap_or(Errno::IO.raw_os_error()), Ordering::Relaxed);
    }
    result.is_ok()
}

/// Tells of a file that was asked for and could not be written; what else there is to do is still done.
pub fn say_file_unwritten(error: &dyn Error) {
    say(&format!("trace: {}", clean(&error.to_string())));
    FILE_UNWRITTEN.store(true, Ordering::Relaxed);
}

/// What became of standard output and files, if not everything could be written: a sentence, or nothing where nobody
/// reads it any more (`| head`), and the exit code that tools have then.
pub fn unwritten() -> Option<u8> {
    match UNWRITTEN.load(Ordering::Relaxed) {
        0 => FILE_UNWRITTEN.load(Ordering::Relaxed).then_some(125),
        e if e == Errno::PIPE.raw_os_error() => Some(128 + 13),
        e => {
            say(&format!("trace: cannot write to standard output: {}", io::Error::from_raw_os_error(e)));
            Some(125)
        }
    }
}

/// Refuses files that could not be written in the end, before anything is done for them.
pub fn check_files<'a>(paths: impl IntoIterator<Item = Option<&'a Path>>) -> Result<(), CliError> {
    for path in paths.into_iter().flatten() {
        can_write(path).map_err(|source| CliError::File {
            action: "write",
            path: path.display().to_string(),
            source,
        })?;
    }
    Ok(())
}

/// The form of a report: what is asked for by name, by the ending of the file, or `default`. A file without an ending
/// takes any; an ending that nobody knows, or that stands for another form than the name, is refused.
pub fn format(
    named: Option<&str>,
    path: Option<&Path>,
    formats: &[Format],
    default: Format,
) -> Result<Format, CliError> {
    let named = named.and_then(|name| Format::named(name, formats));
    let Some(path) = path else { return Ok(named.unwrap_or(default)) };
    let Some(ending) = path.extension() else { return Ok(named.unwrap_or(default)) };
    let by_ending = Format::of_ending(ending);
    let is_text = |f: Format| !matches!(f, Format::Json | Format::Svg | Format::Png | Format::Html | Format::Markdown);
    match (named, by_ending) {
        (Some(named), Some(ending)) if named == ending || (ending == Format::Text && is_text(named)) => Ok(named),
        (Some(named), Some(_)) => {
            Err(CliError::Usage(format!("`--format {}` contradicts the ending of `{}`", named.name(), path.display())))
        }
        (Some(named), None) => Ok(named),
        (None, Some(Format::Text)) => Ok(default),
        (None, Some(ending)) if formats.contains(&ending) => Ok(ending),
        (None, _) => Err(unknown_ending(path, &endings(formats))),
    }
}

/// The ending of a file says nothing.
pub fn unknown_ending(path: &Path, expected: &str) -> CliError {
    CliError::Usage(format!("the ending of `{}` names no format: expected {expected}", path.display()))
}

fn endings(formats: &[Format]) -> String {
    let endings = [
        (".txt", None),
        (".md", Some(Format::Markdown)),
        (".json", Some(Format::Json)),
        (".svg", Some(Format::Svg)),
        (".png", Some(Format::Png)),
        (".html", Some(Format::Html)),
    ];
    let known = endings.iter().filter(|(_, f)| f.is_none_or(|f| formats.contains(&f)));
    let names: Vec<String> = known.map(|(ending, _)| format!("`{ending}`")).collect();
    match names.split_last() {
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// A result into a file that the user asked for, see [`write_file`].
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), CliError> {
    write_file(path, bytes.as_ref()).map_err(|source| CliError::File {
        action: "write",
        path: path.display().to_string(),
        source,
    })
}

/// An error: one sentence, a hint on a line of its own, and with `verbose` the causes.
pub fn fail(error: &dyn Failure, verbose: bool) {
    say_wrapped(&format!("trace: {error}"));
    if verbose {
        let mut cause: Option<&dyn Error> = error.source();
        while let Some(e) = cause {
            say_wrapped(&format!("  caused by: {e}"));
            cause = e.source();
        }
    }
    if let Some(hint) = error.hint() {
        say_wrapped(&format!("hint: {hint}"));
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

/// 0 is as the terminal is, 1 always, 2 never.
static COLOR: AtomicU8 = AtomicU8::new(0);

/// By `--color`: `auto`, `always` or `never`.
pub fn color(when: &str) {
    let when = ["auto", "always", "never"].iter().position(|w| *w == when).unwrap_or(0);
    COLOR.store(when as u8, Ordering::Relaxed);
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
    let color = match COLOR.load(Ordering::Relaxed) {
        1 => true,
        2 => false,
        _ => terminal && !no_color && !dumb,
    };
    Style { width: width.filter(|w| *w > 0).unwrap_or(Style::NO_TERMINAL), color, unicode: unicode() }
}

/// By the locale; without one, modern terminals take UTF-8.
fn unicode() -> bool {
    let set = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
    let Some(locale) = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set) else { return true };
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8") || !(locale == "c" || locale == "posix")
}
