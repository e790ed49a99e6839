//! Files with holes: old GNU maps, and pax formats 0.0, 0.1 and 1.0 (GNU tar manual, "Storing Sparse Files").

use std::borrow::Cow;

use super::number;

/// The pieces of a file that hold data, in order, and its length with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::layer) struct Sparse {
    pub(in crate::layer) pieces: Vec<(u64, u64)>,
    pub(in crate::layer) size: u64,
}

impl Sparse {
    /// Checks that the pieces are in order, inside the file, and hold exactly `stored` bytes.
    pub(super) fn checked(pieces: Vec<(u64, u64)>, size: u64, stored: u64) -> Result<Self, Cow<'static, str>> {
        let (mut end, mut total) = (0u64, 0u64);
        for &(offset, len) in &pieces {
            if offset < end {
                return Err("pieces of a sparse file overlap or are out of order".into());
            }
            end = offset.checked_add(len).filter(|e| *e <= size).ok_or("a piece of a sparse file is outside of it")?;
            total += len;
        }
        if total != stored {
            return Err(format!("a sparse map describes {total} bytes, the entry has {stored}").into());
        }
        Ok(Sparse { pieces, size })
    }
}

/// The `GNU.sparse.*` records of one entry.
#[derive(Clone, Debug, Default)]
pub(super) struct PaxSparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Offsets and lengths, alternating.
    pub(super) map: Vec<u64>,
    has_map: bool,
}

/// How the map of an entry is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In the pax records.
    Records,
    /// At the begin of the data.
    InData,
}

impl PaxSparse {
    /// Takes in one record, `GNU.sparse.` cut off. `None` if its value is bad.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"major" => self.major = Some(number::decimal(value)?),
            b"minor" => self.minor = Some(number::decimal(value)?),
            b"name" if value.is_empty() || value.contains(&0) => return None,
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(number::decimal(value)?),
            b"numblocks" => {
                number::decimal(value)?;
                self.has_map = true;
            }
            // Format 0.0 repeats these two keys for each piece.
            b"offset" if self.map.len().is_multiple_of(2) => self.map.push(number::decimal(value)?),
            b"numbytes" if !self.map.len().is_multiple_of(2) => self.map.push(number::decimal(value)?),
            b"offset" | b"numbytes" => return None,
            b"map" => {
                self.has_map = true;
                self.map = match value {
                    b"" => Vec::new(),
                    _ => value.split(|b| *b == b',').map(number::decimal).collect::<Option<_>>()?,
                };
            }
            _ => {}
        }
        Some(())
    }

    /// Which format this is, `None` for an ordinary file.
    pub(super) fn form(&self) -> Result<Option<Form>, Cow<'static, str>> {
        match (self.major, self.minor) {
            (Some(1), Some(0)) => Ok(Some(Form::InData)),
            (None, None) if self.has_map || !self.map.is_empty() => Ok(Some(Form::Records)),
            (Some(0), Some(0 | 1)) => Ok(Some(Form::Records)),
            (None, None) => Ok(None),
            (major, minor) => Err(format!("unknown GNU.sparse version {major:?}.{minor:?}").into()),
        }
    }

    /// The pieces of the two formats that keep them in records.
    pub(super) fn pieces(&self) -> Result<Vec<(u64, u64)>, Cow<'static, str>> {
        if !self.map.len().is_multiple_of(2) {
            return Err("a sparse map has an offset without a length".into());
        }
        Ok(self.map.chunks_exact(2).map(|p| (p[0], p[1])).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_checked() {
        assert!(Sparse::checked(vec![(0, 5), (5, 0), (10, 5), (15, 0)], 15, 10).is_ok());
        assert!(Sparse::checked(vec![], 1 << 40, 0).is_ok());
        assert!(Sparse::checked(vec![(10, 5), (0, 5)], 15, 10).is_err());
        assert!(Sparse::checked(vec![(0, 5), (4, 5)], 15, 10).is_err());
        assert!(Sparse::checked(vec![(u64::MAX, 5)], 15, 5).is_err());
        assert!(Sparse::checked(vec![(10, 6)], 15, 6).is_err());
        assert!(Sparse::checked(vec![(0, 5)], 15, 6).is_err());
    }
}
