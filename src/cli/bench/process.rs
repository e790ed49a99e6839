//! One process, start to exit, as its parent sees it; and the user's wish to end.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::cli::CliError;
use crate::cli::output::say;
use crate::container::signals::Signals;
use crate::record::model::TraceId;

/// Bytes of what a process says on stderr that are kept.
const SAID: u64 = 64 << 10;

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub wall: Duration,
    /// As the shell sees it.
    pub code: i32,
    /// Its stderr.
    pub said: String,
    /// Where our own engine recorded it.
    pub trace: Option<TraceId>,
    /// The user insisted, so it was ended before it was done.
    pub cut_short: bool,
}

/// Waits for processes and for Ctrl-C.
pub struct Watch {
    signals: Signals,
    asked: bool,
}

impl Watch {
    pub fn new(signals: Signals) -> Self {
        Watch { signals, asked: false }
    }

    /// Whether the user wants an end.
    pub fn asked(&mut self) -> bool {
        self.asked |= self.signals.interrupted().is_some();
        self.asked
    }

    /// Runs a command with nothing on its stdin and its stdout thrown away. Ctrl-C does not reach it: at the first one
    /// it is waited for, at the second it is asked to end.
    pub fn run(&mut self, command: &[String], env: &[(&str, String)]) -> Result<Ended, CliError> {
        use std::os::unix::process::CommandExt;
        let program = command.first().map(String::as_str).unwrap_or_default();
        let fail = |action| move |source: std::io::Error| CliError::File { action, path: program.to_owned(), source };
        // Into a file, so that nobody has to read along while the time is taken.
        let mut said = unnamed().map_err(fail("keep what is said by"))?;
        let mut child = Command::new(program);
        child.args(&command[1..]).envs(env.iter().map(|(k, v)| (k, v)));
        child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone().map_err(fail("start"))?);
        child.process_group(0);
        let begun = Instant::now();
        let mut child = child.spawn().map_err(fail("start"))?;
        let cut_short = self.wait_for(child.id())?;
        let status = child.wait().map_err(fail("wait for"))?;
        let wall = begun.elapsed();
        let mut text = Vec::new();
        use std::io::Seek;
        let _ = said.rewind().and_then(|()| said.take(SAID).read_to_end(&mut text));
        use std::os::unix::process::ExitStatusExt;
        let code = status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap_or(-1);
        Ok(Ended { wall, code, said: String::from_utf8_lossy(&text).into_owned(), trace: None, cut_short })
    }

    /// Until the process has ended. Gives whether it was asked to.
    fn wait_for(&mut self, pid: u32) -> Result<bool, CliError> {
        let fail =
            |e: rustix::io::Errno| CliError::File { action: "wait for", path: pid.to_string(), source: e.into() };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH).map_err(fail)?;
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(fail)?;
        let mut cut_short = false;
        loop {
            let mut fds =
                [PollFd::new(&process, PollFlags::IN), PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
            match rustix::event::poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) | Ok(_) => {}
                Err(e) => return Err(fail(e)),
            }
            if !fds[0].revents().is_empty() {
                return Ok(cut_short);
            }
            if self.signals.interrupted().is_some() {
                if self.asked {
                    cut_short = true;
                    let _ = rustix::process::pidfd_send_signal(&process, Signal::TERM);
                } else {
                    say("Ending after this run; once more ends it at once");
                }
                self.asked = true;
            }
        }
    }

    /// What a command says, if it can be run and succeeds; else a sentence.
    pub fn answer(&mut self, command: &[&str]) -> Result<String, String> {
        let done = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).output();
        match done {
            Ok(done) if done.status.success() => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
            Ok(done) => Err(last_line(&String::from_utf8_lossy(&done.stderr))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err("not installed".to_owned()),
            Err(e) => Err(e.to_string()),
        }
    }
}

/// The last line that says something.
pub fn last_line(text: &str) -> String {
    text.lines()
        .rev()
        .map(str::trim)
        .find(|l| !l.is_empty())
        .unwrap_or("it gives no reason")
        .chars()
        .take(300)
        .collect()
}

/// A file without a name.
fn unnamed() -> std::io::Result<std::fs::File> {
    let fd = rustix::fs::memfd_create("said", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(fd.into())
}
