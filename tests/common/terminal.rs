//! A real terminal with somebody at it: what they type, what they see, and how large their window is.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use trace_run::sys::terminal::{peer, unlock};

use super::find;

/// Nothing that is waited for here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal on which one command runs.
pub struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
    child: Child,
    /// All output so far, and how much of it was expected.
    seen: Vec<u8>,
    read: usize,
}

impl Terminal {
    /// Starts `command` with a terminal of 24 lines and 80 columns as its controlling one.
    pub fn start(command: &Command) -> Terminal {
        let master = rustix::fs::open(c"/dev/ptmx", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
        let master = master.unwrap();
        unlock(master.as_fd()).unwrap();
        let slave = peer(master.as_fd()).unwrap();
        tcsetwinsize(&master, size(24, 80)).unwrap();
        let mut own = Command::new(find("setsid").unwrap());
        own.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        own.envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
        if let Some(dir) = command.get_current_dir() {
            own.current_dir(dir);
        }
        let side = || Stdio::from(slave.try_clone().unwrap());
        let child = own.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        Terminal { master, slave, child, seen: Vec::new(), read: 0 }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Types it.
    pub fn keys(&mut self, keys: &str) {
        let mut rest = keys.as_bytes();
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&self.master, rest).unwrap()..];
        }
    }

    pub fn resize(&self, lines: u16, columns: u16) {
        tcsetwinsize(&self.master, size(lines, columns)).unwrap();
    }

    /// Waits until this is seen after what was seen last; gives what came before it.
    #[track_caller]
    pub fn sees(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let new = &self.seen[self.read..];
            if let Some(at) = new.windows(text.len()).position(|w| w == text.as_bytes()) {
                let before = String::from_utf8_lossy(&new[..at]).into_owned();
                self.read += at + text.len();
                return before;
            }
            let more = self.take();
            assert!(more && begun.elapsed() < PATIENCE, "waited in vain for {text:?}, saw {:?}", self.text());
        }
    }

    /// Types a line and waits until `text` is seen after its echo.
    #[track_caller]
    pub fn line(&mut self, line: &str, text: &str) -> String {
        self.keys(&format!("{line}\r"));
        let echo = self.sees("\n");
        if text.is_empty() { echo } else { self.sees(text) }
    }

    /// Whether there may be more to see.
    fn take(&mut self) -> bool {
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 })).unwrap();
        if fds[0].revents().is_empty() {
            return true;
        }
        let mut buffer = [0u8; 65536];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(n) => self.seen.extend(&buffer[..n]),
            Err(Errno::IO) => return false,
            Err(e) => panic!("{e}"),
        }
        true
    }

    /// All output so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// How the terminal is set.
    pub fn state(&self) -> Termios {
        tcgetattr(&self.slave).unwrap()
    }

    /// Waits for the end of the command; the output up to it is read.
    #[track_caller]
    pub fn ends(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            self.take();
            if let Some(status) = self.child.try_wait().unwrap() {
                let before = self.seen.len();
                self.take();
                if self.seen.len() == before {
                    return status;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {:?}", self.text());
        }
    }

    /// The same, and its exit code must be this.
    #[track_caller]
    pub fn exits(&mut self, code: i32) {
        let status = self.ends();
        assert_eq!(status.code(), Some(code), "{status}: {:?}", self.text());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn size(lines: u16, columns: u16) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Whether two states of a terminal are the same to a person.
pub fn same(a: &Termios, b: &Termios) -> bool {
    (a.input_modes, a.output_modes, a.control_modes, a.local_modes)
        == (b.input_modes, b.output_modes, b.control_modes, b.local_modes)
}
