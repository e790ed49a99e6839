//! The container's output, passed on as it comes, and the input and signals of our user, passed in.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use rustix::termios::Winsize;

use super::error::ContainerError;
use super::input::{self, Input};
use super::keys::DetachKeys;
use super::signals::{Action, Signals};
use super::terminal::{self, Window};
use crate::record::Mono;
use crate::sys::clone::Child;

/// Our ends of the container's standard streams.
#[derive(Debug)]
pub struct Streams {
    /// None where the container has no input of ours. Never blocks.
    pub(crate) input: Option<OwnedFd>,
    pub(crate) out: OwnedFd,
    /// None with a terminal, where output is one stream.
    pub(crate) err: Option<OwnedFd>,
    /// It has a terminal: `input` and `out` are our side of it.
    pub(crate) tty: bool,
}

/// [`Streams`], perhaps still to come.
pub(super) enum Ends {
    Pipes(Streams),
    /// The new process makes a terminal and hands it out by this socket.
    Terminal {
        from: OwnedFd,
        interactive: bool,
    },
}

/// The container's ends.
pub enum TheirStreams {
    /// Pipes.
    Pipes {
        /// None for /dev/null.
        input: Option<OwnedFd>,
        /// Standard output.
        out: OwnedFd,
        /// Standard error.
        err: OwnedFd,
    },
    /// /dev/null for all of them.
    Nothing,
    /// A terminal that the new process makes in its own devpts.
    Terminal {
        /// Where it hands our side out.
        way_out: OwnedFd,
        /// Its size, where ours is known.
        size: Option<Winsize>,
    },
}

/// Pipes between us and a container, with one for its input or not, or the way by which its terminal will come.
pub(super) fn ends(interactive: bool, tty: bool) -> Result<(Ends, TheirStreams), ContainerError> {
    let make = || {
        if tty {
            let (from, way_out) = terminal::way_out()?;
            let theirs = TheirStreams::Terminal { way_out, size: terminal::size() };
            return Ok((Ends::Terminal { from, interactive }, theirs));
        }
        let (input, their_input) = if interactive { Some(input::pipe()?) } else { None }.unzip();
        let (out, their_out) = pipe_with(PipeFlags::CLOEXEC)?;
        let (err, their_err) = pipe_with(PipeFlags::CLOEXEC)?;
        let theirs = TheirStreams::Pipes { input: their_input, out: their_out, err: their_err };
        Ok((Ends::Pipes(Streams { input, out, err: Some(err), tty: false }), theirs))
    };
    make().map_err(|e: Errno| cannot("make the pipes of", e))
}

impl TheirStreams {
    /// What the new process needs of ours for them.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            TheirStreams::Nothing => Vec::new(),
            TheirStreams::Terminal { way_out, .. } => vec![way_out.as_fd()],
            TheirStreams::Pipes { input, out, err } => {
                input.iter().map(AsFd::as_fd).chain([out.as_fd(), err.as_fd()]).collect()
            }
        }
    }
}

impl Ends {
    /// Once the program runs.
    pub(super) fn ready(self) -> Result<Streams, ContainerError> {
        match self {
            Ends::Pipes(streams) => Ok(streams),
            Ends::Terminal { from, interactive } => terminal::take_in(from.as_fd())
                .and_then(|master| Streams::terminal(master, interactive))
                .map_err(|e| cannot("take the terminal of", e)),
        }
    }
}

impl Streams {
    /// Of a terminal that `master` is our side of.
    pub(super) fn terminal(master: OwnedFd, interactive: bool) -> Result<Self, Errno> {
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK)?;
        let input = if interactive { Some(rustix::io::fcntl_dupfd_cloexec(&master, 3)?) } else { None };
        Ok(Streams { input, out: master, err: None, tty: true })
    }
}

impl Streams {
    /// Leaves a terminal to a process of its own, which takes what comes and throws it away until the program has gone.
    /// For callers without other threads.
    pub fn hold(self, process: &OwnedFd) -> Result<(), ContainerError> {
        let out = self.out.as_fd();
        let work = || {
            let _ = rustix::process::setsid();
            // Whoever reads our caller's output is not to wait for us.
            let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty());
            if let Ok(null) = null {
                let _ = crate::sys::exec::connect(Some(null.as_fd()), null.as_fd(), null.as_fd());
            }
            let mut buffer = [0u8; 4096];
            loop {
                let mut fds = [PollFd::new(process, PollFlags::IN), PollFd::from_borrowed_fd(out, PollFlags::IN)];
                match poll(&mut fds, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(_) => return 0,
                }
                if !fds[0].revents().is_empty() {
                    return 0;
                }
                if !fds[1].revents().is_empty() && matches!(rustix::io::read(out, &mut buffer), Ok(0) | Err(Errno::IO))
                {
                    // Nobody has it open for now.
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
            }
        };
        crate::sys::clone::fork(work).map(drop).map_err(|source| ContainerError::File {
            action: "keep the terminal of",
            path: "the container".into(),
            source,
        })
    }
}

fn cannot(action: &'static str, e: Errno) -> ContainerError {
    ContainerError::File { action, path: "the container".into(), source: e.into() }
}

/// What passed while it ran.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// The process was seen to have exited.
    pub exited: Mono,
    /// First byte of output.
    pub first: Option<Mono>,
    /// Last byte of output.
    pub last: Option<Mono>,
    /// Why some of the output could not be passed on. That nobody reads it any more is the container's to know.
    pub lost: Option<Errno>,
}

/// Why there is nothing more to pass.
#[derive(Debug)]
pub enum Over {
    /// The process has exited.
    Exited(Passed),
    /// Our user has typed the keys for it; the process goes on, its streams with whoever takes them.
    Detached(Streams),
}

/// One stream on its way to the user.
struct Stream<'a> {
    /// Gone after the end of output, or when nobody reads ours: then the container learns it by SIGPIPE, as it would
    /// without us.
    from: Option<OwnedFd>,
    to: BorrowedFd<'a>,
    number: u8,
    /// A pipe or socket: it can be full for long, and can be written to without waiting.
    fills_up: bool,
    /// Bytes taken since the process exited.
    drained: usize,
    lost: Option<Errno>,
}

impl<'a> Stream<'a> {
    fn new(from: OwnedFd, to: BorrowedFd<'a>, number: u8) -> Self {
        let kind = rustix::fs::fstat(to).map(|s| FileType::from_raw_mode(s.st_mode));
        let fills_up = matches!(kind, Ok(FileType::Fifo | FileType::Socket));
        Stream { from: Some(from), to, number, fills_up, drained: 0, lost: None }
    }
}

/// What a pipe can hold at the exit (pipe(7), for ordinary users). More comes from somebody who is not in the
/// container: without namespaces, a process that it left behind.
const MOST_AFTER_EXIT: usize = 1 << 20;

/// Passes output on, input and signals in until the process has exited and its output is drained.
///
/// `log` receives a copy in docker's stream framing (Engine API, "Stream format"): a header of 8 bytes, stream number
/// and big-endian length, before each piece.
pub fn pass(
    child: &Child,
    ours: Streams,
    signals: &mut Signals,
    log: Option<&mut File>,
) -> Result<Passed, ContainerError> {
    match pass_until(child, ours, signals, log, None)? {
        Over::Exited(passed) => Ok(passed),
        // Without keys nobody can type them.
        Over::Detached(_) => Err(ContainerError::Gone),
    }
}

/// The same, or until our user types `keys` on the terminal.
pub fn pass_until(
    child: &Child,
    ours: Streams,
    signals: &mut Signals,
    mut log: Option<&mut File>,
    keys: Option<DetachKeys>,
) -> Result<Over, ContainerError> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let window = if ours.tty {
        Some(Window::new(ours.out.as_fd(), ours.input.is_some()).map_err(|e| cannot("use the terminal of", e))?)
    } else {
        None
    };
    let mut reach = Reach { child, signals, window };
    let mut input = Input::new(stdin.as_fd(), ours.input, keys.filter(|_| ours.tty));
    let mut streams: Vec<Stream<'_>> = [Stream::new(ours.out, stdout.as_fd(), 1)]
        .into_iter()
        .chain(ours.err.map(|err| Stream::new(err, stderr.as_fd(), 2)))
        .collect();
    let mut buffer = vec![0u8; 64 * 1024];
    let (mut first, mut last) = (None, None);
    let mut exited: Option<Mono> = None;
    loop {
        let mut ready = [false; 5];
        {
            let mut fds = Vec::with_capacity(5);
            fds.push((0, PollFd::new(&child.pidfd, PollFlags::IN)));
            fds.push((1, PollFd::from_borrowed_fd(reach.signals.as_fd(), PollFlags::IN)));
            for (i, stream) in streams.iter().enumerate() {
                if let Some(from) = &stream.from {
                    fds.push((2 + i, PollFd::new(from, PollFlags::IN)));
                }
            }
            // After the exit only what is already in the pipes is taken: somebody else may hold their write ends.
            let timeout = match exited {
                Some(_) => Some(rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }),
                None => input.in_background().then_some(LOOK_FOR_TERMINAL),
            };
            if exited.is_none() {
                fds.extend(input.waits_for().map(|fd| (4, fd)));
            } else {
                fds.drain(..2);
            }
            let mut polled: Vec<PollFd<'_>> = fds.iter().map(|(_, fd)| fd.clone()).collect();
            match poll(&mut polled, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(ContainerError::Wait(e.into())),
            }
            for ((i, _), fd) in fds.iter().zip(&polled) {
                ready[*i] = !fd.revents().is_empty();
            }
        }
        if ready[1] {
            reach.pass_on();
        }
        if ready[4] {
            input.pass();
            if input.detached()
                && let Some(out) = streams[0].from.take()
            {
                let err = streams.get_mut(1).and_then(|s| s.from.take());
                return Ok(Over::Detached(Streams { input: input.into_end(), out, err, tty: reach.window.is_some() }));
            }
        }
        let mut moved = false;
        for (i, stream) in streams.iter_mut().enumerate() {
            // Somebody who reads us slowly must not keep signals from the container, nor us from ending.
            let mut stuck = || reach.pass_on() && exited.is_some();
            if ready[2 + i] && stream.take(&mut buffer, log.as_deref_mut(), exited.is_some(), &mut stuck)? {
                let now = Mono::now();
                first = first.or(Some(now));
                last = Some(now);
                moved = true;
            }
        }
        match exited {
            None if ready[0] => exited = Some(Mono::now()),
            Some(at) if !moved => {
                let lost = streams.iter().find_map(|s| s.lost);
                return Ok(Over::Exited(Passed { exited: at, first, last, lost }));
            }
            _ => {}
        }
    }
}

/// The container, for our user's signals.
struct Reach<'a> {
    child: &'a Child,
    signals: &'a mut Signals,
    window: Option<Window>,
}

impl Reach<'_> {
    /// Passes one signal on; whether the user wants an end.
    fn pass_on(&mut self) -> bool {
        match (self.signals.take(), &self.window) {
            // The kernel tells the programs on a terminal that its size has changed.
            (Action::Forward(Signal::WINCH), Some(window)) => window.resize(),
            (Action::Forward(signal), window) => {
                if let (Signal::CONT, Some(window)) = (signal, window) {
                    window.resume();
                }
                self.send(signal);
                return matches!(signal, Signal::INT | Signal::TERM | Signal::QUIT | Signal::HUP);
            }
            (Action::Kill, _) => {
                self.send(Signal::KILL);
                return true;
            }
            (Action::Nothing, _) => {}
        }
        false
    }

    fn send(&self, signal: Signal) {
        // It may have exited in between; then there is nobody to tell.
        let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, signal);
    }
}

impl Stream<'_> {
    /// Moves what is there; whether there was something. `stuck` is asked again and again while the user's side takes
    /// nothing, and says whether to give it up.
    fn take(
        &mut self,
        buffer: &mut [u8],
        log: Option<&mut File>,
        exited: bool,
        stuck: &mut dyn FnMut() -> bool,
    ) -> Result<bool, ContainerError> {
        let Some(from) = &self.from else { return Ok(false) };
        let n = match rustix::io::read(from, &mut *buffer) {
            // A terminal says EIO once nobody has it open.
            Ok(0) | Err(Errno::IO) => {
                self.from = None;
                return Ok(false);
            }
            Ok(n) => n,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            Err(e) => return Err(ContainerError::Wait(e.into())),
        };
        let data = &buffer[..n];
        if let Some(log) = log {
            let mut header = [self.number, 0, 0, 0, 0, 0, 0, 0];
            header[4..].copy_from_slice(&(n as u32).to_be_bytes());
            // A full disk must not stop the container; the user still sees its output.
            let _ = log.write_all(&header).and_then(|()| log.write_all(data));
        }
        if exited {
            self.drained += n;
        }
        let written = self.write_all(data, stuck);
        if written.is_err() || self.drained > MOST_AFTER_EXIT {
            self.from = None;
        }
        self.lost = written.err().filter(|e| !matches!(*e, Errno::PIPE | Errno::AGAIN));
        Ok(true)
    }

    fn write_all(&mut self, mut data: &[u8], stuck: &mut dyn FnMut() -> bool) -> Result<(), Errno> {
        /// Current position, pwritev2(2).
        const HERE: u64 = u64::MAX;
        while !data.is_empty() {
            let written = if self.fills_up {
                rustix::io::pwritev2(self.to, &[io::IoSlice::new(data)], HERE, ReadWriteFlags::NOWAIT)
            } else {
                rustix::io::write(self.to, data)
            };
            match written {
                Ok(n) => data = &data[n..],
                Err(Errno::INTR) => {}
                // Full, or somebody made our terminal non-blocking.
                Err(Errno::AGAIN) => {
                    if stuck() {
                        return Err(Errno::AGAIN);
                    }
                    let mut fds = [PollFd::from_borrowed_fd(self.to, PollFlags::OUT)];
                    let _ = poll(&mut fds, Some(&LOOK_FOR_SIGNALS));
                }
                // A kernel that knows no such write here.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) if self.fills_up => {
                    self.fills_up = false;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// How often to see whether the terminal is ours again.
const LOOK_FOR_TERMINAL: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long a signal may wait while nobody takes the output.
const LOOK_FOR_SIGNALS: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
