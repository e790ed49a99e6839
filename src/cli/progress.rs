//! The lines that `docker run` and `docker pull` print while pulling, letter for letter, with live bars on a terminal.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{print, say};
use crate::engine::events::{Event, LayerState, Observer};
use crate::layer::Progress;

/// Shows the pull.
pub struct PullLines {
    /// `docker pull` prints to stdout, `docker run` to stderr.
    to_stdout: bool,
    quiet: bool,
    live: bool,
    layers: Mutex<Vec<Layer>>,
    bars: Mutex<Option<Bars>>,
}

struct Layer {
    id: String,
    size: u64,
    started: bool,
}

impl PullLines {
    /// For `trace run`.
    pub fn for_run(quiet: bool) -> Self {
        Self::new(false, quiet, std::io::stderr().is_terminal())
    }

    /// For `trace pull`.
    pub fn for_pull(quiet: bool) -> Self {
        Self::new(true, quiet, std::io::stdout().is_terminal())
    }

    fn new(to_stdout: bool, quiet: bool, live: bool) -> Self {
        PullLines { to_stdout, quiet, live, layers: Mutex::default(), bars: Mutex::default() }
    }

    fn line(&self, text: &str) {
        if self.quiet {
        } else if self.to_stdout {
            print(format!("{text}\n"));
        } else {
            say(text);
        }
    }

    fn layer(&self, index: usize, state: &LayerState) {
        if self.quiet {
            return;
        }
        if let Some(bars) = lock(&self.bars).as_ref() {
            bars.set(index, state);
            return;
        }
        let mut layers = lock(&self.layers);
        let Some(layer) = layers.get_mut(index) else { return };
        let id = layer.id.clone();
        let say = |what: &str| self.line(&format!("{id}: {what}"));
        if !layer.started && !matches!(state, LayerState::Exists) {
            layer.started = true;
            say("Pulling fs layer");
        }
        match state {
            LayerState::Exists => say("Already exists"),
            LayerState::Queued => say("Waiting"),
            LayerState::Downloading(_) => {}
            LayerState::Retrying(pause) => say(&retrying(*pause)),
            LayerState::Downloaded => {
                say("Verifying Checksum");
                say("Download complete");
            }
            LayerState::Complete => say("Pull complete"),
        }
    }
}

/// docker's words, in whole seconds.
fn retrying(pause: Duration) -> String {
    let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
    format!("Retrying in {seconds} second{}", if seconds == 1 { "" } else { "s" })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observer for PullLines {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::NotFoundLocally { image } => self.line(&format!("Unable to find image '{image}' locally")),
            Event::HubFallback { reason } => {
                say(&format!("Docker Hub cannot be reached, so the image comes from the built-in hub: {reason}"));
            }
            Event::Pulling { label, repository, layers } => {
                self.line(&format!("{label}: Pulling from {repository}"));
                *lock(&self.layers) =
                    layers.iter().map(|(id, size)| Layer { id: id.clone(), size: *size, started: false }).collect();
                if self.live && !self.quiet && !layers.is_empty() {
                    *lock(&self.bars) = Some(Bars::start(&lock(&self.layers), self.to_stdout));
                }
            }
            Event::Layer { index, state } => self.layer(index, &state),
            Event::Pulled { digest, image, newer } => {
                self.stop();
                self.line(&format!("Digest: {digest}"));
                let status = if newer { "Downloaded newer image for" } else { "Image is up to date for" };
                self.line(&format!("Status: {status} {image}"));
            }
            Event::Note(text) => {
                self.stop();
                say(&format!("Note: {text}"));
            }
        }
    }
}

impl PullLines {
    /// Ends the bars, leaving their last state on the screen.
    pub fn stop(&self) {
        drop(lock(&self.bars).take());
    }
}

/// One bar a layer, drawn by a thread that polls.
struct Bars {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    over: AtomicBool,
    bars: Vec<ProgressBar>,
    running: Mutex<Vec<Option<Running>>>,
}

/// A layer whose numbers move.
struct Running {
    progress: Arc<Progress>,
    downloaded: bool,
    /// Where it waits for its next try.
    stopped_at: Option<u64>,
}

impl Bars {
    fn start(layers: &[Layer], to_stdout: bool) -> Self {
        let target = if to_stdout { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::stderr() };
        let all = MultiProgress::with_draw_target(target);
        let bars = layers.iter().map(|layer| {
            let bar = all.add(ProgressBar::new(layer.size));
            bar.set_style(plain());
            bar.set_prefix(layer.id.clone());
            bar.set_message("Pulling fs layer");
            bar
        });
        let shared = Arc::new(Shared {
            over: AtomicBool::new(false),
            bars: bars.collect(),
            running: Mutex::new(layers.iter().map(|_| None).collect()),
        });
        let drawn = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("bars".into()).spawn(move || {
            while !drawn.over.load(Ordering::Acquire) {
                drawn.draw();
                std::thread::park_timeout(Duration::from_millis(80));
            }
        });
        Bars { shared, thread: thread.ok() }
    }

    fn set(&self, index: usize, state: &LayerState) {
        let Some(bar) = self.shared.bars.get(index) else { return };
        let mut running = lock(&self.shared.running);
        match state {
            LayerState::Downloading(progress) => {
                bar.set_style(moving());
                bar.set_message("Downloading");
                running[index] = Some(Running { progress: Arc::clone(progress), downloaded: false, stopped_at: None });
            }
            LayerState::Retrying(pause) => {
                bar.set_message(retrying(*pause));
                if let Some(running) = &mut running[index] {
                    running.stopped_at = Some(running.progress.downloaded.load(Ordering::Relaxed));
                }
            }
            LayerState::Downloaded => {
                bar.set_style(unpacking());
                bar.set_message("Extracting");
                if let Some(running) = &mut running[index] {
                    running.downloaded = true;
                }
            }
            LayerState::Queued => bar.set_message("Waiting"),
            LayerState::Exists | LayerState::Complete => {
                running[index] = None;
                bar.set_style(plain());
                bar.finish_with_message(match state {
                    LayerState::Exists => "Already exists",
                    _ => "Pull complete",
                });
            }
        }
    }
}

impl Shared {
    fn draw(&self) {
        for (bar, running) in self.bars.iter().zip(lock(&self.running).iter_mut()) {
            if let Some(Running { progress, downloaded, stopped_at }) = running {
                if stopped_at.is_some_and(|at| progress.downloaded.load(Ordering::Relaxed) > at) {
                    *stopped_at = None;
                    bar.set_message("Downloading");
                }
                if *downloaded {
                    bar.set_position(progress.extracted.load(Ordering::Relaxed));
                } else {
                    bar.set_position(progress.downloaded.load(Ordering::Relaxed));
                }
            }
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        self.shared.bars.iter().filter(|b| !b.is_finished()).for_each(ProgressBar::abandon);
    }
}

fn plain() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg}").expect("a constant")
}

fn unpacking() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg:11} {decimal_bytes}").expect("a constant")
}

fn moving() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg:11} [{bar:40}] {decimal_bytes}/{decimal_total_bytes}")
        .expect("a constant")
        .progress_chars("=> ")
}
