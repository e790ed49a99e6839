//! The two checks of a layer, each on the thread that has the bytes in its hands: the blob against the digest of its
//! descriptor, and the unpacked tar against the diff id of the image configuration (OCI image specification,
//! `descriptor.md` and `config.md`).

use sha2::{Digest as _, Sha256};

use super::LayerError;
use crate::digest::Digest;

/// SHA-256 of what has passed so far.
#[derive(Default)]
pub(super) struct Hash(Sha256);

impl Hash {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// All bytes of the blob have passed: are they the blob that was asked for?
    pub(super) fn blob(self, expected: Digest) -> Result<(), LayerError> {
        let got = self.finish();
        if got == expected { Ok(()) } else { Err(LayerError::DigestMismatch { got, expected }) }
    }

    /// All bytes of the unpacked tar of blob `digest` have passed: are they the layer that the image configuration
    /// means?
    pub(super) fn diff_id(self, digest: Digest, expected: Digest) -> Result<(), LayerError> {
        let got = self.finish();
        if got == expected { Ok(()) } else { Err(LayerError::DiffIdMismatch { digest, got, expected }) }
    }

    fn finish(self) -> Digest {
        Digest::from_bytes(self.0.finalize().into())
    }
}
