//! The loopback interface of a new network namespace.

use rustix::io::Errno;

use super::exec::last_errno;

/// In the new process: brings `lo` up. Its addresses come by themselves.
pub fn loopback_up() -> Result<(), Errno> {
    // SAFETY: makes a descriptor that is closed below.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `request` is a valid ifreq with a NUL-terminated name, `fd` an open socket.
    let r = unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS as _, &raw const request) };
    let result = if r == 0 { Ok(()) } else { Err(last_errno()) };
    // SAFETY: opened above, used by nobody else.
    unsafe { libc::close(fd) };
    result
}
