//! From a question over a range of time to all traces that answer it. Query APIs give the newest so many and have no
//! cursor: while an answer is full its range is cut in two. The newest come first, and what was handed over before is
//! known by its id.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};

use super::http::HttpError;
use super::jaeger::Jaeger;
use super::query_client::{Access, MAX_RESPONSE_BYTES};
use super::query_error::QueryError;
use super::tempo::Tempo;
use crate::names::attr;
use crate::record::model::{Attributes, Span, Trace, TraceId, Value};

/// So many traces are asked for at once.
const PAGE: usize = 64;

/// So many at most, where a moment has more than [`PAGE`].
const MAX_PAGE: usize = 4096;

/// So many are found at most: their ids are kept in memory.
const MAX_FOUND: usize = 1_000_000;

/// How far a trace's time may lie outside of the range asked for, ns: back ends keep microseconds or milliseconds.
const SLACK: u64 = 1_000_000;

/// What query APIs call the status of a span.
const ERROR: &str = "error";

/// What a span has to be like for its trace to be wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `service.name`; `None` for all.
    pub service: Option<String>,
    /// Name of the span.
    pub operation: Option<String>,
    /// Attributes of the span, of its resource or its scope, as text; all of them.
    pub tags: Vec<(String, String)>,
}

/// Which traces are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// With a span like this.
    pub of: Selector,
    /// When one of these spans begins, ns since the Unix epoch, both included.
    pub time: TimeRange,
    /// The newest so many.
    pub limit: Option<usize>,
}

/// From when to when, ns since the Unix epoch, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first moment.
    pub from: u64,
    /// The last moment.
    pub to: u64,
}

impl Selector {
    /// Whether a trace has a span as asked for. Not every API can be asked about everything.
    pub fn matches(&self, trace: &Trace) -> bool {
        trace.spans.iter().any(|span| self.matches_span(trace, span))
    }

    fn matches_span(&self, trace: &Trace, span: &Span) -> bool {
        let none = Attributes::new();
        let origin = trace.origin(span);
        let resource = origin.map_or(&none, |o| &o.resource);
        let scope = origin.map_or(&none, |o| &o.scope.attributes);
        let is = |key: &str, wanted: &str| {
            let places =
                [&span.attributes, resource, scope].into_iter().chain(span.events.iter().map(|e| &e.attributes));
            places.into_iter().filter_map(|a| a.get(key)).any(|v| text(v) == wanted)
        };
        self.service.as_ref().is_none_or(|s| resource.str(attr::SERVICE_NAME) == Some(s))
            && self.operation.as_ref().is_none_or(|o| span.name == o.as_str())
            && self.tags.iter().all(|(k, v)| is(k, v) || (k == ERROR && *v == span.status.is_error().to_string()))
    }
}

/// A value as it is written in a query.
fn text(value: &Value) -> String {
    match value {
        Value::Str(v) => v.clone(),
        Value::Int(v) => v.to_string(),
        Value::Double(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        other => format!("{other:?}"),
    }
}

/// A tracing back end with a query API.
#[derive(Debug)]
pub enum Backend {
    /// Jaeger.
    Jaeger(Jaeger),
    /// Grafana Tempo.
    Tempo(Tempo),
}

/// What a back end found in a range of time.
#[derive(Debug, Default)]
pub struct Page {
    /// Each trace, and when it began as far as the range goes, ns since the Unix epoch; `None` if it lies outside.
    pub found: Vec<(TraceId, Option<u64>)>,
    /// The traces, where the API gives them whole.
    pub traces: Vec<Trace>,
}

impl Backend {
    /// Jaeger's query service at an address.
    pub fn jaeger(access: &Access) -> Result<Self, QueryError> {
        Ok(Backend::Jaeger(Jaeger::new(access)?))
    }

    /// Tempo at an address.
    pub fn tempo(access: &Access) -> Result<Self, QueryError> {
        Ok(Backend::Tempo(Tempo::new(access)?))
    }

    /// `name:port`.
    pub fn host(&self) -> &str {
        match self {
            Backend::Jaeger(j) => j.host(),
            Backend::Tempo(t) => t.host(),
        }
    }

    /// What the user should know about what was read, in sentences without a full stop.
    pub fn remarks(&self) -> Vec<String> {
        let host = self.host();
        let (limits, skipped) = match self {
            Backend::Jaeger(j) => {
                let old = format!("`{host}` has no API v3; its older API gives times in whole microseconds");
                (j.is_old().then_some(old), j.skipped())
            }
            Backend::Tempo(t) => {
                let partial =
                    format!("`{host}` returned {} of the traces only in part because of their size", t.partial);
                ((t.partial > 0).then_some(partial), t.skipped())
            }
        };
        let skipped = match (skipped.count, &skipped.why) {
            (0, _) => None,
            (1, why) => Some(format!("one span from `{host}` could not be read and was left out ({why})")),
            (n, why) => Some(format!("{n} spans from `{host}` could not be read and were left out (the first: {why})")),
        };
        limits.into_iter().chain(skipped).collect()
    }

    /// The smallest step of time that the API can speak of, ns.
    fn grain(&self) -> u64 {
        match self {
            Backend::Jaeger(_) => 1_000,
            Backend::Tempo(_) => 1_000_000_000,
        }
    }

    async fn page(&mut self, query: &Query, time: TimeRange, limit: usize) -> Result<Page, QueryError> {
        match self {
            Backend::Jaeger(j) => j.page(query, time, limit).await,
            Backend::Tempo(t) => t.page(query, time, limit).await,
        }
    }

    /// The trace with this id.
    pub async fn trace(&mut self, id: TraceId) -> Result<Trace, QueryError> {
        match self {
            Backend::Jaeger(j) => j.trace(id).await,
            Backend::Tempo(t) => t.trace(id).await,
        }
    }
}

/// When the part of a trace that lies in a range begins.
pub fn start_within(trace: &Trace, time: TimeRange) -> Option<u64> {
    let inside = |t: &u64| (time.from.saturating_sub(SLACK)..=time.to.saturating_add(SLACK)).contains(t);
    trace.spans.iter().map(|s| s.start).filter(inside).min()
}

/// All traces of a query, page by page, the newest range of time first.
#[derive(Debug)]
pub struct Search<'a> {
    backend: &'a mut Backend,
    query: Query,
    /// Ranges still to ask for; the newest is last.
    todo: Vec<TimeRange>,
    seen: HashSet<TraceId>,
    /// Found, but still to fetch one by one.
    waiting: VecDeque<TraceId>,
    /// Done once nothing is waiting any more.
    finishing: Option<TimeRange>,
    page: usize,
    /// As much as `page` may grow to.
    max_page: usize,
    /// How long a range may be, ns, so that its answer will not be full; unknown at first.
    width: Option<u64>,
    matched: usize,
}

/// What one question brought.
#[derive(Debug, Default)]
pub struct Step {
    /// Traces not handed over before.
    pub traces: Vec<Trace>,
    /// Ids that were found and known already.
    pub known: usize,
    /// From here on everything up to the end of the query's time has been handed over, ns since the Unix epoch.
    pub done_from: Option<u64>,
}

impl<'a> Search<'a> {
    /// Begins with the newest range. `ranges` are those of the query's time that are to be asked for, the newest last.
    pub fn new(backend: &'a mut Backend, query: Query, ranges: Vec<TimeRange>) -> Self {
        let todo = ranges.into_iter().filter(|s| s.from <= s.to).collect();
        Search {
            backend,
            query,
            todo,
            seen: HashSet::new(),
            waiting: VecDeque::new(),
            finishing: None,
            page: PAGE,
            max_page: MAX_PAGE,
            width: None,
            matched: 0,
        }
    }

    /// The next traces; `None` at the end. Of a trace that `known` has nothing is fetched where the API allows that.
    pub async fn next(&mut self, known: &dyn Fn(TraceId) -> bool) -> Result<Option<Step>, QueryError> {
        let left = self.query.limit.map_or(usize::MAX, |l| l.saturating_sub(self.matched));
        if left == 0 {
            return Ok(None);
        }
        if let Some(id) = self.waiting.pop_front() {
            return self.fetch(id).await.map(Some);
        }
        let Some(time) = self.next_range() else { return Ok(None) };
        let Some(mut page) = self.ask(time).await? else { return Ok(Some(Step::default())) };
        if !self.plan(time, &page)? && self.query.limit.is_some() {
            // Which are the newest is known only of a range that was answered whole.
            return Ok(Some(Step::default()));
        }
        page.traces.sort_by_cached_key(|t| Reverse(t.spans.iter().map(|s| s.start).max()));
        page.found.sort_by_key(|(_, start)| Reverse(*start));
        let mut step = Step::default();
        for trace in page.traces {
            if self.matched < self.query.limit.unwrap_or(usize::MAX)
                && self.seen.insert(trace.id)
                && self.query.of.matches(&trace)
            {
                self.matched += 1;
                step.traces.push(trace);
            }
        }
        for (id, _) in page.found {
            if self.seen.insert(id) {
                if known(id) {
                    step.known += 1;
                    self.matched += 1;
                } else {
                    self.waiting.push_back(id);
                }
            }
        }
        if self.seen.len() > MAX_FOUND {
            return Err(QueryError::TooMany { host: self.backend.host().to_owned(), limit: MAX_FOUND });
        }
        step.done_from = self.finished();
        Ok(Some(step))
    }

    async fn fetch(&mut self, id: TraceId) -> Result<Step, QueryError> {
        let mut step = Step::default();
        match self.backend.trace(id).await {
            // Gone since it was found: the back end forgets, too.
            Err(QueryError::NotThere { .. }) => {}
            Err(e) => return Err(e),
            Ok(trace) if self.query.of.matches(&trace) => {
                self.matched += 1;
                step.traces.push(trace);
            }
            Ok(_) => {}
        }
        step.done_from = self.finished();
        Ok(step)
    }

    fn finished(&mut self) -> Option<u64> {
        if self.waiting.is_empty() { self.finishing.take().map(|s| s.from) } else { None }
    }

    /// Asks; `None` if it has to be asked for less at once.
    async fn ask(&mut self, time: TimeRange) -> Result<Option<Page>, QueryError> {
        match self.backend.page(&self.query, time, self.page).await {
            Ok(page) => Ok(Some(page)),
            Err(QueryError::Http(HttpError::TooLarge { host, .. })) if self.page == 1 => {
                Err(QueryError::TraceTooLarge { host, limit: MAX_RESPONSE_BYTES })
            }
            Err(QueryError::Http(HttpError::TooLarge { .. })) => {
                self.page = self.page.div_ceil(4);
                self.max_page = self.page;
                self.todo.push(time);
                Ok(None)
            }
            Err(QueryError::TooLong { host }) => {
                let half = aligned(time.from + (time.to - time.from) / 2 + 1, self.backend.grain());
                if half <= time.from || half > time.to {
                    return Err(QueryError::TooLong { host });
                }
                self.todo.push(TimeRange { from: time.from, to: half - 1 });
                self.todo.push(TimeRange { from: half, to: time.to });
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// The newest part of what is still to be asked for, of a length whose answer should be three quarters full.
    fn next_range(&mut self) -> Option<TimeRange> {
        let TimeRange { from, to } = self.todo.pop()?;
        let begin = self.width.and_then(|w| to.checked_sub(w)).map_or(from, |t| aligned(t, self.backend.grain()));
        if begin <= from {
            return Some(TimeRange { from, to });
        }
        self.todo.push(TimeRange { from, to: begin - 1 });
        Some(TimeRange { from: begin, to })
    }

    /// What is still to be asked about a range; true if that is nothing.
    fn plan(&mut self, time: TimeRange, page: &Page) -> Result<bool, QueryError> {
        let found = page.found.len();
        if found < self.page {
            self.finishing = Some(time);
            // Where little is found the steps grow fast, so that days of nothing cost little.
            let [wanted, found] = [self.page * 3 / 4, found.max(1)].map(|n| n as u64);
            let (up, down) = if found * 4 < wanted { (4, 1) } else { (wanted.max(1), found) };
            self.width = self.width.map(|w| w.max(1000).saturating_mul(up) / down);
            return Ok(true);
        }
        let mut starts: Vec<u64> = page.found.iter().filter_map(|(_, start)| *start).collect();
        if starts.is_empty() {
            return Err(QueryError::Outside { host: self.backend.host().to_owned() });
        }
        let grain = self.backend.grain();
        let Some(cut) = cut(time, &mut starts, grain) else {
            if self.page >= self.max_page {
                return Err(QueryError::Crowded { host: self.backend.host().to_owned(), limit: self.page });
            }
            self.page = (self.page * 4).min(self.max_page);
            self.todo.push(time);
            return Ok(false);
        };
        self.width = Some(time.to - cut);
        self.todo.push(TimeRange { from: time.from, to: cut - 1 });
        self.todo.push(TimeRange { from: cut, to: time.to });
        Ok(false)
    }
}

/// The last whole step of the API's time before or at `t`.
fn aligned(t: u64, grain: u64) -> u64 {
    t / grain * grain
}

/// Where to cut a range: so that three quarters of what was found lie in the later part, whatever the back end's order;
/// that part then is not full if these were the newest. `None` if it is too short to be cut.
fn cut(time: TimeRange, starts: &mut [u64], grain: u64) -> Option<u64> {
    starts.sort_unstable();
    let inside = |t: &u64| *t > time.from && *t <= time.to;
    let quarter = Some(aligned(starts[starts.len() / 4], grain)).filter(inside);
    quarter.or_else(|| Some(aligned(time.from + (time.to - time.from) / 2 + 1, grain)).filter(inside))
}
