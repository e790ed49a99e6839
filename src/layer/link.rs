//! How the threads of a layer hand data on and stop each other.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::Thread;

use super::LayerError;
use super::meter::Meter;
use crate::record::Mono;

/// What the stages tell each other beside the data.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) stop: AtomicBool,
    /// The content was found to be bad; a wrong digest would be the better explanation, a broken download would not.
    pub(super) bad_content: AtomicBool,
    pub(super) receiver: OnceLock<Thread>,
}

impl Shared {
    /// Ends the receiving thread even while it waits for the network.
    pub(super) fn halt(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.receiver.get() {
            thread.unpark();
        }
    }
}

pub(super) fn send<T>(to: &SyncSender<Option<T>>, meter: &mut Meter, item: T) -> Result<(), LayerError> {
    let since = Mono::now();
    let result = to.send(Some(item)).map_err(|_| LayerError::Stopped);
    meter.output(since, Mono::now());
    result
}
