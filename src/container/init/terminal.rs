//! The container's terminal: made in its own devpts, our side of it handed out, the other one bound to /dev/console and
//! made the controlling terminal of the first process.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::Uid;

use super::mounts::attach;
use super::report::{At, Fault, Step};
use crate::container::io::TheirStreams;
use crate::container::terminal::{self, Pair};
use crate::sys;

/// `None` where it is to have none.
pub(super) fn open(streams: &TheirStreams, root: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Fault> {
    let Some((pts, pair)) = make(streams, root)? else { return Ok(None) };
    console(root, pts.as_fd(), &pair).at(Step::Console)?;
    Ok(Some(pair.slave))
}

/// The same for a later program: /dev/console stays the first one's.
pub(super) fn open_inside(streams: &TheirStreams, root: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Fault> {
    Ok(make(streams, root)?.map(|(_, pair)| pair.slave))
}

fn make(streams: &TheirStreams, root: BorrowedFd<'_>) -> Result<Option<(OwnedFd, Pair)>, Fault> {
    let TheirStreams::Terminal { way_out, size } = streams else { return Ok(None) };
    let make = || {
        let pts = below(root, c"dev/pts", OFlags::DIRECTORY)?;
        let pair = terminal::open(pts.as_fd())?;
        if let Some(size) = size {
            rustix::termios::tcsetwinsize(&pair.slave, *size)?;
        }
        terminal::hand_out(way_out.as_fd(), pair.master.as_fd())?;
        Ok(Some((pts, pair)))
    };
    make().at(Step::Terminal)
}

/// Binds the terminal to /dev/console, where docker's containers have theirs.
fn console(root: BorrowedFd<'_>, pts: BorrowedFd<'_>, pair: &Pair) -> Result<(), Errno> {
    let mut digits = [0u8; 12];
    let name = decimal(sys::terminal::number(pair.master.as_fd())?, &mut digits);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let source = open_tree(pts, name, flags)?;
    let (theirs, found) = (rustix::fs::fstat(&pair.slave)?, rustix::fs::fstat(&source)?);
    if (theirs.st_dev, theirs.st_ino, theirs.st_rdev) != (found.st_dev, found.st_ino, found.st_rdev) {
        return Err(Errno::NODEV);
    }
    // Made unless the user has put a /dev of his own there; a link is not followed (CVE-2025-52565).
    let dev = below(root, c"dev", OFlags::DIRECTORY)?;
    let make = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::openat(&dev, c"console", make, Mode::from_raw_mode(0o600)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e),
    }
    let target = below(dev.as_fd(), c"console", OFlags::NOFOLLOW)?;
    attach(source.as_fd(), target.as_fd())
}

fn below(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty(), resolve)
}

/// `number` as text, with a zero after it.
fn decimal(number: u32, buffer: &mut [u8; 12]) -> &CStr {
    let (mut at, mut rest) = (buffer.len() - 1, number);
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    CStr::from_bytes_until_nul(&buffer[at..]).unwrap_or(c"0")
}

/// Connects the standard streams. They then belong to the program's user, as docker's do, so that it can open
/// /dev/stdout again.
pub(super) fn connect(streams: &TheirStreams, slave: Option<&OwnedFd>, user: Uid) -> Result<(), Fault> {
    let own = |fd: BorrowedFd<'_>| {
        if !user.is_root() {
            // Where the kernel refuses it, the program still has them open.
            let _ = rustix::fs::fchown(fd, Some(user), None);
        }
    };
    match (streams, slave) {
        (TheirStreams::Pipes { input, out, err }, _) => {
            let input = input.as_ref().map(AsFd::as_fd);
            input.into_iter().chain([out.as_fd(), err.as_fd()]).for_each(own);
            sys::exec::connect(input, out.as_fd(), err.as_fd()).at(Step::Stdio)
        }
        (TheirStreams::Terminal { .. }, Some(slave)) => {
            let slave = slave.as_fd();
            own(slave);
            sys::exec::connect(Some(slave), slave, slave).at(Step::Stdio)?;
            rustix::process::ioctl_tiocsctty(slave).at(Step::ControllingTerminal)
        }
        (TheirStreams::Nothing, _) => {
            let null = sys::exec::null(true).at(Step::Stdio)?;
            sys::exec::connect(Some(null.as_fd()), null.as_fd(), null.as_fd()).at(Step::Stdio)
        }
        (TheirStreams::Terminal { .. }, None) => Err(Errno::BADF).at(Step::Stdio),
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn numbers_become_names() {
        for number in [0, 7, 10, 4_294_967_295] {
            assert_eq!(decimal(number, &mut [0; 12]).to_str().unwrap(), number.to_string());
        }
    }
}
