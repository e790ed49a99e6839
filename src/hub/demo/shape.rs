//! The tags of `demo/layers`: how many layers, how large, how compressed.

use crate::hub::layer::Codec;
use std::fmt;

/// What a tag asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::hub) struct Shape {
    /// 1 to 200.
    pub(super) layers: u64,
    /// Bytes of file content per layer; a multiple of 1024.
    pub(super) size: u64,
    pub(super) codec: Codec,
}

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const CODECS: [(&str, Codec); 3] = [("-gzip", Codec::Gzip), ("-zstd", Codec::Zstd), ("-none", Codec::None)];
const MAX_LAYERS: u64 = 200;
const MAX_TOTAL: u64 = 16 << 30;

/// What a tag has to look like, for error messages.
pub(in crate::hub) const GRAMMAR: &str = "expected `<layers>x<size>` with `-gzip`, `-zstd` or `-none` behind it if \
    wanted, e.g. `6x16MiB` or `200x4KiB-zstd`: 1 to 200 layers, size in KiB, MiB or GiB, at most 16 GiB in all";

/// Tags to show in lists, in byte order as lists must be.
pub(in crate::hub) const EXAMPLES: [&str; 7] =
    ["12x4MiB", "1x64MiB", "1x64MiB-none", "1x64MiB-zstd", "200x4KiB", "6x16MiB", "6x16MiB-zstd"];

impl Shape {
    /// Parses `<layers>x<size>[-gzip|-zstd|-none]`. `1x1024KiB` and `1x1MiB-gzip` are the same shape as `1x1MiB`.
    pub(in crate::hub) fn parse(tag: &str) -> Option<Shape> {
        let (rest, codec) = CODECS
            .iter()
            .find_map(|(suffix, codec)| Some((tag.strip_suffix(suffix)?, *codec)))
            .unwrap_or((tag, Codec::Gzip));
        let (layers, size) = rest.split_once('x')?;
        let (count, unit) = UNITS.iter().find_map(|(name, unit)| Some((size.strip_suffix(name)?, *unit)))?;
        let layers = number(layers)?;
        let size = number(count)?.checked_mul(unit)?;
        let fits = layers <= MAX_LAYERS && layers.checked_mul(size)? <= MAX_TOTAL;
        fits.then_some(Shape { layers, size, codec })
    }

    /// What the files of one layer depend on. The codec is part of it: images that differ only in compression share no
    /// layer, so that pulling one does not shorten the pull of the other.
    pub(super) fn seed(self, layer: u64) -> u64 {
        self.to_string().bytes().chain(layer.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3) // FNV-1a
        })
    }

    /// More bytes than all blobs together can have.
    pub(in crate::hub) fn most_bytes(self) -> u64 {
        let content = self.layers * self.size;
        content + content / 8 + self.layers * (64 << 10)
    }

    /// The size with its unit, e.g. `16 MiB`.
    fn size_words(self, gap: &str) -> String {
        let (name, unit) = UNITS.into_iter().find(|(_, unit)| self.size.is_multiple_of(*unit)).unwrap_or(("B", 1));
        format!("{}{gap}{name}", self.size / unit)
    }

    /// What the program in the image prints.
    pub(super) fn sentence(self) -> String {
        let plural = if self.layers == 1 { "" } else { "s" };
        format!("demo/layers: {} layer{plural} of {}\n", self.layers, self.size_words(" "))
    }
}

impl fmt::Display for Shape {
    /// The one tag that all spellings of this shape stand for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.codec {
            Codec::Gzip => "",
            Codec::Zstd => "-zstd",
            Codec::None => "-none",
        };
        write!(f, "{}x{}{suffix}", self.layers, self.size_words(""))
    }
}

/// A decimal number from 1 without sign or leading zeros.
fn number(text: &str) -> Option<u64> {
    let plain = !text.starts_with('0') && text.bytes().all(|c| c.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_their_one_spelling() {
        let shape = Shape::parse("6x16MiB").unwrap();
        assert_eq!(shape, Shape { layers: 6, size: 16 << 20, codec: Codec::Gzip });
        assert_eq!(shape.sentence(), "demo/layers: 6 layers of 16 MiB\n");
        for (tag, same) in [
            ("6x16MiB-gzip", "6x16MiB"),
            ("1x1024KiB", "1x1MiB"),
            ("1x2048MiB-zstd", "1x2GiB-zstd"),
            ("200x4KiB-none", "200x4KiB-none"),
            ("1x16GiB", "1x16GiB"),
        ] {
            assert_eq!(Shape::parse(tag).unwrap().to_string(), same);
        }
        assert!(EXAMPLES.is_sorted());
        for tag in EXAMPLES {
            assert_eq!(Shape::parse(tag).unwrap().to_string(), tag);
        }
    }

    #[test]
    fn other_tags_are_refused() {
        for tag in [
            "",
            "latest",
            "x",
            "6x",
            "x16MiB",
            "6x16",
            "6x16MB",
            "6x16mib",
            "06x16MiB",
            "6x016MiB",
            "+6x16MiB",
            "0x1KiB",
            "1x0KiB",
            "201x1KiB",
            "1x17GiB",
            "200x1GiB",
            "-1x1KiB",
            "1x-1KiB",
            "6x16MiB-",
            "6x16MiB-lz4",
            "6x16MiB-zstd-zstd",
            "6x16MiB ",
            "1x18446744073709551615GiB",
            "99999999999999999999x1KiB",
            "6x16MiB\u{663}",
            "٣x1KiB",
        ] {
            assert_eq!(Shape::parse(tag), None, "{tag}");
        }
    }

    #[test]
    fn every_layer_has_a_seed_of_its_own() {
        let mut seeds: Vec<u64> = ["6x16MiB", "6x16MiB-zstd", "7x16MiB", "6x17MiB"]
            .iter()
            .flat_map(|tag| (0..6).map(|layer| Shape::parse(tag).unwrap().seed(layer)))
            .collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 24);
    }
}
