//! Terminals: the container's own, and our user's while it is on loan to the container.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::termios::{OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use crate::sys;

/// Both sides of a container's terminal.
pub(super) struct Pair {
    /// Ours.
    pub master: OwnedFd,
    /// The program's.
    pub slave: OwnedFd,
}

/// Makes a terminal in the devpts mounted on the directory `pts`. System calls only. What lies there may be somebody
/// else's doing: it counts for nothing unless it is a devpts and its `ptmx` the kernel's.
pub(super) fn open(pts: BorrowedFd<'_>) -> Result<Pair, Errno> {
    const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
    if rustix::fs::fstatfs(pts)?.f_type != DEVPTS_SUPER_MAGIC {
        return Err(Errno::NODEV);
    }
    let master = rustix::fs::openat2(
        pts,
        c"ptmx",
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )?;
    pair(master)
}

/// The same in the host's devpts, for a program without a container.
pub(super) fn open_on_host() -> Result<Pair, Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    pair(rustix::fs::open(c"/dev/ptmx", flags, Mode::empty())?)
}

fn pair(master: OwnedFd) -> Result<Pair, Errno> {
    let stat = rustix::fs::fstat(&master)?;
    let number = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || number != (5, 2) {
        return Err(Errno::NODEV);
    }
    sys::terminal::unlock(master.as_fd())?;
    let slave = sys::terminal::peer(master.as_fd())?;
    Ok(Pair { master, slave })
}

/// A way for one descriptor from the new process to this one.
pub(super) fn way_out() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// In the new process: hands `fd` out. System calls only.
pub(super) fn hand_out(way: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(way, &[IoSlice::new(b"m")], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// What was handed out. Does not wait: the new process has done it before it became the program.
pub(super) fn take_in(way: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8; 1];
    recvmsg(way, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC)?;
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    fds.flatten().next().ok_or(Errno::BADMSG)
}

/// Size of our user's terminal: of the one that the output goes to, else of the one that the input comes from.
pub fn size() -> Option<Winsize> {
    let (out, input) = (io::stdout(), io::stdin());
    tcgetwinsize(&out).or_else(|_| tcgetwinsize(&input)).ok()
}

/// The container's terminal seen from here.
pub struct Window {
    master: OwnedFd,
    raw: Option<RawMode>,
    /// So that output still comes when the program closes its terminal for a while (EIO otherwise).
    _open: Option<OwnedFd>,
}

impl Window {
    /// Of the terminal that `master` is our side of. With `typing` our own is put into raw mode: whatever is typed
    /// there is the program's.
    pub(super) fn new(master: BorrowedFd<'_>, typing: bool) -> Result<Self, Errno> {
        let raw = if typing { RawMode::enter(io::stdin().as_fd())? } else { None };
        let open = sys::terminal::peer(master).ok();
        let window = Window { master: rustix::io::fcntl_dupfd_cloexec(master, 3)?, raw, _open: open };
        window.resize();
        Ok(window)
    }

    /// Gives it the size that ours has.
    pub(super) fn resize(&self) {
        if let Some(size) = size() {
            let _ = tcsetwinsize(&self.master, size);
        }
    }

    /// We were stopped and go on: the shell has used our terminal meanwhile.
    pub(super) fn resume(&self) {
        if let Some(raw) = &self.raw {
            raw.again();
        }
        self.resize();
    }
}

/// Our user's terminal in raw mode; dropped, it is as it was.
pub struct RawMode {
    before: Termios,
    raw: Termios,
}

impl RawMode {
    /// Nothing where standard input is no terminal.
    pub fn enter(terminal: BorrowedFd<'_>) -> Result<Option<Self>, Errno> {
        if !isatty(terminal) {
            return Ok(None);
        }
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        sys::terminal::restore_when_killed(terminal);
        tcsetattr(terminal, OptionalActions::Drain, &raw)?;
        Ok(Some(RawMode { before, raw }))
    }

    fn again(&self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.raw);
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        sys::terminal::killed_as_usual();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_made_and_handed_over() {
        let Ok(pair) = open_on_host() else { return };
        let (way, ours) = way_out().unwrap();
        hand_out(way.as_fd(), pair.master.as_fd()).unwrap();
        drop(pair.master);
        let master = take_in(ours.as_fd()).unwrap();
        rustix::io::write(&pair.slave, b"x\n").unwrap();
        let mut seen = [0u8; 8];
        let n = rustix::io::read(&master, &mut seen).unwrap();
        assert_eq!(&seen[..n], b"x\r\n");
        assert!(take_in(ours.as_fd()).is_err(), "nothing more is there, and nobody waits for it");
    }

    #[test]
    fn what_is_no_devpts_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/ptmx", dir.path().join("ptmx")).unwrap();
        let open_dir = std::fs::File::open(dir.path()).unwrap();
        assert_eq!(open(open_dir.as_fd()).err(), Some(Errno::NODEV));
    }
}
