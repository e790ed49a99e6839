//! The container's output, passed on as it comes, and the signals of our user, passed in.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::error::ContainerError;
use super::signals::{Action, Signals};
use crate::record::Mono;
use crate::sys::clone::Child;

/// Read ends of the container's standard output and error.
#[derive(Debug)]
pub struct Output {
    out: OwnedFd,
    err: OwnedFd,
}

impl Output {
    /// The read ends, and the write ends for the container.
    pub(super) fn pipes() -> Result<(Output, OwnedFd, OwnedFd), ContainerError> {
        let pipe = || {
            pipe_with(PipeFlags::CLOEXEC).map_err(|e| ContainerError::File {
                action: "make a pipe for the output of",
                path: "the container".into(),
                source: e.into(),
            })
        };
        let (out, out_end) = pipe()?;
        let (err, err_end) = pipe()?;
        Ok((Output { out, err }, out_end, err_end))
    }

    /// Numbers of the read ends.
    pub(super) fn raw_fds(&self) -> [RawFd; 2] {
        [self.out.as_raw_fd(), self.err.as_raw_fd()]
    }
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
}

/// One stream on its way to the user.
struct Stream<'a> {
    /// Gone after the end of output, or when nobody reads ours: then the container learns it by SIGPIPE, as it would
    /// without us.
    from: Option<OwnedFd>,
    to: BorrowedFd<'a>,
    number: u8,
}

/// Passes output on and signals in until the process has exited and its output is drained.
///
/// `log` receives a copy in docker's stream framing (Engine API, "Stream format"): a header of 8 bytes, stream number
/// and big-endian length, before each piece.
pub fn pass(
    child: &Child,
    output: Output,
    signals: &mut Signals,
    mut log: Option<&mut File>,
) -> Result<Passed, ContainerError> {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let mut streams = [
        Stream { from: Some(output.out), to: stdout.as_fd(), number: 1 },
        Stream { from: Some(output.err), to: stderr.as_fd(), number: 2 },
    ];
    let mut buffer = vec![0u8; 64 * 1024];
    let (mut first, mut last) = (None, None);
    let mut exited: Option<Mono> = None;
    loop {
        let mut ready = [false; 4];
        {
            let mut fds = Vec::with_capacity(4);
            fds.push((0, PollFd::new(&child.pidfd, PollFlags::IN)));
            fds.push((1, PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)));
            for (i, stream) in streams.iter().enumerate() {
                if let Some(from) = &stream.from {
                    fds.push((2 + i, PollFd::new(from, PollFlags::IN)));
                }
            }
            // After the exit only what is already in the pipes is taken: somebody else may hold their write ends.
            let timeout = exited.map(|_| rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 });
            if exited.is_some() {
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
            match signals.take() {
                Action::Forward(signal) => send(child, signal),
                Action::Kill => send(child, rustix::process::Signal::KILL),
                Action::Nothing => {}
            }
        }
        let mut moved = false;
        for (i, stream) in streams.iter_mut().enumerate() {
            if ready[2 + i] && stream.take(&mut buffer, log.as_deref_mut())? {
                let now = Mono::now();
                first = first.or(Some(now));
                last = Some(now);
                moved = true;
            }
        }
        match exited {
            None if ready[0] => exited = Some(Mono::now()),
            Some(at) if !moved => return Ok(Passed { exited: at, first, last }),
            _ => {}
        }
    }
}

fn send(child: &Child, signal: rustix::process::Signal) {
    // It may have exited in between; then there is nobody to tell.
    let _ = rustix::process::pidfd_send_signal(&child.pidfd, signal);
}

impl Stream<'_> {
    /// Moves what is there; whether there was something.
    fn take(&mut self, buffer: &mut [u8], log: Option<&mut File>) -> Result<bool, ContainerError> {
        let Some(from) = &self.from else { return Ok(false) };
        let n = match rustix::io::read(from, &mut *buffer) {
            Ok(0) => {
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
        if write_all(self.to, data).is_err() {
            self.from = None;
        }
        Ok(true)
    }
}

fn write_all(to: BorrowedFd<'_>, mut data: &[u8]) -> Result<(), Errno> {
    while !data.is_empty() {
        match rustix::io::write(to, data) {
            Ok(n) => data = &data[n..],
            Err(Errno::INTR) => {}
            // Somebody made our terminal or pipe non-blocking.
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                let _ = poll(&mut fds, None);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
