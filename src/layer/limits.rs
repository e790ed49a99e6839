//! Guards against layers that are small to send and huge to unpack.

/// Bounds on one layer. Hitting one ends the layer with [`LayerError::Limit`](super::LayerError::Limit), which names it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `unpacked bytes`: this much is always allowed. Default 1 GiB: no small blob can fill a disk.
    pub unpacked_floor: u64,
    /// `unpacked bytes`: beyond the floor, this many times the compressed size. Default 256: real layers stay below
    /// 100, deflate can do 1032 and zstd far more.
    pub unpacked_ratio: u64,
    /// `entries` of the tar. Default 2 million; the largest images in use have some hundred thousand.
    pub entries: u64,
    /// `path bytes` of a name or link target, without the end mark. Default 4095, the kernel's `PATH_MAX`.
    pub path: usize,
    /// `path depth` in components. Default 1024.
    pub depth: usize,
    /// `extended header bytes` of one PAX or GNU header. Default 1 MiB, as in Go's `archive/tar`.
    pub extension: u64,
    /// `sparse map entries` of one file. Default 65536.
    pub sparse_map: usize,
    /// `sparse file bytes`, the length with holes. Default 16 TiB, the largest file of ext4: `/var/log/lastlog` of an
    /// image with large user ids has more than a TiB of holes.
    pub sparse_size: u64,
    /// `extended attributes` of one entry. Default 128.
    pub xattrs: usize,
    /// `extended attribute bytes` of one value. Default 64 KiB, the kernel's `XATTR_SIZE_MAX`.
    pub xattr_value: usize,
    /// `late links`: hard links whose target is not in the layer; each costs a copy later. Default 65536.
    pub late_links: usize,
    /// `remembered bytes` of directories and late links, which must be kept to the end. Default 64 MiB, some 500000
    /// directories.
    pub remembered: usize,
    /// Largest zstd window, as a power of two. Default 27 (128 MiB), what `zstd` itself decodes without being asked.
    pub zstd_window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            unpacked_floor: 1 << 30,
            unpacked_ratio: 256,
            entries: 2_000_000,
            path: 4095,
            depth: 1024,
            extension: 1 << 20,
            sparse_map: 65536,
            sparse_size: 16 << 40,
            xattrs: 128,
            xattr_value: 64 << 10,
            late_links: 65536,
            remembered: 64 << 20,
            zstd_window_log: 27,
        }
    }
}

impl Limits {
    /// Unpacked bytes allowed for a blob of `compressed` bytes.
    pub fn unpacked(&self, compressed: u64) -> u64 {
        self.unpacked_floor.max(compressed.saturating_mul(self.unpacked_ratio))
    }
}
