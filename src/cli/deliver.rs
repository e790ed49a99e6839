//! Many traces to one address: in batches, some of them under way at once, each trace by one process at a time. Memory holds
//! the batches under way and nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinSet;

use super::output::clean;
use super::tally::Tally;
use crate::backend::batch::{self, Parcel};
use crate::backend::http::{self, HttpError};
use crate::backend::send::{self, Fate, SendError, Sender, Sent};
use crate::backend::settings::Target;
use crate::error::Failure;
use crate::record::file;
use crate::record::model::{Trace, TraceId};
use crate::store::containers::now;
use crate::store::pending::{Held, Hold, Mark};
use crate::store::sent::Sent as Had;
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
pub struct Order {
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
pub fn after_failure(held: &Held, target: &Target, reason: &str, perhaps: bool) -> Mark {
    let before = &held.mark().url;
    Mark {
        url: if held.is_fresh() || before.is_empty() { target.shown() } else { before.clone() },
        reason: clean(reason),
        at: now(),
        tries: held.mark().tries + 1,
        perhaps_delivered: held.mark().perhaps_delivered || perhaps,
    }
}

/// A trace under way, with its mark if it is a recorded one.
struct Claimed {
    trace: Trace,
    held: Option<Held>,
}

type Delivered = Vec<(Claimed, Result<Sent, SendError>)>;

struct Delivery<'a> {
    store: Option<&'a Store>,
    order: Order,
    items: VecDeque<Item>,
    had: Option<Had>,
    tally: Tally,
    /// After this nothing more is begun.
    until: Option<tokio::time::Instant>,
    /// The address cannot be reached, or time is up.
    stopped: bool,
    progress: ProgressBar,
}

/// Sends `items` in their order; marks of recorded runs are held meanwhile, and taken away with the last answer.
pub fn deliver(store: Option<&Store>, order: Order, items: Vec<Item>) -> Result<Tally, Box<dyn Failure>> {
    let begun = Instant::now();
    let tally = Tally { host: order.target.host(), ..Tally::default() };
    let had = match store.filter(|_| order.once) {
        Some(store) => match store.sent(&order.target.shown())? {
            Some(had) => Some(had),
            None => return Err(Another(order.target.host()).into()),
        },
        None => None,
    };
    let progress = ProgressBar::with_draw_target(Some(items.len() as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("exporting [{bar:30}] {pos}/{len}") {
        progress.set_style(style.progress_chars("=> "));
    }
    let mut delivery =
        Delivery { store, order, items: items.into(), had, tally, until: None, stopped: false, progress };
    // Each delivery has its own bound; this is only for the case that one of them does not keep it.
    let bound = delivery.order.bound.unwrap_or(Duration::from_secs(86_400));
    let ended = http::within(bound + Duration::from_millis(200), &mut || false, delivery.run())?;
    delivery.progress.finish_and_clear();
    if let http::Ended::Done(done) = ended {
        done?;
    }
    delivery.tally.took = begun.elapsed();
    Ok(delivery.tally)
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

impl Delivery<'_> {
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
        if self.tally.failed.1.is_empty() {
            self.tally.failed.1 = why;
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
            store.hold_pending(id)?
        } else {
            store.mark_pending(id, Mark { url: self.order.target.shown(), at: now(), ..Mark::default() })?
        };
        let held = match hold {
            Hold::Held(held) => held,
            Hold::Busy => {
                self.tally.busy += 1;
                return Ok(None);
            }
            // Another process has sent it meanwhile.
            Hold::None => return Ok(None),
        };
        // Whoever sends notes it before the mark goes: with the mark in hand this is the last word. Where there was a mark, a part
        // of the trace is not there yet.
        if let Some(had) = &mut self.had
            && held.is_fresh()
            && had.has(id)?
        {
            self.tally.had += 1;
            held.take_away()?;
            return Ok(None);
        }
        let path = store.trace_path(id);
        let size = match std::fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                self.tally.gone += 1;
                held.take_away()?;
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
                if self.tally.unreadable.0 == 0 {
                    self.tally.unreadable.1 = why;
                }
                self.tally.unreadable.0 += 1;
                if held.is_fresh() {
                    held.take_away()?;
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
                    self.tally.traces += 1;
                    self.tally.sent.spans += sent.spans;
                    self.tally.sent.rejected += sent.rejected;
                    if !sent.message.is_empty() {
                        self.tally.sent.message = sent.message;
                    }
                    if let Some(held) = held {
                        self.tally.again += usize::from(held.mark().perhaps_delivered);
                        ids.push(trace.id);
                        marks.push(held);
                    }
                }
                Err(error) => {
                    self.failed(error.to_string());
                    // What one refuses another may not; who cannot be reached won't be for the next one either.
                    self.stopped |= error.fate != Fate::Refused;
                    if let Some(held) = held {
                        self.keep_or_not(held, &error.to_string(), error.fate == Fate::Unknown)?;
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
        marks.into_iter().try_for_each(Held::take_away)
    }

    fn failed(&mut self, why: String) {
        self.tally.failed.0 += 1;
        if self.tally.failed.1.is_empty() {
            self.tally.failed.1 = why;
        }
    }

    fn keep_or_not(&self, mut held: Held, reason: &str, perhaps: bool) -> Result<(), StoreError> {
        if held.is_fresh() && !self.order.keep_marks {
            return held.take_away();
        }
        let mark = after_failure(&held, &self.order.target, reason, perhaps);
        held.keep(mark)
    }

    /// What was not begun.
    fn give_up(&mut self) -> Result<(), StoreError> {
        let why = self.tally.failed.1.clone();
        for item in std::mem::take(&mut self.items) {
            self.failed(String::new());
            if let (Item::Stored(id), Some(store), true) = (item, self.store, self.order.keep_marks) {
                let mark = Mark { url: self.order.target.shown(), reason: why.clone(), at: now(), ..Mark::default() };
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
    let each = target.timeout.unwrap_or(send::EXPORT_BOUND);
    let parcel = |claims: &[&Claimed]| -> Parcel {
        let traces: Vec<&Trace> = claims.iter().map(|c| &c.trace).collect();
        batch::parcel(&traces, target.protocol)
    };
    let all: Vec<&Claimed> = claims.iter().collect();
    let result = sender.deliver(&parcel(&all), each, until).await;
    match result {
        Err(error) if error.fate == Fate::Refused && claims.len() > 1 => {
            let mut done = Vec::new();
            for claim in claims {
                let result = sender.deliver(&parcel(&[&claim]), each, until).await;
                done.push((claim, result));
            }
            done
        }
        Ok(sent) => {
            let mut first = Some(Sent { spans: 0, ..sent });
            let each = claims.into_iter().map(|claim| {
                let spans = claim.trace.spans.len();
                let said = first.take().unwrap_or_default();
                (claim, Ok(Sent { spans, ..said }))
            });
            each.collect()
        }
        Err(error) => {
            let fate = error.fate;
            let words = error.to_string();
            let mut first = Some(error);
            let each = claims.into_iter().map(|claim| {
                let error = first.take().unwrap_or_else(|| SendError::same(HttpError::Said(words.clone()), fate));
                (claim, Err(error))
            });
            each.collect()
        }
    }
}
