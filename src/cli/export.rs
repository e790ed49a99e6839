//! `trace export`: recorded runs for other tools.

use std::io::IsTerminal as _;

use super::output::print;
use super::{CliError, Done, args, show};
use crate::formats::Format;

/// `trace export`.
pub fn export(args: &args::Export) -> Done {
    let words: Vec<&str> =
        if args.traces.is_empty() { vec!["last"] } else { args.traces.iter().map(String::as_str).collect() };
    let mut traces = Vec::new();
    for word in words {
        traces.extend(show::find_all(word)?);
    }
    let by_ending = || args.output.as_deref().and_then(Format::of_file);
    let format = args.format.as_deref().and_then(Format::named).or_else(by_ending).unwrap_or(Format::Otlp);
    let bytes = format.render(&traces);
    match &args.output {
        Some(path) => std::fs::write(path, bytes).map_err(|source| CliError::File {
            action: "write",
            path: path.display().to_string(),
            source,
        })?,
        None if format.is_binary() && std::io::stdout().is_terminal() => {
            return Err(CliError::Usage(format!(
                "`{}` is no text for a terminal: expected `-o FILE` or a pipe",
                format.name()
            ))
            .into());
        }
        None => print(bytes),
    }
    Ok(0)
}
