//! Which images there are, and the demo images made so far.
//!
//! A demo image is made once, however many requests ask for it, by threads of its own: the server's runtime only waits.
//! What has been made is kept until 64 images or 20 GiB are exceeded; then the one not asked for longest goes.

use super::demo::{build, shape::EXAMPLES, shape::GRAMMAR, shape::Shape};
use super::hello;
use super::image::{Blob, Image, Manifest};
use crate::digest::Digest;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::sync::watch;

pub(super) const HELLO: &str = "library/hello-world";
pub(super) const DEMO: &str = "demo/layers";
/// Sorted by bytes, as the catalogue must be.
pub(super) const REPOSITORIES: [&str; 2] = [DEMO, HELLO];
const HELLO_TAGS: [&str; 2] = ["latest", "linux"];

const KEPT_IMAGES: usize = 64;
const KEPT_BYTES: u64 = 20 << 30;
/// How many images are made at the same time, and how many more may wait for their turn.
const RUNNING: usize = 2;
const WAITING: usize = 32;

/// Why there is no such image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Repository,
    /// With the form of a tag of this repository.
    Reference(&'static str),
    Busy,
    /// It could not be made.
    Failed(String),
}

impl Missing {
    /// One sentence on why `repository` does not give `reference`.
    pub(super) fn explain(&self, repository: &str, reference: &str) -> String {
        match self {
            Missing::Repository => {
                format!("the built-in hub has no repository `{repository}`, only `{}`", REPOSITORIES.join("` and `"))
            }
            Missing::Reference(expected) => format!("`{repository}` has no `{reference}`: {expected}"),
            Missing::Busy => {
                format!("`{repository}:{reference}` has to be made first, and too many images are being made already")
            }
            Missing::Failed(why) => format!("`{repository}:{reference}` could not be made: {why}"),
        }
    }
}

/// Tags of `repository` to show in a list, sorted by bytes.
pub(super) fn tags(repository: &str) -> Option<&'static [&'static str]> {
    match repository {
        HELLO => Some(&HELLO_TAGS),
        DEMO => Some(&EXAMPLES),
        _ => None,
    }
}

/// Whether `repository` can give `reference`, without making anything. A digest of a demo image is not recognised: it
/// is known only to a hub that has made the image.
pub(super) fn has(repository: &str, reference: &str) -> bool {
    match repository {
        HELLO => HELLO_TAGS.contains(&reference) || hello_manifest(reference).is_ok(),
        DEMO => Shape::parse(reference).is_some(),
        _ => false,
    }
}

fn hello_manifest(reference: &str) -> Result<&'static Manifest, Missing> {
    let image = hello::image();
    if HELLO_TAGS.contains(&reference) {
        return Ok(&image.index);
    }
    Digest::parse(reference)
        .ok()
        .and_then(|digest| image.manifest(digest))
        .ok_or(Missing::Reference("expected the tag `latest` or `linux`, or the digest of one of its manifests"))
}

type Made = Result<Arc<Image>, String>;

/// The images of one hub.
pub(super) struct Library {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    cancel: AtomicBool,
    state: Mutex<State>,
    turn: Condvar,
}

#[derive(Default)]
struct State {
    images: HashMap<Shape, Entry>,
    /// Counts requests, to know which image was asked for longest ago.
    clock: u64,
    running: usize,
    waiting: usize,
}

struct Entry {
    used: u64,
    made: watch::Receiver<Option<Made>>,
}

impl Library {
    /// Demo images go to nameless files in `dir`.
    pub(super) fn new(dir: PathBuf) -> Self {
        let state = Mutex::new(State::default());
        let cancel = AtomicBool::new(false);
        Library { shared: Arc::new(Shared { dir, cancel, state, turn: Condvar::new() }) }
    }

    /// Images under way are given up, soon.
    pub(super) fn stop(&self) {
        self.shared.cancel.store(true, Ordering::Relaxed);
        self.shared.turn.notify_all();
    }

    /// The manifest or index that `reference`, a tag or a digest, stands for; a demo image is made first if need be.
    pub(super) async fn manifest(&self, repository: &str, reference: &str) -> Result<Manifest, Missing> {
        match repository {
            HELLO => hello_manifest(reference).cloned(),
            DEMO => match Digest::parse(reference) {
                Ok(digest) => self
                    .find(|image| image.manifest(digest).cloned())
                    .ok_or(Missing::Reference("a digest of a demo image is known once its tag has been asked for")),
                Err(_) => {
                    let shape = Shape::parse(reference).ok_or(Missing::Reference(GRAMMAR))?;
                    let mut made = self.demo(shape)?;
                    // The sender lives in the thread that makes the image and always sends before it ends.
                    let result = made.wait_for(Option::is_some).await.ok().and_then(|result| result.clone());
                    let gone = || Err("the thread that made it ended".to_owned());
                    result.unwrap_or_else(gone).map(|image| image.index.clone()).map_err(Missing::Failed)
                }
            },
            _ => Err(Missing::Repository),
        }
    }

    /// The manifest of the first platform, for a client that does not take indexes.
    pub(super) fn first_platform(&self, repository: &str, index: Digest) -> Option<Manifest> {
        let first = |image: &Image| (image.index.digest == index).then(|| image.manifests.first().cloned()).flatten();
        if repository == HELLO { first(hello::image()) } else { self.find(first) }
    }

    /// The blob, if `repository` is known to have it.
    pub(super) fn blob(&self, repository: &str, digest: Digest) -> Option<Blob> {
        match repository {
            HELLO => hello::image().blobs.get(&digest).cloned(),
            DEMO => self.find(|image| image.blobs.get(&digest).cloned()),
            _ => None,
        }
    }

    /// The first answer that a finished demo image gives; it counts as asked for.
    fn find<T>(&self, look: impl Fn(&Image) -> Option<T>) -> Option<T> {
        let mut state = self.shared.lock();
        state.clock += 1;
        let now = state.clock;
        state.images.values_mut().find_map(|entry| {
            let found = match &*entry.made.borrow() {
                Some(Ok(image)) => look(image),
                _ => None,
            };
            found.inspect(|_| entry.used = now)
        })
    }

    /// The image of this shape, which is being made from now on if it was not before.
    fn demo(&self, shape: Shape) -> Result<watch::Receiver<Option<Made>>, Missing> {
        let mut state = self.shared.lock();
        state.clock += 1;
        let now = state.clock;
        if let Some(entry) = state.images.get_mut(&shape) {
            entry.used = now;
            return Ok(entry.made.clone());
        }
        if state.waiting == WAITING {
            return Err(Missing::Busy);
        }
        if !state.make_room(shape) {
            return Err(Missing::Busy);
        }
        let (sender, made) = watch::channel(None);
        let shared = Arc::clone(&self.shared);
        thread::Builder::new()
            .name("hub-demo".to_owned())
            .spawn(move || shared.make(shape, &sender))
            .map_err(|error| Missing::Failed(format!("no thread to make it: {error}")))?;
        state.waiting += 1;
        state.images.insert(shape, Entry { used: now, made: made.clone() });
        Ok(made)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, shape: Shape, sender: &watch::Sender<Option<Made>>) {
        let stopped = || self.cancel.load(Ordering::Relaxed);
        let mut state = self.lock();
        while state.running == RUNNING && !stopped() {
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        state.running += 1;
        drop(state);

        let made = build::build(shape, &self.dir, &self.cancel).map(Arc::new);
        let made = made.map_err(|error| format!("making it in `{}`: {error}", self.dir.display()));

        let mut state = self.lock();
        state.running -= 1;
        self.turn.notify_one();
        if made.is_err() {
            // The next request tries again.
            state.images.remove(&shape);
        }
        sender.send_replace(Some(made));
    }
}

impl State {
    /// Lets go of what was not asked for longest until an image of this shape fits; `false` if it does not because of
    /// images that are still being made.
    fn make_room(&mut self, shape: Shape) -> bool {
        let bytes = |images: &HashMap<Shape, Entry>| images.keys().map(|shape| shape.most_bytes()).sum::<u64>();
        while self.images.len() >= KEPT_IMAGES || bytes(&self.images) + shape.most_bytes() > KEPT_BYTES {
            let finished = self.images.iter().filter(|(_, entry)| entry.made.borrow().is_some());
            let Some(oldest) = finished.min_by_key(|(_, entry)| entry.used).map(|(shape, _)| *shape) else {
                return false;
            };
            self.images.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(tag: &str) -> Shape {
        Shape::parse(tag).unwrap()
    }

    fn library() -> Library {
        Library::new(std::env::temp_dir())
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn asking_twice_is_waiting_for_the_same() {
        let library = library();
        let first = library.demo(shape("1x4KiB")).unwrap();
        let second = library.demo(shape("1x4KiB-gzip")).unwrap();
        assert!(first.same_channel(&second));
        assert!(!first.same_channel(&library.demo(shape("1x4KiB-zstd")).unwrap()));
    }

    #[test]
    fn what_was_not_asked_for_longest_goes() {
        let library = library();
        block_on(async {
            let first = library.manifest(DEMO, "1x1KiB").await.unwrap();
            let digest = first.digest.to_string();
            let second = library.manifest(DEMO, "1x2KiB").await.unwrap().digest.to_string();
            for size in 3..KEPT_IMAGES + 2 {
                library.manifest(DEMO, &format!("1x{size}KiB")).await.unwrap();
                // Asking for something of the first keeps it.
                assert!(library.manifest(DEMO, &digest).await.is_ok());
            }
            assert_eq!(library.shared.lock().images.len(), KEPT_IMAGES);
            assert!(matches!(library.manifest(DEMO, &second).await, Err(Missing::Reference(_))));
            assert_eq!(library.manifest(DEMO, "1x1KiB").await.unwrap().digest, first.digest);
        });
    }

    #[test]
    fn too_much_at_once_is_refused_and_stopping_ends_what_runs() {
        let library = library();
        let mut one = library.demo(shape("1x16GiB-none")).unwrap();
        // A second one of that size would exceed what is kept, and the first cannot go while it is being made.
        assert_eq!(library.demo(shape("1x16GiB-zstd")).err(), Some(Missing::Busy));
        library.stop();
        let made = block_on(async { one.wait_for(Option::is_some).await.unwrap().clone() });
        assert!(made.unwrap().unwrap_err().contains("stopped"));
        assert!(library.shared.lock().images.is_empty());
    }
}
