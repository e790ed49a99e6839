//! Content codings (RFC 9110, 8.4) taken off while the bytes arrive. Digests are of the content, so it is checked
//! afterwards like any other.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// Packed bytes that are unpacked together: what comes out of so many is bounded, and is looked at before the next.
const PIECE: usize = 1 << 10;

/// Takes the codings of one body off.
pub(super) struct Unpacker {
    /// In the order in which they are taken off.
    steps: Vec<Step>,
    /// Everything was given out.
    pub(super) ended: bool,
}

enum Step {
    /// What it is is seen from its first bytes, once there are enough.
    New(Coding, Vec<u8>),
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zlib(ZlibDecoder<Vec<u8>>),
    Deflate(DeflateDecoder<Vec<u8>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>),
    /// Only the label was there.
    Plain,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Zstd,
}

impl Unpacker {
    /// For the value of a `Content-Encoding` header; `None` if there is nothing to take off. What is no coding at all
    /// (`utf-8`, nothing) is none. The error is a coding that cannot be taken off.
    pub(super) fn new(codings: &str) -> Result<Option<Self>, String> {
        let mut steps = Vec::new();
        for coding in codings.split(',').map(|c| c.trim().to_ascii_lowercase()).rev() {
            let coding = match coding.as_str() {
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "zstd" => Coding::Zstd,
                "br" | "compress" | "x-compress" | "dcb" | "dcz" => return Err(coding),
                _ => continue,
            };
            steps.push(Step::New(coding, Vec::new()));
        }
        if steps.len() > 4 {
            return Err("more than four of them".into());
        }
        Ok((!steps.is_empty()).then_some(Unpacker { steps, ended: false }))
    }

    /// What these bytes give.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<Bytes> {
        let mut out = bytes.to_vec();
        for step in &mut self.steps {
            out = step.push(&out)?;
        }
        Ok(out.into())
    }

    /// What was still held back at the end; an error if that came too early.
    pub(super) fn finish(&mut self) -> io::Result<Bytes> {
        self.ended = true;
        let mut out = Vec::new();
        for step in &mut self.steps {
            let mut next = step.push(&out)?;
            next.extend(step.finish()?);
            out = next;
        }
        Ok(out.into())
    }
}

/// The most that comes out of one chunk; a real body is far from it, and chunks are some kilobytes.
const BURST: usize = 64 << 20;

/// Bytes that tell what it is.
const HEAD: usize = 4;

impl Step {
    fn push(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let held;
        let mut bytes = bytes;
        if let Step::New(coding, head) = self {
            head.extend_from_slice(bytes);
            if head.len() < HEAD {
                return Ok(Vec::new());
            }
            held = std::mem::take(head);
            *self = coding.begin(&held)?;
            bytes = &held;
        }
        let mut out = Vec::new();
        for piece in bytes.chunks(PIECE) {
            match self {
                Step::Plain | Step::New(..) => out.extend_from_slice(piece),
                Step::Gzip(d) => through(&mut **d, piece, |d| d.get_mut(), &mut out)?,
                Step::Zlib(d) => through(d, piece, |d| d.get_mut(), &mut out)?,
                Step::Deflate(d) => through(d, piece, |d| d.get_mut(), &mut out)?,
                Step::Zstd(d) => through(&mut **d, piece, |d| d.get_mut(), &mut out)?,
            }
            if out.len() > BURST {
                return Err(io::Error::other("far more comes out than goes in"));
            }
        }
        Ok(out)
    }

    fn finish(&mut self) -> io::Result<Vec<u8>> {
        Ok(match self {
            Step::Plain => Vec::new(),
            // Too short to be packed.
            Step::New(_, head) => std::mem::take(head),
            Step::Gzip(d) => {
                d.try_finish()?;
                std::mem::take(d.get_mut())
            }
            Step::Zlib(d) => {
                d.try_finish()?;
                std::mem::take(d.get_mut())
            }
            Step::Deflate(d) => {
                d.try_finish()?;
                std::mem::take(d.get_mut())
            }
            Step::Zstd(d) => {
                d.flush()?;
                std::mem::take(d.get_mut())
            }
        })
    }
}

fn through<D: Write>(
    decoder: &mut D,
    bytes: &[u8],
    inner: impl Fn(&mut D) -> &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    decoder.write_all(bytes)?;
    decoder.flush()?;
    out.append(inner(decoder));
    Ok(())
}

impl Coding {
    /// The decoder for a body that begins like this. A label that the bytes give the lie is only a label.
    fn begin(self, head: &[u8]) -> io::Result<Step> {
        let zlib = head.len() > 1 && head[0] & 15 == 8 && (u16::from(head[0]) << 8 | u16::from(head[1])) % 31 == 0;
        Ok(match self {
            Coding::Gzip if is_gzip(head) => Step::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Coding::Zstd if is_zstd(head) => Step::Zstd(Box::new(zstd::stream::write::Decoder::new(Vec::new())?)),
            // RFC 9110 means zlib by it; some servers send what the name says.
            Coding::Deflate if zlib => Step::Zlib(ZlibDecoder::new(Vec::new())),
            Coding::Deflate if !is_gzip(head) && !is_zstd(head) && head[0] != b'{' => {
                Step::Deflate(DeflateDecoder::new(Vec::new()))
            }
            _ => Step::Plain,
        })
    }
}

fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

fn is_zstd(head: &[u8]) -> bool {
    head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(codings: &str, body: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let Some(mut unpacker) = Unpacker::new(codings).map_err(io::Error::other)? else { return Ok(body.to_vec()) };
        let mut out = Vec::new();
        for chunk in body.chunks(piece) {
            out.extend_from_slice(&unpacker.push(chunk)?);
        }
        out.extend_from_slice(&unpacker.finish()?);
        Ok(out)
    }

    #[test]
    fn codings_are_taken_off_in_their_order() {
        use flate2::Compression;
        use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
        let content: Vec<u8> = (0..20_000u32).flat_map(|i| (i % 977).to_le_bytes()).collect();
        let gzip = |bytes: &[u8]| {
            let mut e = GzEncoder::new(Vec::new(), Compression::fast());
            e.write_all(bytes).unwrap();
            e.finish().unwrap()
        };
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&content).unwrap();
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(&content).unwrap();
        let zstd = |bytes: &[u8]| zstd::stream::encode_all(bytes, 1).unwrap();
        for (codings, body) in [
            ("gzip", gzip(&content)),
            ("X-GZIP", gzip(&content)),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", deflate.finish().unwrap()),
            ("zstd", zstd(&content)),
            ("gzip, zstd", zstd(&gzip(&content))),
            ("zstd,gzip , identity", gzip(&zstd(&content))),
            ("identity", content.clone()),
            ("utf-8", content.clone()),
            ("", content.clone()),
            ("gzip", content.clone()),
        ] {
            for piece in [1 << 20, 4096, 7] {
                assert!(unpack(codings, &body, piece).unwrap() == content, "{codings} in pieces of {piece}");
            }
        }
        let whole = gzip(&content);
        assert!(unpack("gzip", &whole[..whole.len() / 2], 4096).is_err(), "it is cut off");
        assert!(unpack("br", &content, 4096).is_err());
        assert!(unpack("gzip, compress", &content, 4096).is_err());
    }

    #[test]
    fn a_bomb_ends_early() {
        let zeroes = vec![0; 200 << 20];
        let packed = zstd::stream::encode_all(&zeroes[..], 1).unwrap();
        assert!(unpack("zstd", &packed, 1 << 20).is_err());
    }
}
