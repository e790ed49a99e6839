//! What storage may have lost (`store.verify`): layers under a mark of another session are looked at before they are
//! used, and made again from their blob where they are damaged; what cannot be made again is taken away, to be pulled
//! again.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::EngineError;
use super::events::{Event, Observer};
use super::fetch::CHUNKS;
use crate::digest::Digest;
use crate::layer::record::Look;
use crate::layer::{self, Compression, Flavor, Job, Limits, Progress, Unmapped};
use crate::names::{attr, span};
use crate::record::Stage;
use crate::stage;
use crate::store::layers::{Claim, Kept};
use crate::store::unsynced::Suspect;
use crate::store::verify::{Found, Suspicion};
use crate::store::{Store, StoreError};

/// Bytes of a blob that are read at once.
const READ: usize = 256 << 10;

/// What verifying needs to know of a run.
#[derive(Clone)]
pub(super) struct Verifier {
    pub(super) store: Store,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) flavor: Flavor,
    pub(super) squash: bool,
}

#[derive(Default)]
struct Tally {
    layers: usize,
    repaired: usize,
    lost: usize,
}

impl Verifier {
    /// Verifies what foreign marks say about these layers; gives whether there was any such mark. `go_on` is asked now
    /// and then.
    pub(super) fn verify(
        &self,
        parent: &Stage,
        layers: &[Digest],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool, EngineError> {
        let mut marks = self.store.foreign_marks();
        marks.retain(|mark| mark.concerns(layers));
        if marks.is_empty() {
            return Ok(false);
        }
        let stage = stage!(span::STORE_VERIFY, in parent);
        let look = self.store.look();
        let mut tally = Tally::default();
        let all = || {
            for mark in marks {
                if let Some(suspect) = self.store.suspect(mark, go_on)? {
                    self.suspect(&suspect, look, &mut tally, go_on)?;
                    self.store.adopt(suspect)?;
                }
            }
            Ok(true)
        };
        let result = all();
        stage.set(attr::VERIFY_LOOK, if look == Look::Content { "content" } else { "holes" });
        stage.set(attr::LAYERS, tally.layers);
        stage.set(attr::LAYERS_REPAIRED, tally.repaired);
        stage.set(attr::LAYERS_LOST, tally.lost);
        stage.end(result)
    }

    fn suspect(
        &self,
        suspect: &Suspect,
        look: Look,
        tally: &mut Tally,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), EngineError> {
        let Suspicion { layers, manifests } = self.store.suspicion(suspect);
        for layer in layers {
            let blob = match layer.blob {
                Some((blob, size)) => self.store.check_blob(&blob, size, look)?,
                None => false,
            };
            match self.store.check_layer(&layer.diff_id, look, go_on)? {
                Found::Nothing => continue,
                Found::Whole => tally.layers += 1,
                Found::Damaged(why) => {
                    tally.layers += 1;
                    drop(self.store.discard_layer(&layer.diff_id)?);
                    let again = layer.blob.filter(|_| blob).is_some_and(|b| self.make_again(&layer.diff_id, b));
                    *if again { &mut tally.repaired } else { &mut tally.lost } += 1;
                    let done = if again { "was made again from its blob" } else { "is pulled again when it is needed" };
                    let short = layer.diff_id.short();
                    let text = format!("layer `{short}` did not survive a power cut ({why}); it {done}");
                    self.observer.event(Event::Note(text));
                }
            }
        }
        for manifest in manifests {
            self.store.check_stack(&manifest, look, self.flavor, go_on)?;
        }
        Ok(())
    }

    /// Extracts a blob of the store. Whether it worked; a blob that is at fault is gone then.
    fn make_again(&self, diff_id: &Digest, (blob, size): (Digest, u64)) -> bool {
        let made = || -> Result<bool, StoreError> {
            let Claim::Ours(draft) = self.store.claim_layer(diff_id, &blob, size)? else { return Ok(false) };
            let path = self.store.blob_path(&blob);
            let mut file = File::open(&path).map_err(|e| StoreError::file("read", &path, e))?;
            let job = Job {
                digest: blob,
                size,
                diff_id: *diff_id,
                // The first bytes have the last word.
                compression: Compression::None,
                dest: draft.dest()?,
                blob: None,
                kept: 0,
                flavor: self.flavor,
                unmapped: if self.squash { Unmapped::Squash } else { Unmapped::Refuse },
                limits: Limits::default(),
            };
            let (send, receive) = mpsc::channel(CHUNKS);
            let outcome = std::thread::scope(|scope| {
                scope.spawn(move || {
                    loop {
                        let mut chunk = vec![0; READ];
                        let chunk = match file.read(&mut chunk) {
                            Ok(0) => return,
                            read => read.map(|n| Bytes::from(chunk).slice(..n)),
                        };
                        let failed = chunk.is_err();
                        if send.blocking_send(chunk).is_err() || failed {
                            return;
                        }
                    }
                });
                layer::run(job, receive, &Progress::default())
            });
            let Ok(outcome) = outcome else {
                self.store.discard_blob(&blob)?;
                return Ok(false);
            };
            let kept = Kept { unpacked: outcome.unpacked_bytes, notes: outcome.notes, maker: None };
            self.store.commit_layer(draft, &kept, &outcome.record)?;
            Ok(true)
        };
        made().unwrap_or(false)
    }
}
