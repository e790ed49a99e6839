//! Exit status and resource usage of a child.

use std::io;

/// How a process ended and what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    status: i32,
    /// CPU in user mode, nanoseconds, with that of its reaped children.
    pub user_ns: u64,
    /// CPU in the kernel, nanoseconds.
    pub system_ns: u64,
    /// Largest resident set of one process, bytes. The kernel counts from the clone on, so this is never less than what
    /// the parent had resident then; see [`own_peak_rss`].
    pub peak_rss: u64,
    /// Page faults without I/O.
    pub minor_faults: u64,
    /// Page faults with I/O.
    pub major_faults: u64,
    /// Blocks of 512 bytes read.
    pub blocks_in: u64,
    /// Blocks of 512 bytes written.
    pub blocks_out: u64,
}

impl Exit {
    pub(super) fn new(status: i32, usage: &libc::rusage) -> Self {
        let ns = |t: libc::timeval| t.tv_sec as u64 * 1_000_000_000 + t.tv_usec as u64 * 1000;
        Exit {
            status,
            user_ns: ns(usage.ru_utime),
            system_ns: ns(usage.ru_stime),
            peak_rss: usage.ru_maxrss as u64 * 1024,
            minor_faults: usage.ru_minflt as u64,
            major_faults: usage.ru_majflt as u64,
            blocks_in: usage.ru_inblock as u64,
            blocks_out: usage.ru_oublock as u64,
        }
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        libc::WIFSIGNALED(self.status).then(|| libc::WTERMSIG(self.status))
    }

    /// The status as a shell shows it: 128+n for signal n.
    pub fn code(&self) -> u8 {
        match self.signal() {
            Some(n) => (128 + n) as u8,
            None => libc::WEXITSTATUS(self.status) as u8,
        }
    }
}

/// Waits for the child `pid` to exit and takes its status (wait4(2)).
pub fn reap(pid: i32) -> io::Result<Exit> {
    let mut status = 0;
    // SAFETY: all-zero is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live variables of the right type.
        let r = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        if r == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(Exit::new(status, &usage))
}

/// The same without waiting for longer than an interruption, and without the C library: `errno` is left alone. The pid
/// of the child, or the negative errno.
///
/// # Safety
/// Both pointers must be to variables that nobody else uses.
pub(super) unsafe fn wait4_raw(pid: i32, status: *mut i32, usage: *mut libc::rusage) -> isize {
    let ret: isize;
    // SAFETY: the kernel writes the two variables and changes no other memory.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!(
            "syscall",
            inlateout("rax") libc::SYS_wait4 as isize => ret,
            in("rdi") pid as isize,
            in("rsi") status,
            in("rdx") 0,
            in("r10") usage,
            lateout("rcx") _,
            lateout("r11") _,
        );
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!(
            "svc #0",
            in("x8") libc::SYS_wait4,
            inlateout("x0") pid as isize => ret,
            in("x1") status,
            in("x2") 0,
            in("x3") usage,
        );
    }
    ret
}

/// Largest resident set of this process so far, bytes (getrusage(2)).
pub fn own_peak_rss() -> u64 {
    // SAFETY: all-zero is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live variable of the right type.
    match unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) } {
        0 => usage.ru_maxrss as u64 * 1024,
        _ => 0,
    }
}
