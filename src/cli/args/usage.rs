//! What is wrong with a command line, in one sentence of our own instead of clap's paragraphs.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::command;

/// A sentence, what may have been meant, and where to read on.
#[derive(Debug, PartialEq, Eq)]
pub struct Misuse {
    pub sentence: String,
    pub hint: Option<String>,
    pub see: String,
}

/// Of an error that is about the words; `words` are those that were parsed.
pub fn misuse(error: &clap::Error, words: &[OsString]) -> Misuse {
    let path = path(words);
    let (sentence, hint) = (sentence(error, &path), hint(error));
    Misuse { sentence, hint, see: see(words) }
}

/// Where to read on about a command.
pub fn see(words: &[OsString]) -> String {
    format!("See '{} --help'.", path(words))
}

/// `trace volume rm`: the command as far as there is one.
fn path(words: &[OsString]) -> String {
    let mut at = command();
    let mut out = at.get_name().to_owned();
    let words = words.iter().skip(1).filter_map(|w| w.to_str());
    for word in words.filter(|w| !w.starts_with('-')) {
        let Some(next) = at.find_subcommand(word).cloned() else { break };
        out.push(' ');
        out.push_str(next.get_name());
        if !next.has_subcommands() {
            break;
        }
        at = next;
    }
    out
}

fn sentence(error: &clap::Error, path: &str) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(s)) => Some(s.clone()),
        Some(ContextValue::Strings(all)) => Some(all.join(" ")),
        _ => None,
    };
    let arg = text(ContextKind::InvalidArg).map(|a| bare(&a)).unwrap_or_default();
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if arg.starts_with('-') => format!("unknown flag: `{arg}`"),
        ErrorKind::UnknownArgument => format!("unexpected word: `{arg}`"),
        ErrorKind::InvalidSubcommand => {
            format!("`{}` is no command of `{path}`", text(ContextKind::InvalidSubcommand).unwrap_or_default())
        }
        ErrorKind::MissingRequiredArgument => format!("`{path}` needs `{arg}`"),
        ErrorKind::InvalidValue if value.is_empty() => format!("`{arg}` needs a value{}", expected(error)),
        ErrorKind::InvalidValue => format!("`{arg}` cannot be `{value}`{}", expected(error)),
        ErrorKind::ValueValidation => {
            let why = error.source().map(ToString::to_string).unwrap_or_default();
            // What the standard library says is meant for programmers.
            let why = match why.as_str() {
                "invalid socket address syntax" => "expected an address and a port, such as `127.0.0.1:5000`",
                "invalid digit found in string" | "cannot parse integer from empty string" => "expected a whole number",
                why if why.starts_with("number too") => "that is no number that makes sense here",
                why => why,
            };
            format!("`{arg}` cannot be `{value}`: {why}")
        }
        ErrorKind::ArgumentConflict => match text(ContextKind::PriorArg).map(|p| bare(&p)) {
            Some(other) if other == arg => format!("`{arg}` can be given only once"),
            Some(other) => format!("`{arg}` cannot be used with `{other}`"),
            None => format!("`{arg}` cannot be used with other flags"),
        },
        ErrorKind::NoEquals => format!("`{arg}` takes its value after `=`"),
        ErrorKind::TooManyValues => format!("`{arg}` takes no `{value}`"),
        _ => flat(&error.to_string()),
    }
}

/// `--since` of `--since <TIME>`, `CONTAINER` of `<CONTAINER>...`.
fn bare(arg: &str) -> String {
    let mut words = arg.split(' ').map(|w| w.trim_end_matches("...").trim_matches(['<', '>', '[', ']', '=']));
    let first = words.next().unwrap_or_default();
    if first.starts_with('-') {
        return first.split(['=', '[']).next().unwrap_or_default().to_owned();
    }
    std::iter::once(first).chain(words).collect::<Vec<_>>().join(" ")
}

/// `: expected `cold`, `warm` or `partial``.
fn expected(error: &clap::Error) -> String {
    let Some(ContextValue::Strings(all)) = error.get(ContextKind::ValidValue) else { return String::new() };
    let all: Vec<String> = all.iter().map(|v| format!("`{v}`")).collect();
    match all.split_last() {
        None => String::new(),
        Some((last, [])) => format!(": expected {last}"),
        Some((last, rest)) => format!(": expected {} or {last}", rest.join(", ")),
    }
}

fn hint(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    let one = kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(s) => Some(s.clone()),
        ContextValue::Strings(all) => all.first().cloned(),
        _ => None,
    })?;
    let one = bare(&one);
    let typed = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue];
    let typed = typed.into_iter().filter_map(|kind| match error.get(kind) {
        Some(ContextValue::String(s)) => Some(bare(s)),
        _ => None,
    });
    // clap also proposes what has just a few letters in common.
    let near = |typed: &String| {
        one.starts_with(typed.as_str()) || strsim::osa_distance(typed, &one) <= (typed.len() / 3).max(1)
    };
    typed.into_iter().any(|t| near(&t)).then(|| format!("did you mean `{one}`?"))
}

fn flat(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let lines = text.lines().map(str::trim).take_while(|l| !l.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Cli;
    use super::*;

    #[test]
    fn one_sentence_for_every_misuse() {
        for (words, sentence, hint, see) in [
            ("run --detatch x", "unknown flag: `--detatch`", None, "run"),
            ("shwo", "`shwo` is no command of `trace`", Some("did you mean `show`?"), ""),
            ("volume lsx", "`lsx` is no command of `trace volume`", Some("did you mean `ls`?"), "volume"),
            ("rm", "`trace rm` needs `CONTAINERS`", None, "rm"),
            ("ls --kind hot", "`--kind` cannot be `hot`: expected `cold`, `warm` or `partial`", None, "ls"),
            ("ls --kind", "`--kind` needs a value: expected `cold`, `warm` or `partial`", None, "ls"),
            ("export last --all", "`TRACE` cannot be used with `--all`", None, "export"),
            ("show a b", "unexpected word: `b`", None, "show"),
            ("show --out x", "unknown flag: `--out`", Some("did you mean `--output`?"), "show"),
        ] {
            let words: Vec<OsString> = ["trace"].into_iter().chain(words.split(' ')).map(OsString::from).collect();
            let error = Cli::try_parse_from(&words).unwrap_err();
            let got = misuse(&error, &words);
            assert_eq!(got.sentence, sentence, "{error}");
            assert_eq!(got.see, format!("See '{} --help'.", format!("trace {see}").trim_end()), "{words:?}");
            if hint.is_some() {
                assert_eq!(got.hint.as_deref(), hint, "{words:?}");
            }
        }
        let words: Vec<OsString> = ["trace", "ls", "--since", "soon"].map(OsString::from).to_vec();
        let got = misuse(&Cli::try_parse_from(&words).unwrap_err(), &words).sentence;
        assert_eq!(
            got,
            "`--since` cannot be `soon`: `soon` is no length of time: expected e.g. `90s`, `15m`, `2h` or `3d`"
        );
    }
}
