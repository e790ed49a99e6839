//! What cannot be written is told, and seen from the exit code.

use std::fs::OpenOptions;
use std::process::Stdio;

use crate::common::lab::Lab;
use crate::common::needs_root;

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// A pipe that nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn write_errors_have_a_sentence_and_a_code() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    let run = |args: &[&str], out: Stdio| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trace"));
        command.args(args).env("TRACE_ROOT", lab.root()).stdout(out).stderr(Stdio::piped());
        let done = command.spawn().unwrap().wait_with_output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let image = ["-q", "--report", "none", "--hub", "builtin"];
    let with = |more: &[&'static str]| [&["run"], &image[..], more, &["hello-world"]].concat();
    let (code, said) = run(&with(&[]), full());
    assert_eq!(
        (code, said.contains("cannot pass the container's output on: No space left")),
        (Some(1), true),
        "{said}"
    );
    for args in [&["ls"][..], &["ls", "--json"], &["show", "last"], &["images"], &["--help"], &["export", "last"]] {
        let (code, said) = run(args, full());
        assert_eq!(code, Some(125), "{args:?}: {said}");
        assert!(said.contains("cannot write to standard output: No space left"), "{args:?}: {said}");
        let (code, said) = run(args, unread());
        assert_eq!((code, said.as_str()), (Some(141), ""), "{args:?}");
    }
    for option in ["--trace-out", "-o"] {
        let (code, said) = run(&with(&[option, "/dev/full"]), Stdio::null());
        assert_eq!((code, said.contains("`/dev/full`: No space left")), (Some(125), true), "{option}: {said}");
    }
    for args in [["show", "last", "-o", "/dev/full"], ["export", "last", "-o", "/dev/full"]] {
        let (code, said) = run(&args, Stdio::null());
        assert_eq!((code, said.contains("No space left")), (Some(125), true), "{args:?}: {said}");
    }
}
