//! What docker's users type, as the commands that we have: `docker container ls` is `trace ps`. The words are changed
//! before they are parsed, so that help, errors and completions speak of one spelling.

use std::ffi::OsString;

/// Two words that mean a command, with what else goes before the rest.
const PAIRS: &[(&str, &[&str], &[&str])] = &[
    ("container", &["ls", "list", "ps"], &["ps"]),
    ("container", &["rm", "remove"], &["rm"]),
    ("image", &["ls", "list"], &["images"]),
    ("image", &["remove"], &["image", "rm"]),
    ("image", &["inspect"], &["inspect", "--type", "image"]),
    ("volume", &["remove"], &["volume", "rm"]),
    ("volume", &["list"], &["volume", "ls"]),
    ("network", &["remove"], &["network", "rm"]),
    ("network", &["list"], &["network", "ls"]),
    ("system", &["prune"], &["prune"]),
];

/// Groups whose commands are also ours without the group.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "container",
        &[
            "run", "logs", "inspect", "stats", "wait", "stop", "start", "restart", "kill", "exec", "prune", "attach",
            "top", "port", "rename", "cp", "diff", "pause", "unpause", "create", "export",
        ],
    ),
    ("image", &["pull", "push", "tag", "save", "load", "history"]),
    ("builder", &["prune"]),
];

/// The words with docker's spellings replaced; the first is the program's name.
pub fn ours(words: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = command(&words) else { return words };
    let word = |i: usize| words.get(i).and_then(|w| w.to_str()).unwrap_or_default();
    let (first, second) = (word(at), word(at + 1));
    let (replaced, by): (usize, Vec<&str>) = match first {
        "rmi" => (1, vec!["image", "rm"]),
        "help" => {
            let asked = words[at + 1..].iter().take_while(|w| !w.as_encoded_bytes().starts_with(b"-")).count();
            let mut out = words[..at].to_vec();
            out.extend_from_slice(&words[at + 1..at + 1 + asked]);
            out = ours(out);
            out.push("--help".into());
            return out;
        }
        _ => {
            let pair = PAIRS.iter().find(|(group, names, _)| *group == first && names.contains(&second));
            let grouped = GROUPS.iter().any(|(group, names)| *group == first && names.contains(&second));
            match pair {
                Some((_, _, ours)) => (2, ours.to_vec()),
                None if grouped => (2, vec![second]),
                None => return words,
            }
        }
    };
    let by: Vec<OsString> = by.into_iter().map(OsString::from).collect();
    [&words[..at], &by, &words[at + replaced..]].concat()
}

/// Where the first word stands that is no flag of the whole program.
pub fn command(words: &[OsString]) -> Option<usize> {
    let mut at = 1;
    loop {
        match words.get(at)?.to_str()? {
            "--color" => at += 2,
            word if word.starts_with('-') && word != "-" => at += 1,
            _ => return Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_words_are_ours() {
        for (docker, trace) in [
            ("rmi -f a b", "image rm -f a b"),
            ("image ls --json", "images --json"),
            ("image rm x", "image rm x"),
            ("image inspect x", "inspect --type image x"),
            ("container ls -a", "ps -a"),
            ("container rm -f x", "rm -f x"),
            ("container logs x", "logs x"),
            ("--color never container run a ls", "--color never run a ls"),
            ("run image ls", "run image ls"),
            ("help image rm", "image rm --help"),
            ("help", "--help"),
            ("help container ls", "ps --help"),
            ("container frobnicate", "container frobnicate"),
            ("", ""),
        ] {
            let split = |text: &str| -> Vec<OsString> {
                std::iter::once("trace").chain(text.split_whitespace()).map(OsString::from).collect()
            };
            assert_eq!(ours(split(docker)), split(trace), "{docker}");
        }
    }
}
