//! From the blob's bytes to the tar's: gzip, zstd or nothing; xz and bzip2 too, which no specification of images knows
//! and docker has always unpacked.
//!
//! As in docker and containerd the first bytes decide and the media type only says what to expect. Where readers of
//! gzip differ, this one does as follows: several members are one stream (all do); zero bytes after the last member are
//! padding (as in gzip(1); Go refuses them); anything else after it is an error (as in Go; gzip(1) warns). zstd:
//! several frames are one stream and skippable frames are skipped, as RFC 8878 says.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use serde::{Deserialize, Serialize};

use super::meter::Meter;
use super::{LayerError, Limits};
use crate::digest::Digest;
use crate::record::Mono;

/// Compression of a layer, as its media type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// `…tar+gzip`, `…tar.gzip`.
    Gzip,
    /// `…tar+zstd`.
    Zstd,
    /// `…tar`.
    None,
}

/// The blob's bytes as they come from the receiving thread. `None` on the channel is the end of a blob that was found
/// to be right; a channel that closes without it belongs to a blob that was not.
pub(super) struct Inlet {
    chunks: Receiver<Option<Bytes>>,
    now: Bytes,
    ended: bool,
    /// Rather than wait for the next chunk, reading fails with `WouldBlock`.
    hasty: bool,
    /// The sender has gone: whatever error comes from reading here is not ours.
    pub(super) cut: bool,
    pub(super) meter: Meter,
}

impl Inlet {
    pub(super) fn new(chunks: Receiver<Option<Bytes>>) -> Self {
        Inlet { chunks, now: Bytes::new(), ended: false, hasty: false, cut: false, meter: Meter::default() }
    }

    /// The next chunk; empty at the end.
    fn pull(&mut self) -> io::Result<Bytes> {
        while !self.ended {
            let since = Mono::now();
            self.meter.worked_until(since);
            let next = match self.chunks.try_recv() {
                Err(TryRecvError::Empty) if self.hasty => return Err(io::ErrorKind::WouldBlock.into()),
                Err(TryRecvError::Empty) => self.chunks.recv().ok(),
                next => next.ok(),
            };
            match next {
                Some(Some(chunk)) if chunk.is_empty() => {}
                Some(Some(chunk)) => {
                    self.meter.input(since, Mono::now(), chunk.len());
                    return Ok(chunk);
                }
                Some(None) => self.ended = true,
                None => {
                    self.cut = true;
                    return Err(io::Error::other("stopped"));
                }
            }
        }
        Ok(Bytes::new())
    }

    /// The first `n` bytes, or fewer if there are no more, without taking them.
    fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        while self.now.len() < n {
            let next = self.pull()?;
            if next.is_empty() {
                break;
            }
            if self.now.is_empty() {
                self.now = next;
            } else {
                let mut joined = BytesMut::from(&self.now[..]);
                joined.extend_from_slice(&next);
                self.now = joined.freeze();
            }
        }
        Ok(&self.now[..self.now.len().min(n)])
    }

    /// Throws away what comes, until the end or `until`: lets the receiving thread find out whether the blob is right.
    /// Returns whether that thread has come to its end.
    pub(super) fn discard(&mut self, until: Instant) -> bool {
        self.now = Bytes::new();
        while !self.ended && !self.cut {
            match self.chunks.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Some(_)) => {}
                Ok(None) => self.ended = true,
                Err(e) => return e == RecvTimeoutError::Disconnected,
            }
        }
        true
    }
}

impl Read for Inlet {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let have = self.fill_buf()?;
        let n = have.len().min(buf.len());
        buf[..n].copy_from_slice(&have[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Inlet {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.now.is_empty() {
            self.now = self.pull()?;
        }
        Ok(&self.now)
    }

    fn consume(&mut self, n: usize) {
        self.now.advance(n);
    }
}

enum Decoder<'i> {
    Gzip(Box<GzDecoder<&'i mut Inlet>>),
    Zstd(zstd::stream::read::Decoder<'static, &'i mut Inlet>),
    Xz(Box<lzma_rust2::XzReader<&'i mut Inlet>>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<&'i mut Inlet>>),
    Plain(&'i mut Inlet),
}

impl Decoder<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Gzip(d) => d.read(buf),
            Decoder::Zstd(d) => d.read(buf),
            Decoder::Xz(d) => d.read(buf),
            Decoder::Bzip2(d) => d.read(buf),
            Decoder::Plain(d) => d.read(buf),
        }
    }

    fn inlet(&mut self) -> &mut Inlet {
        match self {
            Decoder::Gzip(d) => d.get_mut(),
            Decoder::Zstd(d) => d.get_mut(),
            Decoder::Xz(d) => d.inner_mut(),
            Decoder::Bzip2(d) => d.get_mut(),
            Decoder::Plain(d) => d,
        }
    }
}

/// How a blob is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    Tar,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Gzip => "gzip",
            Format::Zstd => "zstd",
            Format::Xz => "xz",
            Format::Bzip2 => "bzip2",
            Format::Tar => "tar",
        }
    }
}

/// What the first bytes of a blob are.
fn detect(inlet: &mut Inlet, said: Compression, digest: Digest) -> Result<Format, LayerError> {
    let head = inlet.peek(6).map_err(|_| LayerError::Stopped)?;
    match head {
        [0x1f, 0x8b, 8, ..] => return Ok(Format::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => return Ok(Format::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => return Ok(Format::Xz),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => return Ok(Format::Bzip2),
        _ if said == Compression::None || head.is_empty() => return Ok(Format::Tar),
        _ => {}
    }
    let shown = head.iter().map(|b| format!("{b:02x} ")).collect::<String>();
    let head = inlet.peek(512).map_err(|_| LayerError::Stopped)?;
    let looks_like_tar = head.len() == 512 && (head.iter().all(|b| *b == 0) || head[257..].starts_with(b"ustar"));
    if looks_like_tar {
        return Ok(Format::Tar);
    }
    let expected = if said == Compression::Gzip { "gzip" } else { "zstd" };
    let found = format!("something that begins with `{}`", shown.trim_end());
    Err(LayerError::Compression { digest, found, expected })
}

/// Unpacks `inlet` and hands the bytes to `out`: `fill` is asked for a buffer, `ship` takes the filled part of it.
/// A buffer is shipped when it is full, and before the next input would have to be waited for.
pub(super) fn decompress(
    inlet: &mut Inlet,
    said: Compression,
    digest: Digest,
    limits: &Limits,
    mut fill: impl FnMut() -> Box<[u8]>,
    mut ship: impl FnMut(&mut Meter, Box<[u8]>, usize) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    let compression = detect(inlet, said, digest)?;
    let format = compression.name();
    // This decoder cannot go on where it found nothing to read.
    let patient = compression == Format::Xz;
    let mut unpacked = 0u64;
    let mut buf = fill();
    let mut len = 0;
    loop {
        let corrupt = |e: io::Error| {
            let problem = match e.kind() {
                io::ErrorKind::UnexpectedEof => "it ends in the middle".to_owned(),
                _ => e.to_string(),
            };
            LayerError::Corrupt { digest, format, problem }
        };
        let mut decoder = match compression {
            Format::Gzip => Decoder::Gzip(Box::new(GzDecoder::new(&mut *inlet))),
            Format::Xz => {
                let memory = limits.xz_memory / 1024;
                Decoder::Xz(Box::new(lzma_rust2::XzReader::new_mem_limit(&mut *inlet, true, memory)))
            }
            Format::Bzip2 => Decoder::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(&mut *inlet))),
            Format::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(&mut *inlet).map_err(corrupt)?;
                decoder.window_log_max(limits.zstd_window_log).map_err(corrupt)?;
                Decoder::Zstd(decoder)
            }
            Format::Tar => Decoder::Plain(&mut *inlet),
        };
        loop {
            // With something to hand over, waiting for more input comes after that.
            decoder.inlet().hasty = len > 0 && !patient;
            let ended = match decoder.read(&mut buf[len..]) {
                Ok(n) => {
                    len += n;
                    unpacked += n as u64;
                    let allowed = limits.unpacked(decoder.inlet().meter.bytes);
                    if unpacked > allowed {
                        let (what, entry) = ("unpacked bytes", Default::default());
                        return Err(LayerError::Limit { what, limit: allowed, entry });
                    }
                    if n > 0 && len < buf.len() {
                        continue;
                    }
                    n == 0
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => false,
                Err(_) if decoder.inlet().cut => return Err(LayerError::Stopped),
                Err(e) => return Err(corrupt(e)),
            };
            if len > 0 {
                ship(&mut decoder.inlet().meter, std::mem::replace(&mut buf, fill()), len)?;
                len = 0;
            }
            if ended {
                break;
            }
        }
        drop(decoder);
        inlet.hasty = false;
        if compression != Format::Gzip || !another_member(inlet, digest)? {
            return Ok(());
        }
    }
}

/// Whether another gzip member follows. Takes zero padding away.
fn another_member(inlet: &mut Inlet, digest: Digest) -> Result<bool, LayerError> {
    let mut padded = false;
    loop {
        let bytes = inlet.fill_buf().map_err(|_| LayerError::Stopped)?;
        if bytes.is_empty() {
            return Ok(false);
        }
        let zeroes = bytes.iter().take_while(|b| **b == 0).count();
        if zeroes == 0 {
            break;
        }
        padded = true;
        inlet.consume(zeroes);
    }
    let head = inlet.peek(2).map_err(|_| LayerError::Stopped)?;
    if head == [0x1f, 0x8b] && !padded {
        return Ok(true);
    }
    let problem = "something that is not gzip follows its end".to_owned();
    Err(LayerError::Corrupt { digest, format: "gzip", problem })
}
