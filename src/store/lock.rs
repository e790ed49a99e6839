//! Locks that go with the process that holds them (flock(2)).

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::error::StoreError;

/// A held lock; released on drop.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] OwnedFd);

impl Lock {
    /// On a lock file, together with other sharers.
    pub fn shared(path: &Path) -> Result<Self, StoreError> {
        Self::take(open(path)?, FlockOperation::LockShared, path)
    }

    /// On a lock file, alone.
    pub fn exclusive(path: &Path) -> Result<Self, StoreError> {
        Self::take(open(path)?, FlockOperation::LockExclusive, path)
    }

    /// On a lock file, alone, if nobody has it now.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>, StoreError> {
        let fd = open(path)?;
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(fd))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(StoreError::file("lock", path, e.into())),
        }
    }

    /// On a lock file, alone, looking again and again while `wait` says to go on.
    pub fn exclusive_waiting(path: &Path, wait: &mut dyn FnMut() -> bool) -> Result<Self, StoreError> {
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(lock) = Self::try_exclusive(path)? {
                return Ok(lock);
            }
            if !wait() {
                return Err(StoreError::Interrupted);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// On a directory itself: it moves with a rename.
    pub(super) fn of_directory(path: &Path) -> Result<Self, StoreError> {
        let fd = open_existing(path).map_err(|e| StoreError::file("open", path, e.into()))?;
        Self::take(fd, FlockOperation::LockExclusive, path)
    }

    /// On a directory or file, if nobody has it now. `None` also if it has gone.
    pub(super) fn try_path(path: &Path) -> Option<Self> {
        let fd = open_existing(path).ok()?;
        rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(Lock(fd))
    }

    fn take(fd: OwnedFd, how: FlockOperation, path: &Path) -> Result<Self, StoreError> {
        loop {
            match rustix::fs::flock(&fd, how) {
                Ok(()) => return Ok(Lock(fd)),
                Err(Errno::INTR) => {}
                Err(e) => return Err(StoreError::file("lock", path, e.into())),
            }
        }
    }
}

fn open(path: &Path) -> Result<OwnedFd, StoreError> {
    rustix::fs::openat(CWD, path, OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
        .map_err(|e| StoreError::file("lock", path, e.into()))
}

fn open_existing(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}
