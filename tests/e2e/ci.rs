//! The scripts of `ci/`, as the services call them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::lab::Lab;
use crate::common::{have, needs_root};

struct Job {
    lab: Lab,
}

impl Job {
    fn file(&self, name: &str) -> PathBuf {
        self.lab.dir().join(name)
    }

    fn step(&self, step: &str, more: &[(&str, &str)]) -> (i32, String) {
        let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/job");
        let mut command = Command::new(job);
        command.arg(step).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TRACE_HUB", "builtin");
        command.env("TRACE_ROOT", self.lab.root()).env("RUNNER_TEMP", self.file("tmp")).current_dir(self.lab.dir());
        for (name, file) in [
            ("GITHUB_PATH", "path"),
            ("GITHUB_ENV", "env"),
            ("GITHUB_OUTPUT", "output"),
            ("GITHUB_STEP_SUMMARY", "summary.md"),
            ("BASE", "base"),
            ("KEEP", "now"),
        ] {
            command.env(name, self.file(file));
        }
        let out = command.envs(more.iter().copied()).output().unwrap();
        let said = [out.stdout, out.stderr].map(|o| String::from_utf8_lossy(&o).into_owned()).concat();
        (out.status.code().unwrap_or(-1), said)
    }

    fn summary(&self) -> String {
        let _ = std::fs::remove_file(self.file("summary.md"));
        let (code, said) = self.step("summary", &[]);
        assert_eq!(code, 0, "{said}");
        std::fs::read_to_string(self.file("summary.md")).unwrap()
    }
}

#[test]
fn a_job_shows_its_runs_and_compares_them_with_earlier_ones() {
    if !needs_root() || !have(&["jq", "bash"]) {
        return;
    }
    let job = Job { lab: Lab::new() };
    let program = env!("CARGO_BIN_EXE_trace");
    let (code, said) = job.step("prepare", &[("PROGRAM", program), ("CHECKSUM", "0000")]);
    assert!(code == 1 && said.contains("is not what the checksum says"), "{code} {said}");
    assert_eq!(job.step("prepare", &[("PROGRAM", program)]).0, 0);
    assert!(std::fs::read_to_string(job.file("path")).unwrap().trim().ends_with("tmp/trace-bin"));
    assert!(job.summary().contains("No run was recorded."));

    let hello = [("IMAGE", "hello-world"), ("FLAGS", "--report none -q")];
    let (code, said) = job.step("run", &hello);
    assert!(code == 0 && said.contains("Hello from trace!"), "{code} {said}");
    let first = job.summary();
    assert!(first.contains("| `hello-world` | cold | 1 |"), "{first}");
    assert!(first.contains("```mermaid\ngantt\n") && first.contains("    image.pull :active, "), "{first}");
    assert!(!first.contains("Against the base branch"), "nothing was there before: {first}");

    // A later step joins the trace of the run, and is no run of its own below it.
    let context = std::fs::read_to_string(job.file("env")).unwrap();
    let context = context.trim().strip_prefix("TRACEPARENT=").unwrap();
    assert_eq!(context.split('-').map(str::len).collect::<Vec<_>>(), [2, 32, 16, 2], "{context}");

    let (code, _) = job.step("run", &hello);
    assert_eq!(code, 0);
    let second = job.summary();
    assert!(second.contains("## Against the base branch") && second.contains("<details>"), "{second}");
    assert!(second.contains("| `hello-world` | warm | 1 |"), "{second}");
    assert_eq!(std::fs::read_dir(job.file("base")).unwrap().count(), 2);

    // The container's exit code is the step's.
    let no = [("IMAGE", "hello-world"), ("ARGS", "/nosuch"), ("FLAGS", "--report none -q")];
    assert_eq!(job.step("run", &no).0, 127);
    assert_eq!(job.step("deploy", &[]).0, 2);
}
