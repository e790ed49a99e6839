//! `trace compare`: two runs, or two groups of runs.

use std::io::IsTerminal as _;

use super::output::{To, check_files, format, print, say, style, write};
use super::remote::Groups;
use super::select::Recorded;
use super::{CliError, Done, args};
use crate::analyze;
use crate::report::{Format, Style, compare};

/// `trace compare`.
pub fn compare(args: &args::Compare) -> Done {
    // Before anything is read: a wrong ending should not cost a minute.
    let format = format(args.format.as_deref(), args.output.as_deref(), &Format::OF_COMPARISON, Format::Text)?;
    check_files([args.output.as_deref()])?;
    let mut recorded = if args.remote.is_given() {
        Recorded::remote(Groups::read(&args.remote, [args.a.as_deref(), args.b.as_deref()])?)?
    } else {
        args.remote.unused()?;
        Recorded::open()?
    };
    let (a, b) = recorded.pair(args.a.as_deref(), args.b.as_deref())?;
    if recorded.unreadable > 0 {
        say(&format!(
            "Note: {} could not be read and are left out",
            crate::report::units::count(recorded.unreadable as u64, "trace file")
        ));
    }
    let comparison = analyze::compare::compare((&a.label, &a.runs), (&b.label, &b.runs)).ok_or_else(|| {
        let side = if a.runs.iter().all(|r| r.failed) { &a.label } else { &b.label };
        CliError::Usage(format!("all runs of `{side}` failed: nothing to compare"))
    })?;
    let words = [args.a.as_deref(), args.b.as_deref()];
    let typical = if format == Format::Html { recorded.typical(&comparison, &words)? } else { Vec::new() };
    match &args.output {
        None if format.is_binary() && std::io::stdout().is_terminal() => {
            return Err(CliError::Usage("`png` is no text for a terminal: expected `-o FILE` or a pipe".into()).into());
        }
        None => print(compare::render(&comparison, format, &typical, &style(To::Stdout))),
        Some(path) => {
            let plain = Style { color: false, ..style(To::Stdout) };
            write(path, compare::render(&comparison, format, &typical, &plain))?;
        }
    }
    Ok(0)
}
