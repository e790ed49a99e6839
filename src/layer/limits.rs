//! Guards against layers that are small to send and huge to unpack.

/// Bounds on one layer. Hitting one ends the layer with [`LayerError::Limit`](super::LayerError::Limit), which names
/// it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `unpacked bytes`: this much is always allowed. Default 2 GiB, for files that were allocated and never written;
    /// less on a disk that has less than four times as much left, see [`Limits::on_disk_with`].
    pub unpacked_floor: u64,
    /// `unpacked bytes`: beyond the floor, this many times the bytes received so far; what a manifest promises counts
    /// for nothing. Default 128: real layers stay below 100, deflate can do 1032 and zstd far more.
    pub unpacked_ratio: u64,
    /// `unpacked bytes` in any case. Default 1 TiB.
    pub unpacked_max: u64,
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
    /// Bytes that unpacking xz may take. Default 192 MiB; `xz -9` asks for 65.
    pub xz_memory: u32,
    /// Largest zstd window, as a power of two. Default 27 (128 MiB), what `zstd` itself decodes without being asked.
    pub zstd_window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            unpacked_floor: 2 << 30,
            unpacked_ratio: 128,
            unpacked_max: 1 << 40,
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
            xz_memory: 192 << 20,
            zstd_window_log: 27,
        }
    }
}

impl Limits {
    /// Unpacked bytes allowed when `received` bytes of the blob have come.
    pub fn unpacked(&self, received: u64) -> u64 {
        self.unpacked_floor.max(received.saturating_mul(self.unpacked_ratio)).min(self.unpacked_max)
    }

    /// The same for a disk that has `free` bytes left, of which no small blob gets more than a quarter.
    #[must_use]
    pub fn on_disk_with(mut self, free: u64) -> Self {
        self.unpacked_floor = self.unpacked_floor.min(free / 4);
        self
    }
}
