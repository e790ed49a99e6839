//! Signals of our user: read from a descriptor, so that they arrive where the program is ready for them.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

pub use crate::sys::signal::keep_exit_statuses;

/// Blocks the signals that end or reach a container, for this thread and those it starts.
pub struct Signals {
    fd: SignalFd,
    /// How often the user has asked for the end.
    asked: u32,
}

/// What to do about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Pass it on.
    Forward(rustix::process::Signal),
    /// The user insists.
    Kill,
    /// None was there.
    Nothing,
}

const PASSED_ON: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];

/// A program that ignores Ctrl-C, as pid 1 does by default, is killed at the third.
const INSIST: u32 = 3;

impl Signals {
    /// Blocks them from here on.
    pub fn block() -> std::io::Result<Self> {
        let mut set = SigSet::empty();
        PASSED_ON.iter().for_each(|s| set.add(*s));
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        // A background job that reads its terminal is to hear so by an error, not to be stopped with its container.
        set.add(Signal::SIGTTIN);
        set.thread_block()?;
        Ok(Signals { fd, asked: 0 })
    }

    /// From here on signals do what they usually do.
    pub fn release(self) {
        let mut set = SigSet::empty();
        PASSED_ON.iter().for_each(|s| set.add(*s));
        set.add(Signal::SIGTTIN);
        let _ = set.thread_unblock();
    }

    /// The next pending signal. Never blocks.
    pub fn take(&mut self) -> Action {
        let Ok(Some(info)) = self.fd.read_signal() else { return Action::Nothing };
        let number = info.ssi_signo as i32;
        if matches!(number, libc::SIGINT | libc::SIGTERM | libc::SIGQUIT) {
            self.asked += 1;
            if self.asked >= INSIST {
                return Action::Kill;
            }
        }
        rustix::process::Signal::from_named_raw(number).map_or(Action::Nothing, Action::Forward)
    }

    /// Blocks until the user wants an end.
    pub fn wait(&mut self) {
        while self.interrupted().is_none() {
            let mut fds = [rustix::event::PollFd::new(&self.fd, rustix::event::PollFlags::IN)];
            let _ = rustix::event::poll(&mut fds, None);
        }
    }

    /// A pending signal that ends what we do while there is no container yet: its number.
    pub fn interrupted(&mut self) -> Option<i32> {
        while let Ok(Some(info)) = self.fd.read_signal() {
            let number = info.ssi_signo as i32;
            if matches!(number, libc::SIGINT | libc::SIGTERM | libc::SIGQUIT | libc::SIGHUP) {
                return Some(number);
            }
        }
        None
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
