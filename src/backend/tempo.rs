//! Grafana Tempo's HTTP API: a search that gives ids, and each trace by its id.

use std::path::Path;

use prost::Message as _;
use serde::Deserialize;

use super::find::{Page, Query, Selector, TimeRange};
use super::http::HttpError;
use super::jaeger::words;
use super::query_client::{Access, MAX_RESPONSE_BYTES, QueryClient, QueryResponse};
use super::query_error::QueryError;
use crate::formats::otlp;
use crate::record::collect::{Collect, Skipped};
use crate::record::file;
use crate::record::model::{Trace, TraceId};

const SECOND: u64 = 1_000_000_000;

/// A Tempo, or what speaks like it.
#[derive(Debug)]
pub struct Tempo {
    client: QueryClient,
    /// Whether there is no second version of the API for single traces.
    old: bool,
    /// Traces that it gave in part only, because they are too large for it.
    pub partial: usize,
}

/// What stands beside a trace in the second version of the API.
#[derive(Deserialize)]
struct Outcome {
    status: Option<String>,
}

/// What a search answers.
#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    traces: Vec<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    #[serde(rename = "traceID")]
    id: String,
    #[serde(rename = "startTimeUnixNano", default)]
    start: String,
}

impl Tempo {
    /// Nothing is asked yet.
    pub fn new(access: &Access) -> Result<Self, QueryError> {
        Ok(Tempo { client: QueryClient::new(access)?, old: false, partial: 0 })
    }

    /// Spans that could not be read.
    pub fn skipped(&self) -> &Skipped {
        &self.client.skipped
    }

    /// `name:port`.
    pub fn host(&self) -> &str {
        &self.client.host
    }

    /// At most `limit` ids of traces that match in this time, which the API knows to the second.
    pub async fn page(&mut self, query: &Query, time: TimeRange, limit: usize) -> Result<Page, QueryError> {
        let ask = [
            ("q", trace_ql(&query.of)),
            ("start", (time.from / SECOND).to_string()),
            ("end", time.to.div_ceil(SECOND).max(time.from / SECOND + 1).to_string()),
            ("limit", limit.to_string()),
        ];
        let answer = self.client.get(&["api", "search"], &ask, "application/json").await?;
        match answer.status {
            200..300 if answer.is_object() => {}
            400 if too_long(&answer) => return Err(QueryError::TooLong { host: self.client.host.clone() }),
            200..300 | 404 => {
                let tried = vec!["/api/search"];
                return Err(QueryError::NoApi { host: self.client.host.clone(), what: "Tempo", tried });
            }
            _ => return Err(self.client.refused(&answer)),
        }
        if answer.is_crowded() {
            return Err(HttpError::TooLarge { host: self.client.host.clone(), limit: answer.body.len() }.into());
        }
        let found: Found = serde_json::from_slice(&answer.body).map_err(|e| {
            let why: String = e.to_string().chars().take(200).collect();
            self.client.unusable(&answer, format!("expected `{{\"traces\":[…]}}`: {why}"))
        })?;
        let mut page = Page::default();
        for Summary { id, start } in found.traces {
            // Without leading zeros.
            let trace = TraceId::from_short_hex(&id).ok_or_else(|| {
                let id: String = id.chars().take(64).flat_map(char::escape_debug).collect();
                self.client.unusable(&answer, format!("it has the trace id `{id}`: expected at most 32 hex digits"))
            })?;
            let start = start
                .parse()
                .ok()
                .filter(|s| (time.from.saturating_sub(SECOND)..=time.to.saturating_add(SECOND)).contains(s));
            page.found.push((trace, start));
        }
        Ok(page)
    }

    /// The trace with this id.
    pub async fn trace(&mut self, id: TraceId) -> Result<Trace, QueryError> {
        let text = id.to_string();
        if !self.old {
            let answer = self.client.get(&["api", "v2", "traces", &text], &[], "application/protobuf").await?;
            // Without a second version of the API that is the answer, too.
            if answer.status != 404 {
                return self.read(&answer, id, true);
            }
        }
        let answer = self.client.get(&["api", "traces", &text], &[], "application/protobuf").await?;
        let trace = self.read(&answer, id, false)?;
        self.old = true;
        Ok(trace)
    }

    fn read(&mut self, answer: &QueryResponse, id: TraceId, wrapped: bool) -> Result<Trace, QueryError> {
        match answer.status {
            200..300 => {}
            404 => return Err(QueryError::NotThere { host: self.client.host.clone(), id }),
            _ => return Err(self.client.refused(answer)),
        }
        let mut collect = Collect::new();
        if matches!(answer.content_type.as_str(), "application/protobuf" | "application/x-protobuf") {
            let wrong = |why: String| self.client.unusable(answer, format!("expected OTLP Protobuf: {why}"));
            if wrapped {
                let whole = Whole::decode(&answer.body[..]).map_err(|e| wrong(e.to_string()))?;
                self.partial += usize::from(whole.status == PARTIAL);
                otlp::take_bytes(&whole.trace, &mut collect).map_err(wrong)?;
            } else {
                otlp::take_bytes(&answer.body, &mut collect).map_err(wrong)?;
            }
        } else {
            if answer.is_crowded() {
                return Err(QueryError::TraceTooLarge { host: self.client.host.clone(), limit: MAX_RESPONSE_BYTES });
            }
            let outcome = serde_json::from_slice::<Outcome>(&answer.body).ok().filter(|_| wrapped);
            self.partial += usize::from(outcome.is_some_and(|o| o.status.as_deref() == Some("PARTIAL")));
            file::collect(&answer.body, Path::new(""), &mut collect)
                .map_err(|e| self.client.unusable(answer, words(&e)))?;
        }
        let found = self.client.finish(answer, collect)?.into_iter().find(|t| t.id == id);
        found.ok_or_else(|| QueryError::NotThere { host: self.client.host.clone(), id })
    }
}

/// `TraceByIDResponse` of Tempo's API; its trace looks like an export request.
#[derive(Clone, PartialEq, prost::Message)]
struct Whole {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(int32, tag = "3")]
    status: i32,
}

/// `PartialStatus` of Tempo's API.
const PARTIAL: i32 = 1;

/// Tempo searches through a limited time at once; it says so and how much.
fn too_long(answer: &QueryResponse) -> bool {
    String::from_utf8_lossy(&answer.body[..answer.body.len().min(1000)]).contains("exceeds")
}

/// The question in TraceQL: one span has all that is asked for.
fn trace_ql(of: &Selector) -> String {
    let mut all = Vec::new();
    if let Some(service) = &of.service {
        all.push(format!("resource.service.name = {}", quoted(service)));
    }
    if let Some(operation) = &of.operation {
        all.push(format!("name = {}", quoted(operation)));
    }
    for (key, value) in &of.tags {
        let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        let key = if plain { format!(".{key}") } else { format!(".{}", quoted(key)) };
        let text = format!("{key} = {}", quoted(value));
        // It tells numbers from their text.
        let typed = value.parse::<i64>().is_ok() || value.parse::<bool>().is_ok();
        all.push(if typed { format!("({text} || {key} = {value})") } else { text });
    }
    format!("{{ {} }}", all.join(" && "))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_cannot_leave_its_quotes() {
        let query = Selector {
            service: Some("a\"} || {\\".into()),
            operation: Some("GET /".into()),
            tags: vec![("http.status_code".into(), "200".into()), ("a b\"".into(), "x".into())],
        };
        assert_eq!(
            trace_ql(&query),
            r#"{ resource.service.name = "a\"} || {\\" && name = "GET /" && (.http.status_code = "200" || .http.status_code = 200) && ."a b\"" = "x" }"#
        );
        assert_eq!(trace_ql(&Selector::default()), "{  }");
    }
}
