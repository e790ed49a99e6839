//! Signal mask and dispositions.

use std::ffi::c_int;

/// In the new process: an empty mask, and every signal that is ignored back to its default: by our caller (`nohup`, a
/// background job of a shell without job control), or SIGPIPE by the Rust runtime. A program is to find a fresh state,
/// and ignored signals are the one thing that clone and exec hand on.
pub fn reset_for_exec() {
    // SAFETY: sigset_t and sigaction are plain data, filled by sigemptyset and the kernel; the calls affect this
    // process only.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        for number in 1..=MAX {
            // Those that cannot be changed, and the two of the C library, are never ignored.
            if libc::sigaction(number, std::ptr::null(), &raw mut now) == 0 && now.sa_sigaction == libc::SIG_IGN {
                libc::signal(number, libc::SIG_DFL);
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
