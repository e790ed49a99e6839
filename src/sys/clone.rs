//! clone3(2) with shared memory until exec, as `posix_spawn` does it.
//!
//! A fork copies the page tables of everything the parent has touched (29 µs when small, 1 ms at 64 MB); sharing the
//! memory costs the same whatever the size, and gives the new process a free place to leave its stamps.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `struct clone_args` of clone3(2), up to `cgroup` (Linux 5.7).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
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
}

const STACK: usize = 256 * 1024;
const GUARD: usize = 64 * 1024;

struct Stack(*mut c_void);

impl Stack {
    fn new() -> io::Result<Self> {
        // SAFETY: a fresh anonymous mapping at an address the kernel chooses overlaps nothing of ours.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                STACK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Stack(base);
        // SAFETY: the lowest pages of the mapping made above; nothing lives there yet. An overflow faults.
        if unsafe { libc::mprotect(base, GUARD, libc::PROT_NONE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size, and the process that ran on it has left it: CLONE_VFORK returned.
        unsafe { libc::munmap(self.0, STACK) };
    }
}

extern "C" fn enter<T, F: Fn(&T) -> u8>(arg: *mut c_void) -> ! {
    // SAFETY: `arg` is the `Entry` on the suspended parent's stack, alive until this process execs or exits.
    let entry = unsafe { &*arg.cast::<Entry<'_, T, F>>() };
    let code = (entry.run)(entry.data);
    // SAFETY: ends this process without running destructors or handlers of the memory it shares.
    unsafe { libc::_exit(c_int::from(code)) }
}

struct Entry<'a, T, F> {
    run: F,
    data: &'a T,
}

/// Starts a process that runs `run(data)` in the given new namespaces and, on cgroup v2, directly in `cgroup`.
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
    const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let stack = Stack::new()?;
    let entry = Entry { run, data };
    let mut pidfd: c_int = -1;
    let mut args = CloneArgs {
        flags: namespaces.0 | (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64 | CLONE_CLEAR_SIGHAND,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.0 as u64,
        stack_size: STACK as u64,
        ..CloneArgs::default()
    };
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid clone_args; the child gets its own stack, whose top is page-aligned, and `enter` never
    // returns. CLONE_VFORK suspends this thread, so `entry`, `pidfd` and `stack` outlive the child's use of them.
    let ret = unsafe { clone3(&raw mut args, enter::<T, F>, (&raw const entry).cast_mut().cast()) };
    if ret < 0 {
        return Err(io::Error::from_raw_os_error(-ret as i32));
    }
    // SAFETY: the kernel stored a new descriptor here that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid: ret as i32, pidfd })
}

/// # Safety
/// `args` must describe a child with its own stack, `entry` must not return.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(args: *mut CloneArgs, entry: extern "C" fn(*mut c_void) -> !, arg: *mut c_void) -> isize {
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
unsafe fn clone3(args: *mut CloneArgs, entry: extern "C" fn(*mut c_void) -> !, arg: *mut c_void) -> isize {
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
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn the_new_process_shares_memory_and_leaves_its_status() {
        let seen = AtomicU32::new(0);
        let child = spawn(Namespaces::default(), None, &seen, |seen| {
            seen.store(7, Ordering::Relaxed);
            42
        })
        .unwrap();
        assert_eq!(seen.load(Ordering::Relaxed), 7);
        let exit = crate::sys::wait::reap(child.pid).unwrap();
        assert_eq!(exit.code(), 42);
    }
}
