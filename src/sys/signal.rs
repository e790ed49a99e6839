//! Signal mask and dispositions.

use std::ffi::c_int;

/// In the new process: an empty mask, and SIGPIPE back to its default, which the Rust runtime had set to ignored.
pub fn reset_for_exec() {
    // SAFETY: sigset_t is plain data, filled by sigemptyset; the calls affect this process only.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Number of signal slots, real-time ones included.
pub const MAX: c_int = 64;
