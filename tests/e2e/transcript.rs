//! What people type and what they see, as plain files: `tests/transcript/*.txt`.
//!
//! A line `$ COMMAND` is given to `sh -c`, in a store and a directory of the file's own; `trace` is this program and
//! images come from the built-in hub. Below it stand standard output (`> `), standard error (`! `) and, where it is not
//! 0, the exit code (`? N`). Times, sizes of what is pulled and ids are `<t>`, `<%>` and `<id>`, and several spaces are
//! one. With `TRACE_UPDATE_TRANSCRIPT=1` the files are written anew; look at the difference before you commit it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::lab::Lab;
use crate::common::needs_root;

struct Step {
    /// Comments and empty lines before it.
    before: Vec<String>,
    command: String,
    expected: Vec<String>,
}

fn parse(text: &str) -> (Vec<Step>, Vec<String>) {
    let (mut steps, mut before): (Vec<Step>, Vec<String>) = (Vec::new(), Vec::new());
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let before = std::mem::take(&mut before);
            steps.push(Step { before, command: command.to_owned(), expected: Vec::new() });
        } else if ["> ", "! ", "? "].iter().any(|mark| line.starts_with(mark)) || [">", "!"].contains(&line) {
            steps.last_mut().expect("a command comes first").expected.push(line.to_owned());
        } else {
            before.push(line.to_owned());
        }
    }
    (steps, before)
}

fn run(lab: &Lab, command: &str) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_trace")).parent().unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .env_clear()
        .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", program.display()))
        .env("HOME", lab.dir().join("home"))
        .env("LC_ALL", "C.UTF-8")
        .env("TRACE_ROOT", lab.root())
        .env("TRACE_HUB", "builtin")
        .current_dir(lab.dir())
        .stdin(std::process::Stdio::null());
    let out = shell.output().unwrap();
    let mut lines = Vec::new();
    for (mark, bytes) in [('>', &out.stdout), ('!', &out.stderr)] {
        for line in String::from_utf8_lossy(bytes).lines() {
            lines.push(format!("{mark} {}", mask(line, lab.dir())).trim_end().to_owned());
        }
    }
    let code = out.status.code().unwrap_or(-1);
    if code != 0 {
        lines.push(format!("? {code}"));
    }
    lines
}

/// A line without what differs from run to run. Several spaces are one.
fn mask(line: &str, dir: &Path) -> String {
    const UNITS: [&str; 12] = ["ns", "µs", "us", "ms", "s", "min", "B/s", "kB/s", "MB/s", "GB/s", "B", "kB"];
    let line = line.replace(&dir.display().to_string(), "<dir>");
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let line = line.replace(&kernel, "<kernel>");
    let bars = ['█', '▌', '▐', '▏', '▕', '░'];
    let plain = line.replace(bars, " ");
    let words: Vec<&str> = plain.split(' ').collect();
    let mut out: Vec<String> = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_id = matches!(core.len(), 8 | 12 | 16 | 32 | 64 | 71)
            && core.trim_start_matches("sha256:").bytes().all(|b| b.is_ascii_hexdigit())
            && core.bytes().any(|b| b.is_ascii_digit());
        let number = core.parse::<f64>().is_ok() && !core.is_empty();
        let next = words.get(i + 1).map_or("", |w| w.trim_matches(['.', ',', ';', ')']));
        out.push(match next {
            _ if is_id => word.replace(core, "<id>"),
            "%" if number => word.replace(core, "<%>"),
            unit if number && UNITS.contains(&unit) => word.replace(core, "<t>"),
            _ if *word == "now" => "<t> s ago".to_owned(),
            _ => (*word).to_owned(),
        });
    }
    let masked = out.join(" ");
    // How wide a column is changes with its numbers, and so does the unit.
    let mut words: Vec<&str> = masked.split_whitespace().collect();
    for i in 1..words.len() {
        if words[i - 1].contains("<t>") && UNITS.iter().any(|u| words[i].trim_end_matches(['.', ',', ';', ')']) == *u) {
            words[i] = "";
        }
    }
    words.retain(|w| !w.is_empty());
    words.join(" ")
}

#[track_caller]
fn check(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcript").join(format!("{name}.txt"));
    let (steps, after) = parse(&std::fs::read_to_string(&path).unwrap());
    let lab = Lab::new();
    let (mut now, mut wrong) = (String::new(), Vec::new());
    for step in &steps {
        let got = run(&lab, &step.command);
        for line in step.before.iter().chain([&format!("$ {}", step.command)]).chain(&got) {
            now.push_str(line);
            now.push('\n');
        }
        if got != step.expected {
            let [expected, got] = [&step.expected, &got].map(|lines| lines.join("\n"));
            wrong.push(format!("$ {}\n--- expected\n{expected}\n--- got\n{got}\n", step.command));
        }
    }
    after.iter().for_each(|line| now = format!("{now}{line}\n"));
    if std::env::var_os("TRACE_UPDATE_TRANSCRIPT").is_some() {
        std::fs::write(&path, now).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "{name}: {} of {} commands\n{}", wrong.len(), steps.len(), wrong.join("\n"));
}

#[test]
fn words_that_are_wrong() {
    check("misuse");
}

#[test]
fn an_empty_store() {
    check("empty");
}

#[test]
fn files_of_traces() {
    check("files");
}

#[test]
fn containers_and_their_runs() {
    if needs_root() {
        check("runs");
    }
}

#[test]
fn exit_codes_are_as_documented() {
    if !needs_root() {
        return;
    }
    let document = include_str!("../../docs/EXIT-CODES.md");
    let lab = Lab::new();
    let mut rows = 0;
    for line in document.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| code")) {
        let line = line.replace("\\|", "\u{0}");
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (code, example) = (cells[1], cells[3].trim_matches('`').replace('\u{0}', "|"));
        let lines = run(&lab, &example);
        let got = lines.iter().find_map(|l| l.strip_prefix("? ")).unwrap_or("0");
        let signal = code == "128 + n" && got == "143";
        assert!(signal || got == code, "{example}: {got} instead of {code}\n{lines:?}");
        rows += 1;
    }
    assert_eq!(rows, 9);
}
