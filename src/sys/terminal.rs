//! Pseudoterminals (pty(7)), and the user's own terminal made whole when this program is killed.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_ulong};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::Errno;

use super::exec::last_errno;

/// Lets the other side of `master` be opened.
pub fn unlock(master: BorrowedFd<'_>) -> Result<(), Errno> {
    let no: c_int = 0;
    // SAFETY: the kernel reads one int.
    let r = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as c_ulong as _, &raw const no) };
    if r == 0 { Ok(()) } else { Err(last_errno()) }
}

/// The number that the other side of `master` has as its name in devpts.
pub fn number(master: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut number: u32 = 0;
    // SAFETY: the kernel writes one unsigned int.
    let r = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN as c_ulong as _, &raw mut number) };
    if r == 0 { Ok(number) } else { Err(last_errno()) }
}

/// Opens the other side of `master`: that one and no other, whatever lies at its path (Linux 4.13).
pub fn peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes flags by value and touches no memory.
    let fd = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER as c_ulong as _, flags) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How a terminal was, for [`restore_when_killed`].
struct Kept(UnsafeCell<MaybeUninit<libc::termios>>);

// SAFETY: written before `TERMINAL` says that it is there and read by handlers only after.
unsafe impl Sync for Kept {}

static KEPT: Kept = Kept(UnsafeCell::new(MaybeUninit::uninit()));
/// The descriptor of the terminal that is to be made whole; -1 for none.
static TERMINAL: AtomicI32 = AtomicI32::new(-1);

/// Signals that end a program by default and that nobody here waits for. A panic of a release build is SIGABRT.
const FATAL: [c_int; 14] = [
    libc::SIGABRT,
    libc::SIGALRM,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGIO,
    libc::SIGPROF,
    libc::SIGPWR,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGTRAP,
    libc::SIGVTALRM,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// From here until [`killed_as_usual`] a signal that kills this program first gives the terminal its state of now back.
/// Of one terminal at a time.
pub fn restore_when_killed(terminal: BorrowedFd<'_>) {
    let mut now = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: the kernel fills it.
    if unsafe { libc::tcgetattr(terminal.as_raw_fd(), now.as_mut_ptr()) } != 0 {
        return;
    }
    TERMINAL.store(-1, Ordering::SeqCst);
    // SAFETY: no handler reads it while `TERMINAL` is -1.
    unsafe { *KEPT.0.get() = now };
    TERMINAL.store(terminal.as_raw_fd(), Ordering::SeqCst);
    for signal in FATAL {
        // SAFETY: all-zero is an empty sigaction; the handler calls only what signal-safety(7) allows.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = restore as extern "C" fn(c_int) as usize;
            action.sa_flags = libc::SA_RESETHAND | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// The end of [`restore_when_killed`].
pub fn killed_as_usual() {
    TERMINAL.store(-1, Ordering::SeqCst);
}

extern "C" fn restore(signal: c_int) {
    let terminal = TERMINAL.swap(-1, Ordering::SeqCst);
    if terminal >= 0 {
        // SAFETY: written before `TERMINAL` was set.
        unsafe { libc::tcsetattr(terminal, libc::TCSANOW, (*KEPT.0.get()).as_ptr()) };
    }
    // SAFETY: the default action is in place again (SA_RESETHAND) and ends this process.
    unsafe { libc::raise(signal) };
}
