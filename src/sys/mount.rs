//! mount_setattr(2), which rustix lacks.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;

use super::exec::last_errno;

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// What [`set_attributes`] is to set; what is `false` or `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Nothing can be written.
    pub read_only: bool,
    /// Set-user-id files have no effect.
    pub nosuid: bool,
    /// Device nodes have no effect.
    pub nodev: bool,
    /// Programs cannot be executed.
    pub noexec: bool,
    /// How mounts made later pass on.
    pub propagation: Option<MountPropagationFlags>,
}

/// Sets attributes of a mount, with all mounts below it if `recursive` (Linux 5.12).
pub fn set_attributes(tree: BorrowedFd<'_>, attributes: &Attributes, recursive: bool) -> Result<(), Errno> {
    let bit = |on: bool, bit: u64| if on { bit } else { 0 };
    let attr = MountAttr {
        set: bit(attributes.read_only, libc::MOUNT_ATTR_RDONLY)
            | bit(attributes.nosuid, libc::MOUNT_ATTR_NOSUID)
            | bit(attributes.nodev, libc::MOUNT_ATTR_NODEV)
            | bit(attributes.noexec, libc::MOUNT_ATTR_NOEXEC),
        clear: 0,
        propagation: attributes.propagation.map_or(0, |p| u64::from(p.bits())),
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: an empty path with AT_EMPTY_PATH names the descriptor itself; `attr` is a valid mount_attr of this size.
    let r = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if r == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Makes a detached mount tree read-only, nosuid, nodev and noexec, with all mounts below it.
pub fn set_read_only_recursive(tree: BorrowedFd<'_>) -> Result<(), Errno> {
    let all = Attributes { read_only: true, nosuid: true, nodev: true, noexec: true, propagation: None };
    set_attributes(tree, &all, true)
}

/// Makes the detached mount of a device node read-only: the node cannot be changed, the device is used as ever.
pub fn set_device_read_only(node: BorrowedFd<'_>) -> Result<(), Errno> {
    let all = Attributes { read_only: true, nosuid: true, noexec: true, ..Attributes::default() };
    set_attributes(node, &all, false)
}
