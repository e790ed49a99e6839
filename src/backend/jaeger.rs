//! Jaeger's query service: API v3, which speaks OTLP JSON, and where that is missing the older one of its user
//! interface.

use std::path::Path;

use super::find::{Page, Query, TimeRange, start_within};
use super::http::HttpError;
use super::query_client::{Access, QueryClient, QueryResponse};
use super::query_error::QueryError;
use crate::formats::jaeger;
use crate::record::collect::{Collect, Skipped};
use crate::record::file::{self, FileError};
use crate::record::model::{Trace, TraceId};
use crate::record::time::rfc3339;

/// A query service.
#[derive(Debug)]
pub struct Jaeger {
    client: QueryClient,
    /// Whether there is no API v3.
    old: bool,
}

impl Jaeger {
    /// Nothing is asked yet.
    pub fn new(access: &Access) -> Result<Self, QueryError> {
        Ok(Jaeger { client: QueryClient::new(access)?, old: false })
    }

    /// `name:port`.
    pub fn host(&self) -> &str {
        &self.client.host
    }

    /// Spans that could not be read.
    pub fn skipped(&self) -> &Skipped {
        &self.client.skipped
    }

    /// Whether it turned out to have no API v3.
    pub fn is_old(&self) -> bool {
        self.old
    }

    /// At most `limit` traces that have a matching span in this time.
    pub async fn page(&mut self, query: &Query, time: TimeRange, limit: usize) -> Result<Page, QueryError> {
        let traces = match self.find(query, time, limit).await? {
            Some(traces) => traces,
            None => self.find_old(query, time, limit).await?,
        };
        Ok(Page { found: traces.iter().map(|t| (t.id, start_within(t, time))).collect(), traces })
    }

    /// By API v3; `None` if there is none.
    async fn find(&mut self, query: &Query, time: TimeRange, limit: usize) -> Result<Option<Vec<Trace>>, QueryError> {
        if self.old {
            return Ok(None);
        }
        let mut ask: Vec<(&str, String)> = Vec::new();
        // Servers take the one spelling or the other, or both.
        let mut both = |snake: &'static str, camel: &'static str, value: String| {
            ask.push((snake, value.clone()));
            ask.push((camel, value));
        };
        if let Some(service) = &query.of.service {
            both("query.service_name", "query.serviceName", service.clone());
        }
        if let Some(operation) = &query.of.operation {
            both("query.operation_name", "query.operationName", operation.clone());
        }
        both("query.start_time_min", "query.startTimeMin", rfc3339(time.from));
        both("query.start_time_max", "query.startTimeMax", rfc3339(time.to));
        both("query.num_traces", "query.numTraces", limit.to_string());
        both("query.search_depth", "query.searchDepth", limit.to_string());
        // As they were sent, not with clocks adjusted for display.
        both("query.raw_traces", "query.rawTraces", "true".to_owned());
        if !query.of.tags.is_empty() {
            ask.push(("query.attributes", tags(query)));
        }
        let answer = self.client.get(&["api", "v3", "traces"], &ask, "application/json").await?;
        self.v3(&answer)
    }

    fn v3(&mut self, answer: &QueryResponse) -> Result<Option<Vec<Trace>>, QueryError> {
        match answer.status {
            200..300 if answer.is_object() => self.otlp(answer).map(Some),
            // That is how it says that there are none.
            404 if answer.is_object() => Ok(Some(Vec::new())),
            // An unknown path is the user interface's, a page of HTML.
            200..300 | 404 => {
                self.old = true;
                Ok(None)
            }
            400.. if too_many(answer) => Err(self.too_large(answer)),
            _ => Err(self.client.refused(answer)),
        }
    }

    /// By the older API, which knows microseconds and one service at a time.
    async fn find_old(&mut self, query: &Query, time: TimeRange, limit: usize) -> Result<Vec<Trace>, QueryError> {
        let services = match &query.of.service {
            Some(service) => vec![service.clone()],
            None => self.services().await?,
        };
        let (mut collect, mut last) = (Collect::new(), None);
        for service in services {
            let mut ask = vec![
                ("service", service),
                ("start", (time.from / 1000).to_string()),
                ("end", time.to.div_ceil(1000).to_string()),
                ("limit", limit.to_string()),
                ("raw", "true".to_owned()),
            ];
            if let Some(operation) = &query.of.operation {
                ask.push(("operation", operation.clone()));
            }
            if !query.of.tags.is_empty() {
                ask.push(("tags", tags(query)));
            }
            let answer = self.client.get(&["api", "traces"], &ask, "application/json").await?;
            self.jaeger_json(&answer, &mut collect)?;
            last = Some(answer);
        }
        last.map_or_else(|| Ok(Vec::new()), |answer| self.client.finish(&answer, collect))
    }

    async fn services(&self) -> Result<Vec<String>, QueryError> {
        #[derive(serde::Deserialize)]
        struct Services {
            data: Option<Vec<String>>,
        }
        let answer = self.client.get(&["api", "services"], &[], "application/json").await?;
        match answer.status {
            200..300 if answer.is_object() => {}
            200..300 | 404 => return Err(self.no_api()),
            _ => return Err(self.client.refused(&answer)),
        }
        let all: Services = serde_json::from_slice(&answer.body)
            .map_err(|e| self.client.unusable(&answer, format!("expected `{{\"data\":[…]}}`: {e}")))?;
        Ok(all.data.unwrap_or_default())
    }

    fn jaeger_json(&self, answer: &QueryResponse, collect: &mut Collect) -> Result<(), QueryError> {
        match answer.status {
            200..300 if answer.is_object() => {}
            404 if answer.is_object() => return Ok(()),
            200..300 | 404 => return Err(self.no_api()),
            400.. if too_many(answer) => return Err(self.too_large(answer)),
            _ => return Err(self.client.refused(answer)),
        }
        if answer.is_crowded() {
            return Err(self.too_large(answer));
        }
        jaeger::take(&answer.body, collect)
            .map_err(|why| self.client.unusable(answer, format!("expected Jaeger JSON: {why}")))
    }

    fn no_api(&self) -> QueryError {
        let tried = vec!["/api/v3/traces", "/api/traces"];
        QueryError::NoApi { host: self.client.host.clone(), what: "Jaeger", tried }
    }

    /// To be asked for less.
    fn too_large(&self, answer: &QueryResponse) -> QueryError {
        HttpError::TooLarge { host: self.client.host.clone(), limit: answer.body.len() }.into()
    }

    /// The trace with this id.
    pub async fn trace(&mut self, id: TraceId) -> Result<Trace, QueryError> {
        let text = id.to_string();
        let mut found = None;
        if !self.old {
            let ask = [("raw_traces", "true".to_owned()), ("rawTraces", "true".to_owned())];
            let answer = self.client.get(&["api", "v3", "traces", &text], &ask, "application/json").await?;
            found = self.v3(&answer)?;
        }
        let traces = match found {
            Some(traces) => traces,
            None => {
                let mut collect = Collect::new();
                let ask = [("raw", "true".to_owned())];
                let answer = self.client.get(&["api", "traces", &text], &ask, "application/json").await?;
                self.jaeger_json(&answer, &mut collect)?;
                self.client.finish(&answer, collect)?
            }
        };
        let found = traces.into_iter().find(|t| t.id == id);
        found.ok_or_else(|| QueryError::NotThere { host: self.client.host.clone(), id })
    }

    /// One JSON value or several, one after the other.
    fn otlp(&mut self, answer: &QueryResponse) -> Result<Vec<Trace>, QueryError> {
        if answer.is_crowded() {
            return Err(self.too_large(answer));
        }
        let mut collect = Collect::new();
        file::collect(&answer.body, Path::new(""), &mut collect)
            .map_err(|e| self.client.unusable(answer, words(&e)))?;
        self.client.finish(answer, collect)
    }
}

/// Attributes as both APIs take them, those that do.
fn tags(query: &Query) -> String {
    let map: serde_json::Map<_, _> = query.of.tags.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
    serde_json::Value::Object(map).to_string()
}

/// A memory storage refuses to be asked for more than it can hold.
fn too_many(answer: &QueryResponse) -> bool {
    String::from_utf8_lossy(&answer.body[..answer.body.len().min(1000)]).contains("search depth")
}

/// What is wrong with an answer that should be OTLP JSON.
pub(super) fn words(error: &FileError) -> String {
    match error {
        FileError::Truncated { .. } => "it ends in the middle".into(),
        FileError::NotJson { reason, .. } => format!("expected JSON, got something else ({reason})"),
        FileError::NotOtlp { reason, .. } => format!("expected OTLP JSON: {reason}"),
        FileError::Empty { .. } => "it is empty".into(),
        FileError::Crowded { .. } => "it has so much in it for its size that it is no trace".into(),
        other => other.to_string(),
    }
}
