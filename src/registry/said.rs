//! What a registry says when it refuses, made fit to be shown.

use std::sync::{Mutex, PoisonError};

use hyper::header::HeaderValue;

use super::error::foreign;
use super::exchange::Exchange;
use crate::json::{self, Later, object};

/// Which limit a 429 is about, as far as it says: `; limit 100 in 6 h, 0 left, …`.
pub(super) fn limit(answer: &Exchange) -> String {
    let mut parts = Vec::new();
    if let Some(limit) = answer.header("ratelimit-limit") {
        parts.push(format!("limit {}", amount(limit)));
    }
    if let Some(left) = answer.header("ratelimit-remaining") {
        parts.push(format!("{} left", amount(left)));
    }
    if let Some(source) = answer.header("docker-ratelimit-source") {
        parts.push(format!("counted for `{}`", foreign(source, 60)));
    }
    if let Some(after) = answer.header("retry-after") {
        let unit = if after.trim().bytes().all(|b| b.is_ascii_digit()) { " s" } else { "" };
        parts.push(format!("to be asked again after `{}{unit}`", foreign(after, 40)));
    }
    if parts.is_empty() { ", which limit it doesn't say".into() } else { format!("; {}", parts.join(", ")) }
}

/// `100;w=21600` is 100 in 6 h.
fn amount(header: &str) -> String {
    let (count, window) = header.split_once(";w=").unwrap_or((header, ""));
    match window.trim().parse::<u64>() {
        Ok(seconds) if seconds > 0 && seconds % 3600 == 0 => format!("{} in {} h", foreign(count, 20), seconds / 3600),
        Ok(seconds) => format!("{} in {seconds} s", foreign(count, 20)),
        Err(_) => foreign(header, 40),
    }
}

/// What a registry says about a refusal (distribution-spec, "Error Codes").
pub(super) struct Said {
    /// `MANIFEST_UNKNOWN`, …
    pub(super) code: String,
    /// As docker shows it: `manifest unknown: manifest unknown`.
    pub(super) text: String,
}

object! {
    struct ErrorDocument {
        errors: Vec<Later> = "errors",
        details: String = "details",
        message: String = "message",
    }
}

object! {
    struct ErrorEntry {
        code: String = "code",
        message: String = "message",
    }
}

/// What was sent and must never be shown, should a server repeat it.
#[derive(Default)]
pub(super) struct Secrets(Mutex<Vec<String>>);

impl Secrets {
    /// The value of an `Authorization` header.
    pub(super) fn add(&self, header: &HeaderValue) {
        if let Some(secret) = header.to_str().ok().and_then(|h| h.split(' ').next_back()) {
            self.add_text(secret);
        }
    }

    /// One as it is. So short a one stands in any text by chance.
    pub(super) fn add_text(&self, secret: &str) {
        if secret.len() >= 4 {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(secret.to_owned());
        }
    }

    /// The text without them.
    pub(super) fn taken_out(&self, text: &str) -> String {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "REDACTED"))
    }
}

/// Reads an error body.
pub(super) fn said(body: &[u8], secrets: &Secrets) -> Said {
    let Ok(document) = json::parse::<ErrorDocument>(body) else {
        return Said { code: String::new(), text: String::new() };
    };
    let first = document.errors.first().and_then(|e| e.read::<ErrorEntry>().ok());
    // Docker Hub's gateway and token servers have only one of these.
    let alone = if document.details.is_empty() { document.message } else { document.details };
    let ErrorEntry { code, message } = first.unwrap_or_else(|| ErrorEntry { code: String::new(), message: alone });
    let (code, message) = (secrets.taken_out(&code), secrets.taken_out(&message));
    let words = foreign(&code, 60).to_lowercase().replace('_', " ");
    let message = foreign(&message, 200);
    let text = match (words.is_empty(), message.is_empty()) {
        (true, _) => message,
        (false, true) => words,
        (false, false) => format!("{words}: {message}"),
    };
    Said { code, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read_as_docker_does() {
        let secrets = Secrets::default();
        secrets.add(&"Bearer s3cr3t".parse().unwrap());
        let text = |body: &str| said(body.as_bytes(), &secrets).text;
        assert_eq!(
            text(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#),
            "manifest unknown: manifest unknown"
        );
        assert_eq!(
            text(r#"{"errors":[{"code":"DENIED","message":"bad token s3cr3t\u001b[2J"}]}"#),
            "denied: bad token REDACTED [2J"
        );
        assert_eq!(text(r#"{"Errors":[{"CODE":"denied","message":null}]}"#), "denied");
        assert_eq!(
            text(r#"{"errors":[5],"details":"incorrect username or password"}"#),
            "incorrect username or password"
        );
        for nothing in ["", "<html>", "{}", r#"{"errors":[]}"#, r#"{"errors":[{}]}"#] {
            assert_eq!(text(nothing), "", "{nothing}");
        }
        assert!(text(&format!(r#"{{"errors":[{{"code":"X","message":"{}"}}]}}"#, "y".repeat(5000))).len() < 300);
    }

    #[test]
    fn quotas_are_said_in_hours() {
        assert_eq!(amount("100;w=21600"), "100 in 6 h");
        assert_eq!(amount("100;w=90"), "100 in 90 s");
        assert_eq!(amount("100"), "100");
        assert_eq!(amount("x;w="), "x;w=");
    }
}
