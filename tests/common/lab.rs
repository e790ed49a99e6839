//! The program in a place of its own: store, home and environment.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use trace_run::record::file;
use trace_run::record::model::Trace;

/// Nothing here takes so long; what does hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// A store, a home and the commands that use them.
pub struct Lab {
    dir: tempfile::TempDir,
    /// Words before the program: another user, other namespaces.
    wrapper: Vec<String>,
    home: PathBuf,
}

/// How a command went.
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Ran {
    /// Exit code; 128+n if the program itself was killed by a signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Fails the test unless the exit code is this.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code(), code, "stdout: {}\nstderr: {}", self.out(), self.err());
        self
    }

    /// Fails the test unless it went well.
    #[track_caller]
    pub fn ok(self) -> Ran {
        self.exits(0)
    }
}

impl Lab {
    pub fn new() -> Lab {
        let dir = tempfile::Builder::new().prefix("trace-test-").tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        Lab { dir, wrapper: Vec::new(), home }
    }

    /// All commands are started through `words`; what they write belongs to `uid`.
    pub fn through(mut self, words: &[&str], uid: u32) -> Lab {
        self.wrapper = words.iter().map(|w| (*w).to_owned()).collect();
        fs::create_dir_all(self.root()).unwrap();
        for path in [self.dir.path(), &self.home, &self.root()] {
            std::os::unix::fs::chown(path, Some(uid), Some(uid)).unwrap();
        }
        self
    }

    /// `TRACE_ROOT` of all its commands.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A path in the store.
    pub fn store(&self, below: &str) -> PathBuf {
        self.root().join("v1").join(below)
    }

    /// A directory for the test's own files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The program with these arguments and a clean environment.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let program = env!("CARGO_BIN_EXE_trace");
        let mut command = match self.wrapper.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut c = Command::new(first);
                c.args(rest).arg(program);
                c
            }
        };
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", &self.home)
            .env("LC_ALL", "C.UTF-8")
            .env("TRACE_ROOT", self.root())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub fn trace(&self, args: &[&str]) -> Ran {
        Running::start(self.command(args), &[]).wait()
    }

    /// The same with this on stdin.
    pub fn fed(&self, args: &[&str], stdin: &[u8]) -> Ran {
        Running::start(self.command(args), stdin).wait()
    }

    /// Starts the program.
    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(self.command(args), &[])
    }

    /// A run without a report.
    pub fn quiet_run(&self, args: &[&str]) -> Ran {
        self.trace(&[&["run", "-q", "--report", "none"], args].concat())
    }

    /// A run and its trace.
    pub fn traced(&self, args: &[&str]) -> (Ran, Trace) {
        let before = self.trace_files();
        let ran = self.trace(args);
        let new: Vec<_> = self.trace_files().difference(&before).cloned().collect();
        assert_eq!(new.len(), 1, "one trace a run: {new:?}\n{}{}", ran.out(), ran.err());
        (ran, read_trace(&new[0]))
    }

    /// The files of the recorded runs.
    pub fn trace_files(&self) -> HashSet<PathBuf> {
        let entries = fs::read_dir(self.store("traces")).into_iter().flatten();
        entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect()
    }

    /// Ids of the containers that have a directory.
    pub fn containers(&self) -> Vec<String> {
        names_in(&self.store("containers"))
    }

    /// Nothing is left of containers and pulls: no directories, temporary files, mounts or cgroups.
    #[track_caller]
    pub fn assert_clean(&self, ids: &[String]) {
        for dir in ["containers", "tmp", "names"] {
            assert_eq!(names_in(&self.store(dir)), Vec::<String>::new(), "left in {dir}/");
        }
        self.assert_unmounted();
        for id in ids {
            assert_eq!(cgroups_of(id), Vec::<PathBuf>::new(), "cgroups left");
        }
    }

    /// No mount anywhere in this mount namespace comes from the store.
    #[track_caller]
    pub fn assert_unmounted(&self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = self.root().to_str().unwrap().to_owned();
        let left: Vec<_> = mounts.lines().filter(|l| l.contains(&root)).collect();
        assert!(left.is_empty(), "mounts left: {left:?}");
    }
}

/// File names in a directory, sorted; none if it is not there.
pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut all: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    all
}

pub fn read_trace(path: &Path) -> Trace {
    let mut traces = file::read(path).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(traces.len(), 1);
    traces.remove(0)
}

/// Directories below the cgroup mounts that have this container's id in their name.
pub fn cgroups_of(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((dir, depth)) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().contains(&id[..12]) {
                found.push(entry.path());
            } else if depth < 6 {
                todo.push((entry.path(), depth + 1));
            }
        }
    }
    found
}

/// Pids of processes that have this word among their arguments, the word being the test's own.
pub fn processes_with(word: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let args = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if args.split(|b| *b == 0).any(|a| a == word.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// Looks again until it is so.
#[track_caller]
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A started command; killed if the test gives up on it.
pub struct Running {
    child: Child,
    stdin: Option<JoinHandle<()>>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    pub fn start(mut command: Command, stdin: &[u8]) -> Running {
        if !stdin.is_empty() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stdin = child.stdin.take().map(|mut pipe| {
            let bytes = stdin.to_vec();
            std::thread::spawn(move || {
                // A program that doesn't want all of it is not at fault.
                let _ = pipe.write_all(&bytes);
            })
        });
        let stdout = child.stdout.take().map(reading);
        let stderr = child.stderr.take().map(reading);
        Running { child, stdin, stdout, stderr }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends a signal, by name.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn wait(mut self) -> Ran {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let err = self.stderr.take().map(|t| t.join().unwrap_or_default()).unwrap_or_default();
                panic!("hangs: {}", String::from_utf8_lossy(&err));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let take = |t: Option<JoinHandle<Vec<u8>>>| t.map(|t| t.join().unwrap()).unwrap_or_default();
        let ran = Ran { status, stdout: take(self.stdout.take()), stderr: take(self.stderr.take()) };
        if let Some(thread) = self.stdin.take() {
            thread.join().unwrap();
        }
        ran
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn reading(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = pipe.read_to_end(&mut all);
        all
    })
}
