//! Where a person can look at a trace: its page in the user's Jaeger.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderMap;
use tokio::time::Instant;
use url::Url;

use super::client::{Client, Version};
use super::http::{self, HttpError, Tls};
use crate::record::model::TraceId;

/// The port of Jaeger's query service and user interface.
const PORT: u16 = 16686;

/// So long a Jaeger may take to show that it is there.
const TIMEOUT: Duration = Duration::from_millis(300);

/// The page of a trace, `BASE/trace/<id>`, without credentials. `given` is where the user says that Jaeger is. Without
/// it, it is looked for on the host that traces are sent to, and `None` if no Jaeger answers there within 0.3 s.
pub fn of(given: Option<&str>, otlp: Option<&Url>, id: TraceId) -> Result<Option<String>, HttpError> {
    Ok(base(given, otlp)?.map(|url| page(&url, id)))
}

/// The page of a trace below the address of a Jaeger.
pub fn page(base: &Url, id: TraceId) -> String {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["trace", &id.to_string()]);
    }
    url.to_string()
}

/// The address of the user's Jaeger, as [`of`] finds it; none if the user says `none`.
pub fn base(given: Option<&str>, otlp: Option<&Url>) -> Result<Option<Url>, HttpError> {
    if given == Some("none") {
        return Ok(None);
    }
    if let Some(given) = given.filter(|g| !g.is_empty()) {
        let (mut url, _) = http::address(given)?;
        url.set_query(None);
        url.set_fragment(None);
        return Ok(Some(url));
    }
    let Some(mut url) = otlp.cloned() else { return Ok(None) };
    if url.set_port(Some(PORT)).is_err() {
        return Ok(None);
    }
    url.set_path("");
    url.set_query(None);
    Ok(is_jaeger(&url)?.then_some(url))
}

/// Whether a query service answers at `url`, soon.
fn is_jaeger(url: &Url) -> Result<bool, HttpError> {
    let client = Client::new(url, &Tls::default(), HeaderMap::new(), TIMEOUT, Version::Http1)?;
    let ask = async {
        for (path, key) in [("api/services", "data"), ("api/v3/services", "services")] {
            let Ok(at) = url.join(path) else { continue };
            let until = Instant::now() + TIMEOUT;
            let asked = client.send(Method::GET, &at, &HeaderMap::new(), Bytes::new(), until).await;
            let Ok(answer) = asked else { return false };
            let Ok(body) = answer.body(1 << 20).await else { continue };
            let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            // One that has just started knows no service: then it is `null`.
            let known = |j: serde_json::Value| match j.get(key) {
                Some(serde_json::Value::Array(_)) => true,
                Some(serde_json::Value::Null) => j.get("total").is_some(),
                _ => false,
            };
            if json.is_some_and(known) {
                return true;
            }
        }
        false
    };
    Ok(http::run_with_timeout(TIMEOUT, ask)?.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_below_the_users_address_and_has_no_password() {
        let id = TraceId(0xab);
        for (given, link) in [
            ("http://j:1", "http://j:1/trace/000000000000000000000000000000ab"),
            ("https://me:canary@j/ui/?x=canary#y", "https://j/ui/trace/000000000000000000000000000000ab"),
        ] {
            assert_eq!(of(Some(given), None, id).unwrap().as_deref(), Some(link));
        }
        assert!(of(None, None, id).unwrap().is_none());
        assert!(of(Some("j:16686"), None, id).is_err());
    }

    #[test]
    fn nothing_is_claimed_about_a_host_without_a_jaeger() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = Url::parse(&format!("http://{}", held.local_addr().unwrap())).unwrap();
        let begun = std::time::Instant::now();
        assert!(!is_jaeger(&silent).unwrap());
        assert!(begun.elapsed() < 2 * TIMEOUT, "{:?}", begun.elapsed());
    }
}
