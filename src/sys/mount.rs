//! mount_setattr(2), which rustix lacks.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::exec::last_errno;

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Makes a detached mount tree read-only, nosuid, nodev and noexec, with all mounts below it (Linux 5.12).
pub fn set_read_only_recursive(tree: BorrowedFd<'_>) -> Result<(), Errno> {
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    set_attributes(tree, set, libc::AT_RECURSIVE)
}

/// Makes the detached mount of a device node read-only: the node cannot be changed, the device is used as ever.
pub fn set_device_read_only(node: BorrowedFd<'_>) -> Result<(), Errno> {
    set_attributes(node, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC, 0)
}

fn set_attributes(tree: BorrowedFd<'_>, set: u64, flags: libc::c_int) -> Result<(), Errno> {
    let attr = MountAttr { set, clear: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: an empty path with AT_EMPTY_PATH names the descriptor itself; `attr` is a valid mount_attr of this size.
    let r = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if r == 0 { Ok(()) } else { Err(last_errno()) }
}
