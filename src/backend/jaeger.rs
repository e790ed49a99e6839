//! Jaeger's query service: API v3, which speaks OTLP JSON, and where that is missing the older one of its user interface.

use std::path::Path;

use super::ask::{Access, Answer, Asker};
use super::find::{Page, Query, Stretch, begin};
use super::http::HttpError;
use super::query_error::QueryError;
use super::time::rfc3339;
use crate::record::collect::Collect;
use crate::record::file::{self, FileError};
use crate::record::model::{Trace, TraceId};

const V3: &str = "/api/v3/traces";
const OLD: &str = "/api/traces";

/// A query service.
#[derive(Debug)]
pub struct Jaeger {
    asker: Asker,
}

impl Jaeger {
    /// Nothing is asked yet.
    pub fn new(access: &Access) -> Result<Self, QueryError> {
        Ok(Jaeger { asker: Asker::new(access)? })
    }

    /// `name:port`.
    pub fn host(&self) -> &str {
        &self.asker.host
    }

    /// At most `limit` traces that have a matching span in this time.
    pub async fn page(&mut self, query: &Query, time: Stretch, limit: usize) -> Result<Page, QueryError> {
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
            let tags: serde_json::Map<_, _> =
                query.of.tags.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
            ask.push(("query.attributes", serde_json::Value::Object(tags).to_string()));
        }
        let answer = self.asker.get(&["api", "v3", "traces"], &ask, "application/json").await?;
        let traces = self.traces(&answer)?;
        Ok(Page { found: traces.iter().map(|t| (t.id, begin(t, time))).collect(), traces })
    }

    /// The trace with this id.
    pub async fn trace(&mut self, id: TraceId) -> Result<Trace, QueryError> {
        let ask = [("raw_traces", "true".to_owned()), ("rawTraces", "true".to_owned())];
        let answer = self.asker.get(&["api", "v3", "traces", &id.to_string()], &ask, "application/json").await?;
        let found = self.traces(&answer)?.into_iter().find(|t| t.id == id);
        found.ok_or_else(|| QueryError::NotThere { host: self.asker.host.clone(), id })
    }

    fn traces(&self, answer: &Answer) -> Result<Vec<Trace>, QueryError> {
        match answer.status {
            200..300 if answer.is_object() => {}
            // That is how it says that there are none.
            404 if answer.is_object() => return Ok(Vec::new()),
            200..300 | 404 => {
                let tried = vec![V3, OLD];
                return Err(QueryError::NoApi { host: self.asker.host.clone(), what: "Jaeger", tried });
            }
            _ => return Err(self.asker.refused(answer)),
        }
        self.otlp(answer)
    }

    /// One JSON value or several, one after the other.
    fn otlp(&self, answer: &Answer) -> Result<Vec<Trace>, QueryError> {
        if answer.is_crowded() {
            return Err(HttpError::TooLarge { host: self.asker.host.clone(), limit: answer.body.len() }.into());
        }
        let mut collect = Collect::new();
        file::collect(&answer.body, Path::new(""), &mut collect).map_err(|e| self.asker.unusable(answer, words(&e)))?;
        Ok(collect.finish())
    }
}

/// What is wrong with an answer that should be OTLP JSON.
pub(super) fn words(error: &FileError) -> String {
    match error {
        FileError::Truncated { .. } => "it ends in the middle".into(),
        FileError::NotJson { reason, .. } => format!("expected JSON, got something else ({reason})"),
        FileError::NotOtlp { reason, .. } => format!("expected OTLP JSON: {reason}"),
        FileError::Empty { .. } => "it is empty".into(),
        other => other.to_string(),
    }
}
