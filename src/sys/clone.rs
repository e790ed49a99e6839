//! clone3(2) with shared memory until exec, as `posix_spawn` does it.
//!
//! A fork copies the page tables of everything the parent has touched (29 µs when small, 1 ms at 64 MB); sharing the
//! memory costs the same whatever the size, and gives the new process a free place to leave its stamps.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use super::guard::{self, Guard};
use super::wait::Exit;

/// `struct clone_args` of clone3(2), up to `cgroup` (Linux 5.7).
#[repr(C, align(8))]
#[derive(Default)]
pub(super) struct CloneArgs {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    pub(super) child_tid: u64,
    pub(super) parent_tid: u64,
    pub(super) exit_signal: u64,
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) tls: u64,
    pub(super) set_tid: u64,
    pub(super) set_tid_size: u64,
    pub(super) cgroup: u64,
}

/// Namespaces for the new process; the names are those of `CLONE_NEW*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// Mounts.
    pub const MOUNT: Namespaces = Namespaces(libc::CLONE_NEWNS as u64);
    /// Process ids.
    pub const PID: Namespaces = Namespaces(libc::CLONE_NEWPID as u64);
    /// System V IPC and POSIX message queues.
    pub const IPC: Namespaces = Namespaces(libc::CLONE_NEWIPC as u64);
    /// Host name.
    pub const UTS: Namespaces = Namespaces(libc::CLONE_NEWUTS as u64);
    /// Network.
    pub const NET: Namespaces = Namespaces(libc::CLONE_NEWNET as u64);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Namespaces) -> Self {
        Namespaces(self.0 | other.0)
    }

    /// Whether all of `other` are in this.
    pub const fn has(self, other: Namespaces) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A process that was started and has since replaced itself by exec, or has exited.
#[derive(Debug)]
pub struct Child {
    /// Its pid in our pid namespace.
    pub pid: i32,
    /// A descriptor that becomes readable when it exits.
    pub pidfd: OwnedFd,
    /// Ends it when this process ends.
    pub guard: Option<Guard>,
}

/// Memory is shared until exec, no handler of ours runs in the new process (Linux 5.5).
pub(super) const SHARED: u64 = libc::CLONE_VM as u64 | 0x1_0000_0000;

pub(super) const STACK: usize = 256 * 1024;
/// On cgroup v2: start in the group of this descriptor (Linux 5.7).
pub(super) const INTO_CGROUP: u64 = 0x2_0000_0000;
const GUARD: usize = 64 * 1024;

impl Child {
    /// Waits for its exit and takes its status. To be called once.
    pub fn reap(&mut self) -> io::Result<Exit> {
        match &mut self.guard {
            Some(guard) => Ok(guard.reap()),
            None => super::wait::reap(self.pid),
        }
    }
}

/// A stack for a new process.
#[derive(Debug)]
pub(super) struct Stack {
    base: *mut c_void,
    size: usize,
}

// SAFETY: the mapping belongs to this value alone and may be unmapped by any thread.
unsafe impl Send for Stack {}

impl Stack {
    /// With `size` bytes, of which the lowest [`GUARD`] fault.
    pub(super) fn new(size: usize) -> io::Result<Self> {
        // SAFETY: a fresh anonymous mapping at an address the kernel chooses overlaps nothing of ours.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Stack { base, size };
        // SAFETY: the lowest pages of the mapping made above; nothing lives there yet. An overflow faults.
        if unsafe { libc::mprotect(base, GUARD, libc::PROT_NONE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }

    /// Arguments of clone3 for a process on it, and nothing else.
    pub(super) fn args(&self) -> CloneArgs {
        CloneArgs { stack: self.base as u64, stack_size: self.size as u64, ..CloneArgs::default() }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size, and the process that ran on it has left it: CLONE_VFORK returned, or
        // it was reaped.
        unsafe { libc::munmap(self.base, self.size) };
    }
}

extern "C" fn enter<T, F: Fn(&T) -> u8>(arg: *mut c_void) -> ! {
    // SAFETY: `arg` is the `Entry` on the suspended parent's stack, alive until this process execs or exits.
    let entry = unsafe { &*arg.cast::<Entry<'_, T, F>>() };
    entry.pid.store(pid_in_proc(), Ordering::Relaxed);
    let code = (entry.run)(entry.data);
    // SAFETY: ends this process without running destructors or handlers of the memory it shares.
    unsafe { libc::_exit(c_int::from(code)) }
}

struct Entry<'a, T, F> {
    run: F,
    data: &'a T,
    /// The new process's pid as the parent sees it. Below a guard nobody else can tell: the guard sees its own
    /// namespace's.
    pid: AtomicI32,
}

/// This process's pid in the namespace that /proc belongs to; 0 without /proc.
fn pid_in_proc() -> i32 {
    let mut digits = [0u8; 16];
    // SAFETY: the kernel writes at most `digits.len()` bytes.
    let n = unsafe { libc::readlink(c"/proc/self".as_ptr(), digits.as_mut_ptr().cast(), digits.len()) };
    let digits = digits.get(..n.max(0) as usize).unwrap_or_default();
    digits.iter().fold(0, |n: i32, d| n.wrapping_mul(10).wrapping_add(i32::from(d.wrapping_sub(b'0'))))
}

/// Starts a process that runs `run(data)` in the given new namespaces and, on cgroup v2, directly in `cgroup`. With a
/// pid namespace of its own it does not outlive this process, see [`guard`](super::guard).
///
/// Returns when the new process has exec'ed or exited, with its pid and pidfd; an exit status in the latter case is to
/// be reaped by the caller. `run` executes in memory shared with this process while the calling thread is suspended: it
/// must make system calls only (no allocation, no locks, no panics) and either exec or return an exit status.
pub fn spawn<T: Sync, F: Fn(&T) -> u8 + Sync>(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    data: &T,
    run: F,
) -> io::Result<Child> {
    let stack = Stack::new(STACK)?;
    let entry = Entry { run, data, pid: 0.into() };
    let mut pidfd: c_int = -1;
    let mut args = CloneArgs {
        flags: namespaces.0 | SHARED | (libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..stack.args()
    };
    if let Some(fd) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    let start = |args: &mut CloneArgs| {
        // SAFETY: `args` is a valid clone_args; the child gets its own stack, whose top is page-aligned, and `enter`
        // never returns. CLONE_VFORK suspends this thread, so `entry`, `pidfd` and `stack` outlive the child's use of
        // them.
        unsafe { clone3(args, enter::<T, F>, (&raw const entry).cast_mut().cast()) }
    };
    let guard = if namespaces.has(Namespaces::PID) {
        Some(guard::start(&mut args, &raw const pidfd, &start)?)
    } else {
        match start(&mut args) {
            ret if ret < 0 => return Err(io::Error::from_raw_os_error(-ret as i32)),
            pid => entry.pid.store(pid as i32, Ordering::Relaxed),
        }
        None
    };
    // SAFETY: the kernel stored a new descriptor here that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid: entry.pid.into_inner(), pidfd, guard })
}

/// # Safety
/// `args` must describe a child with its own stack, `entry` must not return.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn clone3(args: *mut CloneArgs, entry: extern "C" fn(*mut c_void) -> !, arg: *mut c_void) -> isize {
    let ret: isize;
    // SAFETY: the parent falls through with all registers as the ABI of syscall leaves them; the child, on its own
    // stack, calls `entry` and never comes back here.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => ret,
            in("rdi") args,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") arg,
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    ret
}

/// # Safety
/// `args` must describe a child with its own stack, `entry` must not return.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn clone3(args: *mut CloneArgs, entry: extern "C" fn(*mut c_void) -> !, arg: *mut c_void) -> isize {
    let ret: isize;
    // SAFETY: as on x86_64.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") args as isize => ret,
            in("x1") size_of::<CloneArgs>(),
            in("x20") arg,
            in("x21") entry,
        );
    }
    ret
}

/// Runs `work` in a forked copy of this process, with its own memory. Only for a process with a single thread (checked
/// by the caller: start of the program), since other threads and their locks do not exist in the copy.
pub fn fork(work: impl FnOnce() -> u8) -> io::Result<i32> {
    // SAFETY: fork has no memory preconditions; the child only runs `work` and leaves by _exit.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = work();
            // SAFETY: ends the copy without running the parent's exit handlers.
            unsafe { libc::_exit(c_int::from(code)) }
        }
        pid => Ok(pid),
    }
}

/// In the new process: a cgroup namespace whose root is the cgroup it is in now.
pub fn unshare_cgroup() -> Result<(), rustix::io::Errno> {
    // SAFETY: CLONE_NEWCGROUP shares or unshares neither descriptors nor memory.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }
}

/// New user and mount namespaces for this process, which must have a single thread (user_namespaces(7)).
pub fn unshare_user_and_mount() -> Result<(), rustix::io::Errno> {
    use rustix::thread::UnshareFlags;
    // SAFETY: neither flag shares or unshares descriptors or memory.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn the_new_process_shares_memory_and_leaves_its_status() {
        let seen = AtomicU32::new(0);
        let mut child = spawn(Namespaces::default(), None, &seen, |seen| {
            seen.store(7, Ordering::Relaxed);
            42
        })
        .unwrap();
        assert_eq!(seen.load(Ordering::Relaxed), 7);
        let exit = child.reap().unwrap();
        assert_eq!(exit.code(), 42);
    }
}
