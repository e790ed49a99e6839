//! Many traces to one address: in batches, some of them under way at once, each trace by one process at a time. Memory holds
//! the batches under way and nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinSet;

use super::output::clean;
use super::tally::ExportSummary;
use crate::backend::batch::Batch;
use crate::backend::http::{self, HttpError};
use crate::backend::send::{self, Delivery, DeliveryReport, SendError, Sender};
use crate::backend::settings::Target;
use crate::error::Failure;
use crate::record::file;
use crate::record::model::{Trace, TraceId};
use crate::store::containers::now;
use crate::store::pending::{PendingExport, PendingGuard, PendingLock};
use crate::store::sent::SentLog;
use crate::store::{Store, StoreError};

/// So many batches are under way at once.
const PARALLEL: usize = 4;

/// A batch is closed when its files have so many bytes, or it has so many traces.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_TRACES: usize = 64;

/// What is to be sent.
#[derive(Debug)]
pub enum Item {
    /// A recorded run.
    Stored(TraceId),
    /// From elsewhere.
    Given(Box<Trace>),
}

impl Item {
    /// Which trace it is.
    pub fn id(&self) -> TraceId {
        match self {
            Item::Stored(id) => *id,
            Item::Given(trace) => trace.id,
        }
    }
}

/// How.
pub struct ExportOptions {
    /// Where to.
    pub target: Target,
    /// For all together; else each batch has its own.
    pub bound: Option<Duration>,
    /// Whether what cannot be sent is marked as pending.
    pub keep_marks: bool,
    /// Whether only what is marked as pending is sent.
    pub only_marked: bool,
    /// Whether what this address has had is left out.
    pub once: bool,
}

/// What a mark says after a failure. Where the run should have gone first stays: another address was only a try.
pub fn after_failure(held: &PendingGuard, target: &Target, reason: &str, perhaps: bool) -> PendingExport {
    let before = &held.mark().url;
    PendingExport {
        url: if held.is_new() || before.is_empty() { target.shown() } else { before.clone() },
        reason: clean(reason),
        at: now(),
        tries: held.mark().tries + 1,
        perhaps_delivered: held.mark().perhaps_delivered || perhaps,
    }
}

/// A trace under way, with its mark if it is a recorded one.
struct Claimed {
    trace: Trace,
    held: Option<PendingGuard>,
}

type Delivered = Vec<(Claimed, Result<DeliveryReport, SendError>)>;

struct Exporter<'a> {
    store: Option<&'a Store>,
    order: ExportOptions,
    items: VecDeque<Item>,
    had: Option<SentLog>,
    summary: ExportSummary,
    /// After this nothing more is begun.
    until: Option<tokio::time::Instant>,
    /// The address cannot be reached, or time is up.
    stopped: bool,
    progress: ProgressBar,
}

/// Sends `items` in their order; marks of recorded runs are held meanwhile, and taken away with the last answer.
pub fn deliver(
    store: Option<&Store>,
    order: ExportOptions,
    items: Vec<Item>,
) -> Result<ExportSummary, Box<dyn Failure>> {
    let begun = Instant::now();
    let summary = ExportSummary { host: order.target.host(), ..ExportSummary::default() };
    let had = match store.filter(|_| order.once) {
        Some(store) => match store.sent_log(&order.target.shown())? {
            Some(had) => Some(had),
            None => return Err(Another(order.target.host()).into()),
        },
        None => None,
    };
    let progress = ProgressBar::with_draw_target(Some(items.len() as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("exporting [{bar:30}] {pos}/{len}") {
        progress.set_style(style.progress_chars("=> "));
    }
    let mut exporter =
        Exporter { store, order, items: items.into(), had, summary, until: None, stopped: false, progress };
    // Each delivery has its own bound; this is only for the case that one of them does not keep it.
    let bound = exporter.order.bound.unwrap_or(Duration::from_secs(86_400));
    let ended = http::run_with_deadline(bound + Duration::from_millis(200), &mut || false, exporter.run())?;
    exporter.progress.finish_and_clear();
    if let http::Completion::Done(done) = ended {
        done?;
    }
    exporter.summary.took = begun.elapsed();
    Ok(exporter.summary)
}

/// Two that send everything would send it twice.
#[derive(Debug, thiserror::Error)]
#[error("another `trace export --all` is sending to `{0}` now")]
struct Another(String);

impl Failure for Another {
    fn kind(&self) -> &'static str {
        "export_busy"
    }
}

impl Exporter<'_> {
    async fn run(&mut self) -> Result<(), StoreError> {
        let sender = Arc::new(Sender::new(self.order.target.clone()));
        self.until = self.order.bound.map(|b| tokio::time::Instant::now() + b.mul_f64(0.95));
        let mut under_way: JoinSet<Delivered> = JoinSet::new();
        loop {
            while under_way.len() < PARALLEL && !self.stopped {
                if self.until.is_some_and(|t| tokio::time::Instant::now() >= t) {
                    self.stop("the time for it is up".into());
                    break;
                }
                let claims = self.claim()?;
                if claims.is_empty() {
                    break;
                }
                let until = self.until;
                let (sender, target) = (Arc::clone(&sender), self.order.target.clone());
                under_way.spawn(async move { batch_to(&sender, &target, claims, until).await });
            }
            match under_way.join_next().await {
                None => break,
                Some(Ok(delivered)) => self.settle(delivered)?,
                Some(Err(e)) => self.stop(e.to_string()),
            }
        }
        self.give_up()
    }

    fn stop(&mut self, why: String) {
        self.stopped = true;
        if self.summary.failed.1.is_empty() {
            self.summary.failed.1 = why;
        }
    }

    /// The next batch.
    fn claim(&mut self) -> Result<Vec<Claimed>, StoreError> {
        let mut claims: Vec<Claimed> = Vec::new();
        let mut bytes = 0;
        while claims.len() < BATCH_TRACES && bytes < BATCH_BYTES {
            let Some(item) = self.items.pop_front() else { break };
            match (item, self.store) {
                (Item::Given(trace), _) => {
                    bytes += trace.spans.len() as u64 * 400;
                    claims.push(Claimed { trace: *trace, held: None });
                }
                (Item::Stored(id), Some(store)) => {
                    if let Some((claim, size)) = self.claim_stored(store, id)? {
                        bytes += size;
                        claims.push(claim);
                    }
                }
                (Item::Stored(_), None) => {}
            }
        }
        Ok(claims)
    }

    fn claim_stored(&mut self, store: &Store, id: TraceId) -> Result<Option<(Claimed, u64)>, StoreError> {
        let hold = if self.order.only_marked {
            store.lock_pending(id)?
        } else {
            store.mark_pending(
                id,
                PendingExport { url: self.order.target.shown(), at: now(), ..PendingExport::default() },
            )?
        };
        let held = match hold {
            PendingLock::Acquired(held) => held,
            PendingLock::Busy => {
                self.summary.busy += 1;
                return Ok(None);
            }
            // Another process has sent it meanwhile.
            PendingLock::NotPending => return Ok(None),
        };
        // Whoever sends notes it before the mark goes: with the mark in hand this is the last word. Where there was a mark, a part
        // of the trace is not there yet.
        if let Some(had) = &mut self.had
            && held.is_new()
            && had.has(id)?
        {
            self.summary.had += 1;
            held.remove()?;
            return Ok(None);
        }
        let path = store.trace_path(id);
        let size = match std::fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                self.summary.gone += 1;
                held.remove()?;
                return Ok(None);
            }
            Err(e) => return Err(StoreError::File { action: "read", path, source: e }),
        };
        let read = file::read(&path).map_err(|e| e.to_string());
        match read.and_then(|all| {
            all.into_iter().find(|t| t.id == id).ok_or_else(|| format!("`{}` is another trace's", path.display()))
        }) {
            Ok(trace) => Ok(Some((Claimed { trace, held: Some(held) }, size))),
            Err(why) => {
                if self.summary.unreadable.0 == 0 {
                    self.summary.unreadable.1 = why;
                }
                self.summary.unreadable.0 += 1;
                if held.is_new() {
                    held.remove()?;
                }
                Ok(None)
            }
        }
    }

    /// What became of a batch.
    fn settle(&mut self, delivered: Delivered) -> Result<(), StoreError> {
        let (mut marks, mut ids) = (Vec::new(), Vec::new());
        for (Claimed { trace, held }, result) in delivered {
            self.progress.inc(1);
            match result {
                Ok(sent) => {
                    self.summary.traces += 1;
                    self.summary.sent.spans += sent.spans;
                    self.summary.sent.rejected += sent.rejected;
                    if !sent.message.is_empty() {
                        self.summary.sent.message = sent.message;
                    }
                    if let Some(held) = held {
                        self.summary.again += usize::from(held.mark().perhaps_delivered);
                        ids.push(trace.id);
                        marks.push(held);
                    }
                }
                Err(error) => {
                    self.failed(error.to_string());
                    // What one refuses another may not; who cannot be reached won't be for the next one either.
                    self.stopped |= error.delivery != Delivery::Rejected;
                    if let Some(held) = held {
                        self.keep_or_not(held, &error.to_string(), error.delivery == Delivery::Indeterminate)?;
                    }
                }
            }
        }
        if !ids.is_empty() {
            match (&mut self.had, self.store) {
                (Some(had), _) => had.add(&ids)?,
                (None, Some(store)) => store.note_sent(&self.order.target.shown(), &ids)?,
                (None, None) => {}
            }
        }
        marks.into_iter().try_for_each(PendingGuard::remove)
    }

    fn failed(&mut self, why: String) {
        self.summary.failed.0 += 1;
        if self.summary.failed.1.is_empty() {
            self.summary.failed.1 = why;
        }
    }

    fn keep_or_not(&self, mut held: PendingGuard, reason: &str, perhaps: bool) -> Result<(), StoreError> {
        if held.is_new() && !self.order.keep_marks {
            return held.remove();
        }
        let mark = after_failure(&held, &self.order.target, reason, perhaps);
        held.update(mark)
    }

    /// What was not begun.
    fn give_up(&mut self) -> Result<(), StoreError> {
        let why = self.summary.failed.1.clone();
        for item in std::mem::take(&mut self.items) {
            self.failed(String::new());
            if let (Item::Stored(id), Some(store), true) = (item, self.store, self.order.keep_marks) {
                let mark = PendingExport {
                    url: self.order.target.shown(),
                    reason: why.clone(),
                    at: now(),
                    ..PendingExport::default()
                };
                store.mark_pending(id, mark)?;
            }
        }
        Ok(())
    }
}

/// Delivers a batch; if the receiver refuses it, trace by trace, so that one bad trace does not keep the others.
async fn batch_to(
    sender: &Sender,
    target: &Target,
    claims: Vec<Claimed>,
    until: Option<tokio::time::Instant>,
) -> Delivered {
    let each = target.timeout.unwrap_or(send::EXPORT_TIMEOUT);
    let batch = |claims: &[&Claimed]| -> Batch {
        let traces: Vec<&Trace> = claims.iter().map(|c| &c.trace).collect();
        Batch::of(&traces, target.protocol)
    };
    let all: Vec<&Claimed> = claims.iter().collect();
    let result = sender.deliver(&batch(&all), each, until).await;
    match result {
        Err(error) if error.delivery == Delivery::Rejected && claims.len() > 1 => {
            let mut done = Vec::new();
            for claim in claims {
                let result = sender.deliver(&batch(&[&claim]), each, until).await;
                done.push((claim, result));
            }
            done
        }
        Ok(sent) => {
            let mut first = Some(DeliveryReport { spans: 0, ..sent });
            let each = claims.into_iter().map(|claim| {
                let spans = claim.trace.spans.len();
                let said = first.take().unwrap_or_default();
                (claim, Ok(DeliveryReport { spans, ..said }))
            });
            each.collect()
        }
        Err(error) => {
            let delivery = error.delivery;
            let words = error.to_string();
            let mut first = Some(error);
            let each = claims.into_iter().map(|claim| {
                let error =
                    first.take().unwrap_or_else(|| SendError::same(HttpError::Repeated(words.clone()), delivery));
                (claim, Err(error))
            });
            each.collect()
        }
    }
}
