//! Why traces could not be read from a tracing back end.

use super::http::HttpError;
use crate::error::Failure;
use crate::record::model::TraceId;

/// What can go wrong in reading from a query API. `host` is `name:port`; messages hold no headers and no credentials.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum QueryError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the answer of `{host}` to `{path}` cannot be used: {why}")]
    Answer { host: String, path: String, why: String },
    #[error("`{host}` has no query API of {what}: neither `{}` is there", tried.join("` nor `"))]
    NoApi { host: String, what: &'static str, tried: Vec<&'static str> },
    #[error("a single trace of `{host}` has more than {} MiB, or so much in them that it would fill memory", limit >> 20)]
    TraceTooLarge { host: String, limit: usize },
    #[error("`{host}` has more than {limit} traces of one moment, and its API has no way to ask for the rest")]
    Crowded { host: String, limit: usize },
    #[error("`{host}` does not search through so long a time at once")]
    TooLong { host: String },
    #[error("`{host}` answers with traces of other times than those asked for")]
    Outside { host: String },
    #[error(
        "more than {limit} traces were found at `{host}`: expected a shorter time (`--since`, `--from`, `--to`) or a `--limit`"
    )]
    TooMany { host: String, limit: usize },
    #[error("`{host}` has no trace `{id}`")]
    NotThere { host: String, id: TraceId },
    #[error("`{name}` is no HTTP header: expected `NAME: VALUE`")]
    Header { name: String },
}

impl Failure for QueryError {
    fn kind(&self) -> &'static str {
        match self {
            QueryError::Http(e) => e.kind(),
            QueryError::Answer { .. } | QueryError::Outside { .. } => "backend_answer",
            QueryError::NoApi { .. } => "backend_no_api",
            QueryError::TraceTooLarge { .. } => "backend_trace_too_large",
            QueryError::Crowded { .. } | QueryError::TooMany { .. } | QueryError::TooLong { .. } => "backend_too_many",
            QueryError::NotThere { .. } => "backend_no_trace",
            QueryError::Header { .. } => "backend_header",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            QueryError::Http(HttpError::Status { status: 401 | 403, .. }) => {
                Some("credentials go into the URL (`http://USER:PASSWORD@HOST`) or into `--header`".into())
            }
            QueryError::NoApi { what: "Jaeger", .. } => {
                Some("Jaeger's query service listens on port 16686, its collector on 4317 and 4318".into())
            }
            QueryError::NoApi { .. } => Some("Tempo's API listens on port 3200".into()),
            QueryError::Crowded { .. } => Some("`--operation` or `--tag` make the group smaller".into()),
            _ => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            QueryError::Http(HttpError::Address { .. }) | QueryError::Header { .. } => 2,
            _ => 125,
        }
    }
}
