//! Signal mask and dispositions.

use std::ffi::c_int;

/// In the new process: an empty mask, and every signal that is ignored back to its default: by our caller (`nohup`, a
/// background job of a shell without job control), or SIGPIPE by the Rust runtime. A program is to find a fresh state,
/// and ignored signals are the one thing that clone and exec hand on.
pub fn reset_for_exec() {
    // SAFETY: the arrays are at least as large as the kernel's `struct sigaction`, whose first word is the handler and
    // which is all zero for the default; sigset_t is plain data; the calls affect this process only.
    unsafe {
        for number in 1..=MAX {
            // By the kernel: the C library refuses its own two, 32 and 33, but a caller may have ignored them.
            let mut now = [0_usize; 4];
            let read = libc::syscall(libc::SYS_rt_sigaction, number, 0_usize, now.as_mut_ptr(), size_of::<u64>());
            if read == 0 && now[0] == libc::SIG_IGN {
                let default = [0_usize; 4];
                libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), 0_usize, size_of::<u64>());
            }
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Makes the exit status of children available, whatever our caller has done: where it ignored SIGCHLD, the kernel
/// throws every status away.
pub fn keep_exit_statuses() {
    // SAFETY: sets a default disposition.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Number of signal slots, real-time ones included.
pub const MAX: c_int = 64;
