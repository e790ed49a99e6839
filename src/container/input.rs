//! What our user types or pipes in, on its way to the container (`-i`).
//!
//! The container gets a pipe and never our own descriptor: with that of a directory it would reach the host's files,
//! with that of a file or terminal change them. The bytes are copied and not spliced, so that no page of a host's file
//! is ever part of something that the container can write to.

use std::io::IoSliceMut;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use super::keys::DetachKeys;

/// The engine's end of the container's standard input, and what is on its way there.
pub(super) struct Input<'a> {
    from: BorrowedFd<'a>,
    /// Gone after the end of input, or when the container has closed its side: then nothing more is read of ours.
    to: Option<OwnedFd>,
    /// A pipe or socket, which others may read too: it is asked not to wait, whatever poll(2) has said.
    shared: bool,
    terminal: bool,
    buffer: Vec<u8>,
    /// What of the buffer is still to be written.
    rest: std::ops::Range<usize>,
    /// Keys that are not the program's.
    keys: Option<DetachKeys>,
    detached: bool,
}

/// How much is read at once.
const PIECE: usize = 64 * 1024;

/// The engine's end, which never blocks, and the container's.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    // Room for reading on while the container works on what it has; a user with many pipes gets what is usual.
    let _ = rustix::pipe::fcntl_setpipe_size(&ours, 4 * PIECE);
    Ok((ours, theirs))
}

impl<'a> Input<'a> {
    pub(super) fn new(from: BorrowedFd<'a>, to: Option<OwnedFd>, keys: Option<DetachKeys>) -> Self {
        let kind = rustix::fs::fstat(from).map(|s| FileType::from_raw_mode(s.st_mode));
        Input {
            from,
            shared: matches!(kind, Ok(FileType::Fifo | FileType::Socket)),
            terminal: to.is_some() && rustix::termios::isatty(from),
            buffer: vec![0; if to.is_some() { PIECE } else { 0 }],
            rest: 0..0,
            keys,
            detached: false,
            to,
        }
    }

    /// What to wait for.
    pub(super) fn waits_for(&self) -> Option<PollFd<'_>> {
        let to = self.to.as_ref()?;
        if !self.rest.is_empty() {
            return Some(PollFd::new(to, PollFlags::OUT));
        }
        (!self.in_background()).then(|| PollFd::from_borrowed_fd(self.from, PollFlags::IN))
    }

    /// Our terminal belongs to another job. Reading it would stop us, and the container's output with us, so it is left
    /// alone until the user brings us back, which nothing but looking again can tell.
    pub(super) fn in_background(&self) -> bool {
        let ours = || rustix::termios::tcgetpgrp(self.from).is_ok_and(|group| group == rustix::process::getpgrp());
        self.terminal && self.to.is_some() && !ours()
    }

    /// Moves on what can be moved without waiting.
    pub(super) fn pass(&mut self) {
        if self.to.is_some() && self.rest.is_empty() {
            match self.read() {
                Ok(n) if n > 0 => self.rest = self.theirs(n),
                // SIGTTIN is blocked, so a terminal that has just been taken from us says EIO.
                Err(Errno::INTR | Errno::AGAIN) => return,
                Err(Errno::IO) if self.in_background() => return,
                // The end; a directory, or what else cannot be read, has nothing to say either.
                Ok(_) | Err(_) => {
                    self.to = None;
                    return;
                }
            }
        }
        let Some(to) = &self.to else { return };
        match rustix::io::write(to, &self.buffer[self.rest.clone()]) {
            Ok(n) => self.rest.start += n,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.to = None,
        }
    }

    /// What the program is to get of the first `n` bytes of the buffer.
    fn theirs(&mut self, n: usize) -> std::ops::Range<usize> {
        let Some(keys) = &mut self.keys else { return 0..n };
        let (theirs, detached) = keys.filter(&self.buffer[..n]);
        self.detached |= detached;
        if theirs.len() > self.buffer.len() {
            self.buffer.resize(theirs.len(), 0);
        }
        self.buffer[..theirs.len()].copy_from_slice(&theirs);
        0..theirs.len()
    }

    /// Our user has typed the keys.
    pub(super) fn detached(&self) -> bool {
        self.detached
    }

    /// The container's end, for whoever goes on with it.
    pub(super) fn into_end(self) -> Option<OwnedFd> {
        self.to
    }

    fn read(&mut self) -> Result<usize, Errno> {
        /// Current position, preadv2(2).
        const HERE: u64 = u64::MAX;
        if self.shared {
            let into = &mut [IoSliceMut::new(&mut self.buffer)];
            match rustix::io::preadv2(self.from, into, HERE, ReadWriteFlags::NOWAIT) {
                // A kernel that knows no such read here.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) => self.shared = false,
                other => return other,
            }
        }
        rustix::io::read(self.from, &mut self.buffer)
    }
}
