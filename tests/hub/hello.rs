//! `library/hello-world`: its program really runs.

use super::*;

/// `/hello` of one platform, as a file that can be run.
fn hello(hub: &Hub, dir: &Path, arch: &str) -> std::path::PathBuf {
    let (config, layers) = pull(hub, HELLO, "latest", arch);
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["/hello"]));
    assert!(config["config"]["Env"][0].as_str().unwrap().starts_with("PATH=/usr/local/sbin:"));
    let mut archive = tar::Archive::new(&layers[0][..]);
    let mut entries = archive.entries().unwrap();
    let mut entry = entries.next().unwrap().unwrap();
    assert_eq!((entry.path().unwrap().to_str(), entry.header().mode().unwrap()), (Some("hello"), 0o755));
    let path = dir.join(arch);
    unpack_program(&mut entry, &path);
    assert!(entries.next().is_none());
    let program = fs::read(&path).unwrap();
    assert_eq!(&program[..6], b"\x7fELF\x02\x01");
    path
}

/// Runs `program` (behind `before`) in the ways in which it can end.
fn runs_in_every_way(before: &[&str], program: &Path) {
    let run = |script: &str| {
        // A second of CPU, for a program that never stops.
        let line = format!("ulimit -t 1; {script} exec {} {}", before.join(" "), program.display());
        (line.clone(), Command::new("sh").args(["-c", &line]).stderr(Stdio::null()).output().unwrap())
    };
    let (_, whole) = run("");
    assert!(whole.status.success(), "{whole:?}");
    let text = String::from_utf8(whole.stdout.clone()).unwrap();
    assert!(text.starts_with("\nHello from trace!\n") && text.ends_with("\n\n"), "{text}");

    for (name, script) in [("full", "exec >/dev/full;"), ("closed", "exec >&-;")] {
        let (line, output) = run(script);
        assert_eq!(output.status.code(), Some(1), "{name}: {line}: {output:?}");
    }
    // 1024 bytes may be written: the first write is short, the rest must be tried and fails.
    let file = program.with_extension("out");
    let (_, output) = run(&format!("trap '' XFSZ; ulimit -f 2; exec >{};", file.display()));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(fs::read(&file).unwrap(), whole.stdout[..1024]);
}

#[test]
fn hello_runs_on_amd64() {
    let (hub, dir) = (start(), tempfile::tempdir().unwrap());
    let program = hello(&hub, dir.path(), "amd64");
    if !cfg!(target_arch = "x86_64") {
        return skipped("this machine is not x86_64");
    }
    runs_in_every_way(&[], &program);
}

#[test]
fn hello_runs_on_arm64() {
    let (hub, dir) = (start(), tempfile::tempdir().unwrap());
    let program = hello(&hub, dir.path(), "arm64");
    if cfg!(target_arch = "aarch64") {
        return runs_in_every_way(&[], &program);
    }
    let emulators = ["qemu-aarch64-static", "qemu-aarch64"];
    let found = emulators.iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    match found {
        Some(emulator) => runs_in_every_way(&[emulator], &program),
        None => skipped("neither an arm64 machine nor `qemu-aarch64-static`"),
    }
}
