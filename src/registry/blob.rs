//! A layer's bytes, arriving; asked for again from where they broke off.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use hyper::Method;
use hyper::header::{ETAG, HeaderName, HeaderValue, IF_RANGE, RANGE};

use super::ask::{Asker, Told, Tries};
use super::authorized::Wish;
use super::error::RegistryError;
use super::exchange::Exchange;
use super::manifest::Descriptor;
use super::reference::ImageRef;
use crate::record::Stage;

/// After so many more bytes an earlier failure is forgotten.
const PROGRESS: u64 = 1 << 20;

/// A layer's bytes, arriving. Dropped early, the connection is closed.
pub struct Blob<'t> {
    asker: Arc<Asker>,
    parent: Stage,
    image: ImageRef,
    layer: Descriptor,
    what: String,
    exchange: Option<Exchange>,
    ended: bool,
    /// Bytes of the blob that are there.
    at: u64,
    /// Of what arrives now, so many are there already.
    skip: u64,
    /// By which a server tells whether it still has the same.
    validator: Option<HeaderValue>,
    /// It answers a request for a part with something that is none.
    no_range: bool,
    tries: Tries<'t>,
    counted: u64,
}

impl<'t> Blob<'t> {
    /// Asks for the bytes from `from` on.
    pub(super) async fn open(
        asker: Arc<Asker>,
        parent: &Stage,
        image: &ImageRef,
        layer: &Descriptor,
        from: u64,
        told: &'t Told<'t>,
    ) -> Result<Blob<'t>, RegistryError> {
        let mut blob = Blob {
            asker,
            parent: parent.clone(),
            image: image.clone(),
            layer: layer.clone(),
            what: format!("layer `{}` of `{}`", layer.digest, image.familiar()),
            exchange: None,
            ended: from > 0 && from == layer.size,
            at: from,
            skip: 0,
            validator: None,
            no_range: false,
            tries: Tries::new(Some(told)),
            counted: from,
        };
        if !blob.ended {
            blob.ask().await?;
        }
        Ok(blob)
    }

    /// Bytes that all chunks have together.
    pub fn size(&self) -> u64 {
        self.layer.size
    }

    async fn ask(&mut self) -> Result<(), RegistryError> {
        loop {
            let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
            if self.at > 0 && !self.no_range {
                let range = HeaderValue::try_from(format!("bytes={}-", self.at)).expect("digits");
                headers.push((RANGE, range));
                headers.extend(self.validator.clone().map(|v| (IF_RANGE, v)));
            }
            let ranged = !headers.is_empty();
            let wish = Wish {
                image: &self.image,
                path: format!("blobs/{}", self.layer.digest),
                method: Method::GET,
                accept: &["*/*"],
                headers: &headers,
                patience: self.asker.options.patience_with_blobs(),
            };
            let also: &[u16] = if ranged { &[206, 416] } else { &[] };
            let parent = self.parent.clone();
            let mut exchange = match self.asker.authorized(&parent, &parent, &wish, also, &mut self.tries).await {
                Err(RegistryError::Status { status: 404, .. }) if self.layer.elsewhere => {
                    let why =
                        "the registry doesn't have it and says that it is to be fetched from somewhere else".into();
                    return Err(RegistryError::Unsupported { what: self.what.clone(), why });
                }
                answer => answer?,
            };
            if exchange.status != 200 && !is_the_rest(&exchange, self.at, self.layer.size) {
                exchange.drain().await;
                self.no_range = true;
                continue;
            }
            exchange.unpack(&self.what, Some(self.layer.size))?;
            self.skip = if exchange.status == 200 { self.at } else { 0 };
            let rest = self.layer.size - (self.at - self.skip);
            if exchange.is_packed() {
                // Ranges would be of the packed bytes.
                self.no_range = true;
                if exchange.status != 200 {
                    exchange.fail(&self.wrong_size(0));
                    continue;
                }
            } else {
                if let Some(got) = exchange.expected.filter(|size| *size != rest && exchange.status == 200) {
                    let error = self.wrong_size(got);
                    exchange.fail(&error);
                    return Err(error);
                }
                if exchange.status == 200 {
                    exchange.expected = Some(rest);
                }
            }
            // Only a strong one says that the bytes are the same.
            self.validator = exchange.headers.get(ETAG).filter(|v| v.as_bytes().starts_with(b"\"")).cloned();
            self.exchange = Some(exchange);
            return Ok(());
        }
    }

    /// The next bytes, `None` after the last. An error ends it; all bytes together are exactly as many as described.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, RegistryError>> {
        if self.ended {
            return None;
        }
        let chunk = self.next().await;
        self.ended = !matches!(chunk, Some(Ok(_)));
        if self.ended {
            self.exchange = None;
        }
        chunk
    }

    async fn next(&mut self) -> Option<Result<Bytes, RegistryError>> {
        loop {
            let Some(exchange) = &mut self.exchange else {
                match self.ask().await {
                    Ok(()) => continue,
                    Err(e) => return Some(Err(self.tries.sum_up(e))),
                }
            };
            let mut chunk = match exchange.chunk().await {
                Some(Ok(chunk)) => chunk,
                // A part that ended where it was said to end, before the blob does.
                None if exchange.status == 206 && self.at < self.layer.size && self.at > self.counted => {
                    self.exchange = None;
                    self.counted = self.at;
                    continue;
                }
                None => return None,
                Some(Err(error)) => {
                    self.exchange = None;
                    if error.is_broken() && self.tries.again(&self.asker.options, None).await {
                        continue;
                    }
                    return Some(Err(self.tries.sum_up(error)));
                }
            };
            let skipped = self.skip.min(chunk.len() as u64);
            chunk.advance(skipped as usize);
            self.skip -= skipped;
            if chunk.is_empty() {
                continue;
            }
            self.at = self.at.saturating_add(chunk.len() as u64);
            if self.at > self.layer.size {
                let error = self.wrong_size(self.at);
                if let Some(exchange) = &mut self.exchange {
                    exchange.fail(&error);
                }
                return Some(Err(error));
            }
            if self.at - self.counted >= PROGRESS {
                self.counted = self.at;
                self.tries.succeeded();
            }
            return Some(Ok(chunk));
        }
    }

    fn wrong_size(&self, got: u64) -> RegistryError {
        RegistryError::Size { what: self.what.clone(), got, expected: self.layer.size }
    }
}

/// Whether a 206 has the bytes from `at` on of something with `size` bytes (RFC 9110, 14.4).
fn is_the_rest(answer: &Exchange, at: u64, size: u64) -> bool {
    answer.status == 206
        && answer.header("content-range").is_some_and(|range| begins_at(range, at, size, answer.expected))
}

fn begins_at(range: &str, at: u64, size: u64, length: Option<u64>) -> bool {
    let Some((unit, rest)) = range.trim().split_once(' ') else { return false };
    let Some((bounds, total)) = rest.trim().split_once('/') else { return false };
    let Some((first, last)) = bounds.split_once('-') else { return false };
    let (Ok(first), Ok(last)) = (first.trim().parse::<u64>(), last.trim().parse::<u64>()) else { return false };
    unit.eq_ignore_ascii_case("bytes")
        && first == at
        && (first..size).contains(&last)
        && (total.trim() == "*" || total.trim().parse() == Ok(size))
        && length.is_none_or(|length| length == last - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rest_of_the_same_blob_is_taken() {
        for good in ["bytes 10-99/100", "bytes 10-49/100", "BYTES 10-99/*", " bytes  10 - 99 / 100 "] {
            assert!(begins_at(good, 10, 100, None), "{good}");
        }
        for bad in [
            "",
            "bytes",
            "bytes */100",
            "bytes 0-99/100",
            "bytes 11-99/100",
            "bytes 10-100/100",
            "bytes 10-99/101",
            "bytes 10-9/100",
            "pages 10-99/100",
            "bytes 10-99",
            "bytes -1-99/100",
            "bytes 18446744073709551616-99/100",
        ] {
            assert!(!begins_at(bad, 10, 100, None), "{bad}");
        }
        assert!(begins_at("bytes 10-99/100", 10, 100, Some(90)));
        assert!(!begins_at("bytes 10-99/100", 10, 100, Some(100)));
    }
}
