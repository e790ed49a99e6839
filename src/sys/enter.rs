//! A process in the namespaces of another one.
//!
//! A pid namespace is entered only by the children of who has joined it. So there are two processes: the first joins,
//! and starts the second as its own sibling (CLONE_PARENT), a child of this program, which can wait for it as for any
//! other.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use rustix::process::{Pid, PidfdFlags};
use rustix::thread::futex;

use super::clone::{Child, CloneArgs, INTO_CGROUP, SHARED, STACK, Stack, clone3};

struct Task<'a, T, J, F> {
    data: &'a T,
    join: J,
    run: F,
    stack: &'a Stack,
    /// The second process; written by the kernel before it runs (CLONE_PARENT_SETTID).
    pid: AtomicI32,
    /// 0 once it no longer uses our memory; written by the kernel (CLONE_CHILD_CLEARTID).
    using: AtomicU32,
    /// Why there is no second process.
    errno: AtomicI32,
}

/// Starts a process that runs `join(data)`, on cgroup v2 in `cgroup`, and if that is true another one that runs
/// `run(data)`. Returns when this one has exec'ed or exited, an exit status in the latter case to be reaped by the
/// caller; `None` where `join` has failed. Both run in memory shared with this process while the calling thread waits:
/// system calls only, as for [`super::clone::spawn`].
pub fn spawn_inside<T: Sync, J: Fn(&T) -> bool + Sync, F: Fn(&T) -> u8 + Sync>(
    cgroup: Option<BorrowedFd<'_>>,
    data: &T,
    join: J,
    run: F,
) -> io::Result<Option<Child>> {
    let (first, second) = (Stack::new(STACK)?, Stack::new(STACK)?);
    let task = Task { data, join, run, stack: &second, pid: 0.into(), using: AtomicU32::new(1), errno: 0.into() };
    let mut args =
        CloneArgs { flags: SHARED | libc::CLONE_VFORK as u64, exit_signal: libc::SIGCHLD as u64, ..first.args() };
    if let Some(fd) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid clone_args with a stack of its own, and `joining` never returns. `task` and both stacks
    // live until below both processes have been waited for.
    let pid = unsafe { clone3(&raw mut args, joining::<T, J, F>, (&raw const task).cast_mut().cast()) };
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(-pid as i32));
    }
    let _ = super::wait::reap(pid as i32);
    let pid = task.pid.load(Ordering::Acquire);
    if pid == 0 {
        return match task.errno.load(Ordering::Relaxed) {
            0 => Ok(None),
            errno => Err(io::Error::from_raw_os_error(errno)),
        };
    }
    // Where the first one was killed, nobody has waited for the second yet. The kernel's wake-up is one between
    // processes.
    while task.using.load(Ordering::Acquire) != 0 {
        let _ = futex::wait(&task.using, futex::Flags::empty(), 1, None);
    }
    let pid_of = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
    let pidfd = rustix::process::pidfd_open(pid_of, PidfdFlags::empty())?;
    Ok(Some(Child { pid, pidfd, guard: None }))
}

extern "C" fn joining<T, J: Fn(&T) -> bool, F: Fn(&T) -> u8>(arg: *mut c_void) -> ! {
    // SAFETY: `arg` is the waiting caller's `Task`.
    let task = unsafe { &*arg.cast::<Task<'_, T, J, F>>() };
    if (task.join)(task.data) {
        let flags = libc::CLONE_VFORK | libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_CLEARTID;
        let mut args = CloneArgs {
            flags: SHARED | flags as u64,
            parent_tid: task.pid.as_ptr() as u64,
            child_tid: task.using.as_ptr() as u64,
            ..task.stack.args()
        };
        // SAFETY: `args` is a valid clone_args with a stack of its own; `running` never returns. What it uses lives
        // until the caller has seen `using` become 0.
        let pid = unsafe { clone3(&raw mut args, running::<T, J, F>, arg) };
        if pid < 0 {
            task.errno.store(-pid as i32, Ordering::Relaxed);
        }
    }
    // SAFETY: ends this process without running destructors or handlers of the memory it shares.
    unsafe { libc::_exit(0) }
}

extern "C" fn running<T, J: Fn(&T) -> bool, F: Fn(&T) -> u8>(arg: *mut c_void) -> ! {
    // SAFETY: as in `joining`.
    let task = unsafe { &*arg.cast::<Task<'_, T, J, F>>() };
    let code = (task.run)(task.data);
    // SAFETY: as in `joining`.
    unsafe { libc::_exit(code.into()) }
}

/// In the new process: closes every descriptor from 3 up but these, in ascending order. They are the parent's, whose
/// table is another one.
pub fn close_all_but(kept: &[RawFd]) {
    let mut next: libc::c_uint = 3;
    let close = |from: libc::c_uint, to: libc::c_uint| {
        if from <= to {
            // SAFETY: nothing in this process uses what is closed.
            unsafe { libc::syscall(libc::SYS_close_range, from, to, 0 as libc::c_uint) };
        }
    };
    for fd in kept.iter().filter_map(|fd| libc::c_uint::try_from(*fd).ok()).filter(|fd| *fd >= 3) {
        if fd > next {
            close(next, fd - 1);
        }
        next = fd + 1;
    }
    close(next, libc::c_uint::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_process_is_a_child_of_this_one() {
        let seen = AtomicU32::new(0);
        let mut child = spawn_inside(
            None,
            &seen,
            |seen| {
                seen.store(7, Ordering::Relaxed);
                true
            },
            |seen| seen.load(Ordering::Relaxed) as u8 + 1,
        )
        .unwrap()
        .unwrap();
        assert_eq!(child.reap().unwrap().code(), 8);
    }

    #[test]
    fn without_a_way_in_there_is_none() {
        assert!(spawn_inside(None, &(), |()| false, |()| 0).unwrap().is_none());
    }
}
