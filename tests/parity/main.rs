//! The flags of `docker run`, each case under docker and under this program: exit code, standard output, and whether
//! something was said on standard error.
//!
//! The cases stand in `cases.txt`. A case that is meant to differ says why, and `docs/docker-parity.md` lists the
//! reasons. `TRACE_PARITY=words` runs the cases that contain the words.

#[path = "../common/mod.rs"]
mod common;
mod engines;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use engines::{Docker, Said};

/// A line of the table.
struct Case {
    flags: String,
    command: String,
    /// Why it differs.
    differs: Option<String>,
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let mut differs = None;
    for line in include_str!("cases.txt").lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
        match line.strip_prefix('~') {
            Some(why) => differs = Some(why.trim().to_owned()),
            None => {
                let (flags, command) = line.split_once(" | ").unwrap_or_else(|| panic!("no ` | ` in {line}"));
                all.push(Case { flags: flags.trim().into(), command: command.into(), differs: differs.take() });
            }
        }
    }
    all
}

/// Words as a shell splits them, with both kinds of quotes and nothing else.
fn words(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => all.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    all.extend(word);
    all
}

/// What a case finds on the host: its own directory, which is also where it runs.
fn scene(dir: &Path) {
    std::fs::create_dir_all(dir.join("dir/sub")).unwrap();
    let files: [(&str, &[u8]); 8] = [
        ("file", b"host\n"),
        ("dir/a", b"a\n"),
        ("env", b"A=1\nB\n# c\nHOME_X=  sp\n"),
        ("bad", b"export A=1\n"),
        ("bom", b"\xef\xbb\xbfA=1\n"),
        ("nonutf", b"A=\xff\n"),
        ("labels", b"a=b\n"),
        ("crlf", b"A=1\r\nC=2\r\n"),
    ];
    for (name, content) in files {
        std::fs::write(dir.join(name), content).unwrap();
    }
}

#[test]
fn every_case_is_as_docker_has_it() {
    let Some(docker) = Docker::start() else { return };
    let only = std::env::var("TRACE_PARITY").unwrap_or_default();
    let cases: Vec<Case> =
        cases().into_iter().filter(|c| format!("{} | {}", c.flags, c.command).contains(&only)).collect();
    let reasons = include_str!("../../docs/docker-parity.md");
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let dir = tempfile::tempdir().unwrap();
            let mut ran = [docker.command(), docker.trace()].into_iter().enumerate().map(|(i, mut command)| {
                let own = dir.path().join(i.to_string());
                scene(&own);
                let at = own.to_str().unwrap();
                let flags: Vec<String> = words(&case.flags).iter().map(|w| w.replace("{d}", at)).collect();
                let chosen = flags.iter().any(|f| f.starts_with("--net"));
                // Of docker's networks there is this one in both.
                command.args((i == 0 && !chosen).then_some("--network=none")).args(flags).arg(docker.image(i));
                match case.command.strip_prefix("$ ") {
                    Some(text) => command.args(words(text)),
                    None => command.args(["sh", "-c", &case.command]),
                };
                Said::by(&mut command, &own)
            });
            let (theirs, ours): (Said, Said) = (ran.next().unwrap(), ran.next().unwrap());
            let found = match &case.differs {
                None if !ours.same(&theirs) => "differs",
                Some(why) if !reasons.contains(why.as_str()) => "differs for a reason that docs/docker-parity.md lacks",
                Some(_) if ours.same(&theirs) => "does not differ, though it is said to",
                _ => continue,
            };
            let text = format!("{} | {}\n  {found}\n  docker {theirs:?}\n  trace  {ours:?}", case.flags, case.command);
            wrong.lock().unwrap().push(text);
        }
    };
    std::thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(work)));
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
