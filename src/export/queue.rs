//! Many traces to one address: in batches, some of them under way at once, each trace by one process at a time. Memory
//! holds the batches under way and nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::batches::{Claimed, Delivered, deliver_batch};
use super::{ExportError, ExportOptions, ExportSummary, Item, Observer, marks};
use crate::backend::http;
use crate::backend::send::{Delivery, Sender};
use crate::record::file;
use crate::record::model::TraceId;
use crate::store::pending::{PendingExport, PendingGuard, PendingLock};
use crate::store::sent::SentLog;
use crate::store::{Store, StoreError};

/// So many batches are under way at once.
const PARALLEL: usize = 4;

/// A batch is closed when its files have so many bytes, or it has so many traces.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_TRACES: usize = 64;

struct Exporter<'a> {
    store: Option<&'a Store>,
    options: ExportOptions,
    items: VecDeque<Item>,
    sent_log: Option<SentLog>,
    summary: ExportSummary,
    /// After this nothing more is begun.
    deadline: Option<tokio::time::Instant>,
    /// The address cannot be reached, or time is up.
    stopped: bool,
    observer: &'a dyn Observer,
}

/// Sends `items` in their order. The marks of recorded runs are held meanwhile and removed with the last answer.
pub fn export(
    store: Option<&Store>,
    options: ExportOptions,
    items: Vec<Item>,
    observer: &dyn Observer,
) -> Result<ExportSummary, ExportError> {
    let started = Instant::now();
    let summary = ExportSummary { host: options.target.host(), ..ExportSummary::default() };
    let sent_log = match store.filter(|_| options.once) {
        Some(store) => match store.sent_log(&options.target.shown())? {
            Some(log) => Some(log),
            None => return Err(ExportError::Busy(options.target.host())),
        },
        None => None,
    };
    observer.started(items.len());
    let mut exporter =
        Exporter { store, options, items: items.into(), sent_log, summary, deadline: None, stopped: false, observer };
    // Each delivery has its own timeout; this is only for the case that one of them does not keep it.
    let timeout = exporter.options.timeout.unwrap_or(Duration::from_secs(86_400));
    let completion = http::run_with_deadline(timeout + Duration::from_millis(200), &mut || false, exporter.run());
    observer.finished();
    if let http::Completion::Done(done) = completion? {
        done?;
    }
    exporter.summary.took = started.elapsed();
    Ok(exporter.summary)
}

impl Exporter<'_> {
    async fn run(&mut self) -> Result<(), StoreError> {
        let sender = Arc::new(Sender::new(self.options.target.clone()));
        self.deadline = self.options.timeout.map(|b| tokio::time::Instant::now() + b.mul_f64(0.95));
        let mut under_way: JoinSet<Delivered> = JoinSet::new();
        loop {
            while under_way.len() < PARALLEL && !self.stopped {
                if self.deadline.is_some_and(|t| tokio::time::Instant::now() >= t) {
                    self.stop("the time for it is up".into());
                    break;
                }
                let claims = self.claim()?;
                if claims.is_empty() {
                    break;
                }
                let deadline = self.deadline;
                let (sender, target) = (Arc::clone(&sender), self.options.target.clone());
                under_way.spawn(async move { deliver_batch(&sender, &target, claims, deadline).await });
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
        if self.summary.first_failure.is_empty() {
            self.summary.first_failure = why;
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
        let hold = if self.options.only_marked {
            store.lock_pending(id)?
        } else {
            store.mark_pending(id, marks::new(&self.options.target))?
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
        // Whoever sends notes it before the mark goes: with the mark in hand this is the last word. Where there was a
        // mark, a part of the trace is not there yet.
        if let Some(log) = &mut self.sent_log
            && held.is_new()
            && log.has(id)?
        {
            self.summary.already_sent += 1;
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
                if self.summary.unreadable == 0 {
                    self.summary.first_unreadable = why;
                }
                self.summary.unreadable += 1;
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
            self.observer.settled();
            match result {
                Ok(sent) => {
                    self.summary.traces += 1;
                    self.summary.report.spans += sent.spans;
                    self.summary.report.rejected += sent.rejected;
                    if !sent.message.is_empty() {
                        self.summary.report.message = sent.message;
                    }
                    if let Some(held) = held {
                        self.summary.perhaps_twice += usize::from(held.mark().perhaps_delivered);
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
            match (&mut self.sent_log, self.store) {
                (Some(log), _) => log.add(&ids)?,
                (None, Some(store)) => store.note_sent(&self.options.target.shown(), &ids)?,
                (None, None) => {}
            }
        }
        marks.into_iter().try_for_each(PendingGuard::remove)
    }

    fn failed(&mut self, why: String) {
        self.summary.failed += 1;
        if self.summary.first_failure.is_empty() {
            self.summary.first_failure = why;
        }
    }

    fn keep_or_not(&self, mut held: PendingGuard, reason: &str, perhaps: bool) -> Result<(), StoreError> {
        if held.is_new() && !self.options.keep_marks {
            return held.remove();
        }
        let mark = marks::after_failure(&held, &self.options.target, reason, perhaps);
        held.update(mark)
    }

    /// What was not begun.
    fn give_up(&mut self) -> Result<(), StoreError> {
        let why = self.summary.first_failure.clone();
        for item in std::mem::take(&mut self.items) {
            self.failed(String::new());
            if let (Item::Stored(id), Some(store), true) = (item, self.store, self.options.keep_marks) {
                let mark = PendingExport { reason: why.clone(), ..marks::new(&self.options.target) };
                store.mark_pending(id, mark)?;
            }
        }
        Ok(())
    }
}
