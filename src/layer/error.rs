//! Why a layer could not be pulled apart into a directory.

use std::borrow::Cow;
use std::io;

use super::notes::RawPath;
use super::record::Damage;
use crate::digest::Digest;
use crate::error::Failure;

/// What went wrong with one layer.
///
/// Where several stages fail at once, the cause is reported and not its echo: a short blob is reported as truncated,
/// not as the gzip error it also is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The sender of the chunks failed; its own error is the source.
    #[error("downloading layer `{digest}` failed: {source}")]
    Download {
        /// The blob.
        digest: Digest,
        /// What the downloader said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The blob ended early.
    #[error("layer `{digest}` is truncated: got {got} bytes, expected {expected}")]
    Truncated {
        /// The blob.
        digest: Digest,
        /// Bytes received.
        got: u64,
        /// Bytes its descriptor promised.
        expected: u64,
    },
    /// The blob went on after its size.
    #[error("layer `{digest}` is too long: got more than the expected {expected} bytes")]
    TooLong {
        /// The blob.
        digest: Digest,
        /// Bytes its descriptor promised.
        expected: u64,
    },
    /// The blob's SHA-256 is another one.
    #[error("layer blob has the wrong digest: got `{got}`, expected `{expected}`")]
    DigestMismatch {
        /// Computed.
        got: Digest,
        /// From the descriptor.
        expected: Digest,
    },
    /// The unpacked tar's SHA-256 is another one.
    #[error("layer `{digest}` unpacks to the wrong diff id: got `{got}`, expected `{expected}`")]
    DiffIdMismatch {
        /// The blob.
        digest: Digest,
        /// Computed.
        got: Digest,
        /// From the image configuration.
        expected: Digest,
    },
    /// The compressed blob could not be written to where it is kept.
    #[error("keeping the blob of layer `{digest}` failed: {source}")]
    Keep {
        /// The blob.
        digest: Digest,
        /// What the file system said.
        source: io::Error,
    },
    /// The compressed stream is damaged.
    #[error("layer `{digest}` is not valid {format}: {problem}")]
    Corrupt {
        /// The blob.
        digest: Digest,
        /// `gzip` or `zstd`.
        format: &'static str,
        /// What the decompressor said.
        problem: String,
    },
    /// The blob is in a compression that no image specification knows, or in none that its media type promises.
    #[error("layer `{digest}` cannot be decompressed: it is {found}, expected {expected}")]
    Compression {
        /// The blob.
        digest: Digest,
        /// What its first bytes say.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The tar stream breaks its format.
    #[error("the layer's tar is malformed at byte {offset}: {problem}")]
    Tar {
        /// Offset in the unpacked stream.
        offset: u64,
        /// Got and expected.
        problem: Cow<'static, str>,
    },
    /// An entry that is hostile, contradictory or impossible.
    #[error("layer entry `{entry}` is refused: {why}")]
    Refused {
        /// The entry's name.
        entry: RawPath,
        /// Why.
        why: Cow<'static, str>,
    },
    /// A guard against bombs was hit; see [`Limits`](super::Limits).
    #[error("the layer exceeds the limit on {what} ({limit}) at entry `{entry}`")]
    Limit {
        /// Which limit, as documented in [`Limits`](super::Limits).
        what: &'static str,
        /// Its value.
        limit: u64,
        /// Where it was hit; empty before the first entry.
        entry: RawPath,
    },
    /// The owner has no counterpart in this user namespace.
    #[error("layer entry `{entry}` belongs to {uid}:{gid}, which is not mapped in this user namespace")]
    Unmapped {
        /// The entry's name.
        entry: RawPath,
        /// User id in the tar.
        uid: u32,
        /// Group id in the tar.
        gid: u32,
    },
    /// A system call on the destination failed.
    #[error("cannot {action} `{entry}` of the layer: {source}")]
    Io {
        /// What was tried, an infinitive.
        action: &'static str,
        /// On what, relative to the layer's root.
        entry: RawPath,
        /// What the kernel said.
        source: io::Error,
    },
    /// What was extracted could not be read back to be recorded.
    #[error("cannot record what the layer holds: {0}")]
    Record(#[source] Damage),
    /// A thread for a stage could not be started.
    #[error("cannot start a thread for layer `{digest}`: {source}")]
    Thread {
        /// The blob.
        digest: Digest,
        /// What the system said.
        source: io::Error,
    },
    /// Another stage failed first. Never leaves [`run`](super::run).
    #[doc(hidden)]
    #[error("stopped because another stage failed")]
    Stopped,
}

impl LayerError {
    /// Whether the bytes are at fault, so that a wrong digest would explain it.
    pub(crate) fn blames_content(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Compression { .. } | Self::Tar { .. } | Self::Refused { .. })
    }

    pub(super) fn refused(entry: &[u8], why: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { entry: entry.into(), why: why.into() }
    }

    pub(super) fn io(action: &'static str, entry: &[u8], source: rustix::io::Errno) -> Self {
        Self::Io { action, entry: entry.into(), source: source.into() }
    }
}

impl Failure for LayerError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Download { .. } => "layer_download",
            Self::Truncated { .. } => "layer_truncated",
            Self::TooLong { .. } => "layer_too_long",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::DiffIdMismatch { .. } => "diff_id_mismatch",
            Self::Keep { .. } => "blob_write",
            Self::Corrupt { .. } => "layer_corrupt",
            Self::Compression { .. } => "layer_compression",
            Self::Tar { .. } => "layer_tar",
            Self::Refused { .. } => "layer_refused",
            Self::Limit { .. } => "layer_limit",
            Self::Unmapped { .. } => "layer_unmapped_id",
            Self::Io { .. } => "layer_write",
            Self::Record(_) => "layer_record",
            Self::Thread { .. } => "thread",
            Self::Stopped => "stopped",
        }
    }

    fn hint(&self) -> Option<String> {
        use rustix::io::Errno;
        let os = |e: &io::Error| e.raw_os_error().map(Errno::from_raw_os_error);
        match self {
            Self::Unmapped { .. } => Some(
                "give this user more ids in /etc/subuid and /etc/subgid, or let unmapped owners become root".into(),
            ),
            Self::Keep { source, .. } | Self::Io { source, .. } => match os(source) {
                Some(Errno::NOSPC | Errno::DQUOT) => Some("the file system of the image store is full".into()),
                Some(Errno::ROFS) => Some("the image store is on a read-only file system".into()),
                Some(Errno::NOSYS) => Some("Linux 5.6 or newer is needed for openat2".into()),
                _ => None,
            },
            Self::Limit { .. } => Some("the layer looks like a decompression bomb".into()),
            _ => None,
        }
    }
}
