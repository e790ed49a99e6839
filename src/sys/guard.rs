//! A container ends with its engine, however that ends and whatever the container does.
//!
//! The death signal of prctl(2) is not enough: the kernel clears it when a process changes its user, as every program
//! does that starts as root and gives that up, or executes a setuid file. A process that watches the engine and kills
//! the container is not enough either: what kills the engine may kill it too (the OOM killer ends all who share memory;
//! a signal to a process group or a cgroup ends all in it).
//!
//! So the container's parent is a guard, the first process of a pid namespace around the container's own. It waits for
//! the container's exit or the engine's, whichever is first. When it goes, for this or any other reason, the kernel
//! ends every process in its namespace and those below. It shares the engine's memory, so it costs little, and hands
//! the exit status over there; and the engine's descriptors, so it holds nothing open.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU32, Ordering};

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::futex;

use super::clone::{CloneArgs, SHARED, Stack, clone3};
use super::wait::Exit;

/// The guard of one container. Dropping it ends it, and what it guards.
#[derive(Debug)]
pub struct Guard {
    pid: i32,
    gone: bool,
    shared: Box<Shared>,
    _engine: OwnedFd,
    _stack: Stack,
}

/// What the guard has to say.
#[derive(Debug)]
struct Shared {
    /// [`STARTING`], then [`STARTED`], then 0: that one is written by the kernel at the guard's end
    /// (CLONE_CHILD_CLEARTID).
    state: AtomicU32,
    /// The container's pid in the guard's namespace, or the negative errno; 0 before it has started.
    container: AtomicIsize,
    /// Whether the next two are there.
    ended: AtomicBool,
    status: UnsafeCell<c_int>,
    usage: UnsafeCell<libc::rusage>,
}

// SAFETY: the cells are written by the guard alone, and read by others after it has gone.
unsafe impl Sync for Shared {}

const STARTING: u32 = 1;
const STARTED: u32 = 2;

/// Half of it faults; what the guard does fits in a page.
const STACK: usize = 128 * 1024;

struct Task<'a> {
    shared: &'a Shared,
    /// Starts the container; gives its pid, or the negative errno.
    start: &'a dyn Fn(&mut CloneArgs) -> isize,
    container: *mut CloneArgs,
    /// Where the container's pidfd will be stored.
    pidfd: *const c_int,
    engine: c_int,
}

/// Starts a guard, and by it the container; returns when the container has exec'ed or exited.
pub(super) fn start(
    container: &mut CloneArgs,
    pidfd: *const c_int,
    start: &dyn Fn(&mut CloneArgs) -> isize,
) -> io::Result<Guard> {
    let engine = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    let stack = Stack::new(STACK)?;
    // SAFETY: all-zero is a valid rusage.
    let usage = UnsafeCell::new(unsafe { std::mem::zeroed::<libc::rusage>() });
    let shared = Box::new(Shared {
        state: STARTING.into(),
        container: 0.into(),
        ended: false.into(),
        status: UnsafeCell::new(0),
        usage,
    });
    let mut task = Task { shared: &shared, start, container, pidfd, engine: engine.as_raw_fd() };
    let flags = libc::CLONE_NEWPID | libc::CLONE_FILES | libc::CLONE_FS | libc::CLONE_CHILD_CLEARTID;
    let mut args = CloneArgs {
        flags: SHARED | flags as u64,
        child_tid: &raw const shared.state as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..stack.args()
    };
    // SAFETY: `args` is a valid clone_args with a stack of its own, which like `shared` lives until the guard is
    // reaped, and `guard` never returns. It uses `task` only until it says that the container has started, which is
    // awaited below.
    let pid = unsafe { clone3(&raw mut args, guard, (&raw mut task).cast()) };
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(-pid as i32));
    }
    // The kernel's wake-up at the guard's end is one between processes, so this is no private futex.
    while shared.state.load(Ordering::Acquire) == STARTING {
        let _ = futex::wait(&shared.state, futex::Flags::empty(), STARTING, None);
    }
    let mut guard = Guard { pid: pid as i32, gone: false, shared, _engine: engine, _stack: stack };
    let container = guard.shared.container.load(Ordering::Acquire);
    if container > 0 {
        return Ok(guard);
    }
    // Where the guard has gone without a word, all below it has gone too once it can be reaped.
    guard.reap();
    Err(io::Error::from_raw_os_error(if container == 0 { libc::ESRCH } else { -container as i32 }))
}

/// The guard's life. It runs beside the engine in the engine's memory and with the thread-local storage of its main
/// thread, so it makes raw system calls only, which leave `errno` alone.
extern "C" fn guard(task: *mut c_void) -> ! {
    let exit = |_| -> ! {
        // SAFETY: ends this process without running destructors or handlers of the memory it shares.
        unsafe { libc::_exit(0) }
    };
    // SAFETY: the waiting engine's `Task`, which is alive until STARTED.
    let task = unsafe { &*task.cast::<Task<'_>>() };
    // SAFETY: as above; what it refers to lives until this process is reaped.
    let shared: &Shared = unsafe { &*std::ptr::from_ref(task.shared) };
    let engine = task.engine;
    let _ = rustix::thread::set_name(c"trace-guard");
    // It also ends a guard that is stopped. It does not come where the engine has ended before; then its descriptor
    // tells.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // SAFETY: the waiting engine's arguments, which nobody else uses.
    let container = (task.start)(unsafe { &mut *task.container });
    // SAFETY: stored by the kernel when the container was cloned.
    let pidfd = unsafe { *task.pidfd };
    shared.container.store(container, Ordering::Release);
    shared.state.store(STARTED, Ordering::Release);
    let _ = futex::wake(&shared.state, futex::Flags::empty(), 1);
    if container < 0 {
        exit(());
    }
    // SAFETY: the table is shared, and the engine keeps both open until it has reaped us.
    let (engine, pidfd) = unsafe { (BorrowedFd::borrow_raw(engine), BorrowedFd::borrow_raw(pidfd)) };
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN), PollFd::from_borrowed_fd(engine, PollFlags::IN)];
    while poll(&mut fds, None).is_err() {}
    if !fds[0].revents().is_empty() {
        // SAFETY: both cells are ours until `ended`.
        let reaped = unsafe { super::wait::wait4_raw(container as i32, shared.status.get(), shared.usage.get()) };
        shared.ended.store(reaped == container, Ordering::Release);
    }
    exit(())
}

impl Guard {
    /// Waits for the container's exit, and for the guard's after it. Where the guard was killed the container was with
    /// it.
    pub(super) fn reap(&mut self) -> Exit {
        if !self.gone {
            let wait = || rustix::process::waitpid(Pid::from_raw(self.pid), WaitOptions::empty());
            while matches!(wait(), Err(rustix::io::Errno::INTR)) {}
            self.gone = true;
        }
        // SAFETY: the guard, which alone writes them, has gone.
        let (status, usage) = unsafe { (*self.shared.status.get(), *self.shared.usage.get()) };
        Exit::new(if self.shared.ended.load(Ordering::Acquire) { status } else { libc::SIGKILL }, &usage)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.gone {
            if let Some(pid) = Pid::from_raw(self.pid) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            self.reap();
        }
    }
}
