//! From blocks to entries.

use std::borrow::Cow;
use std::io::BufRead;

use super::pax::Pax;
use super::sparse::{Form, Sparse};
use super::tape::{BLOCK, Tape};
use super::{Entry, Kind, Time, number};
use crate::layer::{LayerError, Limits, RawPath};

/// Iterates over the entries of a tar.
pub(in crate::layer) struct Reader<'l, R> {
    tape: Tape<R>,
    limits: &'l Limits,
    /// Data of the current entry that nobody has read, and the padding after it.
    left: u64,
    padding: u64,
    entries: u64,
}

/// Extension headers that wait for their entry.
#[derive(Default)]
struct Pending {
    pax: Pax,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<'l, R: BufRead> Reader<'l, R> {
    pub(in crate::layer) fn new(source: R, limits: &'l Limits) -> Self {
        Reader { tape: Tape::new(source), limits, left: 0, padding: 0, entries: 0 }
    }

    /// Entries so far.
    pub(in crate::layer) fn entries(&self) -> u64 {
        self.entries
    }

    /// The next entry. After the last one the rest of the stream has been read too.
    pub(in crate::layer) fn next(&mut self) -> Result<Option<Entry>, LayerError> {
        let mut pending = Pending::default();
        loop {
            let (left, padding) = (std::mem::take(&mut self.left), std::mem::take(&mut self.padding));
            self.tape.pass(left, |_| Ok(()))?;
            // Some writers leave out the last padding, and the end mark with it.
            if !self.tape.skip(padding)? {
                return Ok(None);
            }

            let offset = self.tape.offset;
            let Some(header) = self.header()? else { return Ok(None) };
            let field = header.as_old();
            let bad = |name: &str| LayerError::Tar { offset, problem: format!("bad {name} field").into() };
            let size = number::unsigned(&field.size).ok_or_else(|| bad("size"))?;
            match field.linkflag[0] {
                b'x' | b'X' => {
                    let data = self.extension(size)?;
                    pending.pax = Pax::default();
                    pending.pax.read(&data).map_err(|p| self.tape.malformed(p))?;
                }
                // Go reads global records and does nothing with them, so that no image means anything by one.
                b'g' => {
                    let data = self.extension(size)?;
                    Pax::check(&data).map_err(|p| self.tape.malformed(p))?;
                }
                b'L' => pending.long_name = Some(until_nul(&self.extension(size)?).to_vec()),
                b'K' => pending.long_link = Some(until_nul(&self.extension(size)?).to_vec()),
                // A volume label is not a file.
                b'V' => self.set_data(size)?,
                flag => return self.entry(&header, flag, size, std::mem::take(&mut pending)).map(Some),
            }
        }
    }

    /// The next header block that is not the end. A zero block ends the archive if another one or nothing follows.
    fn header(&mut self) -> Result<Option<::tar::Header>, LayerError> {
        let offset = self.tape.offset;
        let Some(block) = self.tape.block()? else { return Ok(None) };
        if block == [0; BLOCK] {
            if self.tape.block()?.is_some_and(|second| second != [0; BLOCK]) {
                let problem = "a lone block of zeroes, expected two at the end or an entry".into();
                return Err(LayerError::Tar { offset, problem });
            }
            // The diff id covers what comes after the end, too.
            self.tape.drain()?;
            return Ok(None);
        }
        let header = ::tar::Header::from_byte_slice(&block).clone();
        let stored = number::unsigned(&header.as_old().cksum);
        let (unsigned, signed) = checksums(&block);
        if stored != Some(unsigned) && stored.map(|s| s as i64) != Some(signed) {
            let problem = match stored {
                Some(s) => format!("wrong header checksum: got {s}, expected {unsigned}"),
                None => "not a tar header: its checksum is not a number".to_owned(),
            };
            return Err(LayerError::Tar { offset, problem: problem.into() });
        }
        Ok(Some(header))
    }

    fn set_data(&mut self, size: u64) -> Result<(), LayerError> {
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        if size.checked_add(padding).is_none_or(|n| n > i64::MAX as u64) {
            return Err(self.tape.malformed(format!("an entry of {size} bytes cannot be")));
        }
        (self.left, self.padding) = (size, padding);
        Ok(())
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        if size > self.limits.extension {
            let (what, limit) = ("extended header bytes", self.limits.extension);
            return Err(LayerError::Limit { what, limit, entry: RawPath::default() });
        }
        self.set_data(size)?;
        let mut data = Vec::with_capacity(size as usize);
        self.data(|bytes| {
            data.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(data)
    }

    /// Passes the data of the current entry on.
    pub(in crate::layer) fn data(&mut self, to: impl FnMut(&[u8]) -> Result<(), LayerError>) -> Result<(), LayerError> {
        let n = std::mem::take(&mut self.left);
        self.tape.pass(n, to)
    }

    fn entry(
        &mut self,
        header: &::tar::Header,
        flag: u8,
        header_size: u64,
        pending: Pending,
    ) -> Result<Entry, LayerError> {
        let Pending { pax, long_name, long_link } = pending;
        let field = header.as_old();
        let name = long_name
            .or_else(|| pax.sparse.name.clone().filter(|_| matches!(pax.sparse.form(), Ok(Some(_)))))
            .or_else(|| pax.path.clone())
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = long_link
            .or_else(|| pax.linkpath.clone())
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());

        self.entries += 1;
        self.limit("entries", self.entries, self.limits.entries, &name)?;
        self.limit("path bytes", name.len() as u64, self.limits.path as u64, &name)?;
        self.limit("path bytes", link.len() as u64, self.limits.path as u64, &name)?;
        self.limit("extended attributes", pax.xattrs.len() as u64, self.limits.xattrs as u64, &name)?;
        let largest = pax.xattrs.iter().map(|(_, v)| v.len()).max().unwrap_or(0);
        self.limit("extended attribute bytes", largest as u64, self.limits.xattr_value as u64, &name)?;

        let refuse = |why: Cow<'static, str>| LayerError::Refused { entry: name.as_slice().into(), why };
        let bad = |field: &str| refuse(format!("its {field} field is not a number").into());
        let id = |what: &str, pax: Option<i64>, bytes: &[u8]| -> Result<u32, LayerError> {
            let value = pax.or_else(|| number::field(bytes)).ok_or_else(|| bad(what))?;
            // Go hands a negative id to the kernel, which takes its lower 32 bits, and -1 for "leave it": with root.
            match i32::try_from(value).map(|n| n as u32).or(u32::try_from(value)) {
                Ok(u32::MAX) => Ok(0),
                Ok(id) => Ok(id),
                Err(_) => Err(refuse(format!("its {what} is not between -2147483648 and 4294967295").into())),
            }
        };
        let uid = id("uid", pax.uid, &field.uid)?;
        let gid = id("gid", pax.gid, &field.gid)?;
        let raw_mode = number::field(&field.mode).ok_or_else(|| bad("mode"))?;
        let header_time = number::field(&field.mtime).map(|sec| Time { sec, nsec: 0 });
        let mtime = pax.mtime.or(header_time).ok_or_else(|| bad("mtime"))?;
        let device = || -> Result<(u32, u32), LayerError> {
            let number = |n: std::io::Result<Option<u32>>| n.ok().flatten().ok_or_else(|| bad("device number"));
            Ok((number(header.device_major())?, number(header.device_minor())?))
        };

        // Entries of these kinds have no data whatever their size says; so Go reads them.
        let kind = match flag {
            b'1' => Kind::Hardlink { target: link },
            b'2' => Kind::Symlink { target: link },
            b'3' => device().map(|(major, minor)| Kind::Char { major, minor })?,
            b'4' => device().map(|(major, minor)| Kind::Block { major, minor })?,
            b'5' => Kind::Dir,
            b'6' => Kind::Fifo,
            _ => {
                let size = pax.size.unwrap_or(header_size);
                self.set_data(size)?;
                match flag {
                    // Before POSIX a directory was a file with a slash at its end.
                    0 if name.ends_with(b"/") => Kind::Dir,
                    // GNU incremental dump: a directory whose data lists its files.
                    b'D' => Kind::Dir,
                    0 | b'0' | b'7' if raw_mode & 0o170000 == 0o140000 => Kind::Socket,
                    0 | b'0' | b'7' => self.file(&pax, &name)?,
                    b'S' => self.old_sparse(header, &name)?,
                    other => {
                        let why = format!("its type `{}` is unknown", other.escape_ascii());
                        return Err(refuse(why.into()));
                    }
                }
            }
        };
        let mode = (raw_mode & 0o7777) as u32;
        Ok(Entry { name, kind, mode, uid, gid, mtime, atime: pax.atime, xattrs: pax.xattrs })
    }

    fn limit(&self, what: &'static str, value: u64, limit: u64, entry: &[u8]) -> Result<(), LayerError> {
        if value > limit {
            let entry = entry[..entry.len().min(200)].into();
            return Err(LayerError::Limit { what, limit, entry });
        }
        Ok(())
    }

    fn file(&mut self, pax: &Pax, name: &[u8]) -> Result<Kind, LayerError> {
        let refuse = |why| LayerError::refused(name, why);
        let stored = self.left;
        let pieces = match pax.sparse.form().map_err(refuse)? {
            None => return Ok(Kind::File { size: stored, sparse: None }),
            Some(Form::Records) => pax.sparse.pieces().map_err(refuse)?,
            Some(Form::InData) => self.map_in_data(name)?,
        };
        let size = pax.sparse.size.ok_or_else(|| refuse("it is a sparse file without a size".into()))?;
        self.sparse(pieces, size, name)
    }

    fn sparse(&self, pieces: Vec<(u64, u64)>, size: u64, name: &[u8]) -> Result<Kind, LayerError> {
        self.limit("sparse map entries", pieces.len() as u64, self.limits.sparse_map as u64, name)?;
        self.limit("sparse file bytes", size, self.limits.sparse_size, name)?;
        let sparse = Sparse::checked(pieces, size, self.left).map_err(|why| LayerError::refused(name, why))?;
        Ok(Kind::File { size: self.left, sparse: Some(sparse) })
    }

    /// Format 1.0: decimal numbers, one a line, in whole blocks before the data.
    fn map_in_data(&mut self, name: &[u8]) -> Result<Vec<(u64, u64)>, LayerError> {
        let refuse = |why: &'static str| LayerError::refused(name, why);
        let (mut numbers, mut line) = (Vec::new(), Vec::new());
        let mut wanted = 1;
        while numbers.len() < wanted {
            if self.left < BLOCK as u64 {
                return Err(refuse("its sparse map does not end"));
            }
            let block = self.tape.block()?.ok_or_else(|| refuse("its sparse map is cut off"))?;
            self.left -= BLOCK as u64;
            for &b in &block {
                if b != b'\n' {
                    line.push(b);
                    if line.len() > 20 {
                        return Err(refuse("its sparse map holds something that is not a number"));
                    }
                    continue;
                }
                let n = number::decimal(&line).ok_or_else(|| refuse("its sparse map holds no number"))?;
                line.clear();
                numbers.push(n);
                if numbers.len() == 1 {
                    self.limit("sparse map entries", n, self.limits.sparse_map as u64, name)?;
                    wanted = 1 + 2 * n as usize;
                }
                if numbers.len() == wanted {
                    break;
                }
            }
        }
        Ok(numbers[1..].chunks_exact(2).map(|p| (p[0], p[1])).collect())
    }

    fn old_sparse(&mut self, header: &::tar::Header, name: &[u8]) -> Result<Kind, LayerError> {
        let refuse = |why: &'static str| LayerError::refused(name, why);
        let gnu = header.as_gnu().ok_or_else(|| refuse("it is a sparse file without a GNU header"))?;
        let size = number::unsigned(&gnu.realsize).ok_or_else(|| refuse("its real size is not a number"))?;
        let mut pieces = Vec::new();
        let mut add = |offset: &[u8], len: &[u8]| -> Result<(), LayerError> {
            if offset[0] == 0 || len[0] == 0 {
                return Ok(());
            }
            let number = |b| number::unsigned(b).ok_or_else(|| refuse("its sparse map holds no number"));
            pieces.push((number(offset)?, number(len)?));
            Ok(())
        };
        gnu.sparse.iter().try_for_each(|s| add(&s.offset, &s.numbytes))?;
        let mut more = gnu.isextended[0] != 0;
        let mut blocks = 0;
        while more {
            // Extension blocks stand between the header and the data and are not counted in its size.
            let block = self.tape.block()?.ok_or_else(|| refuse("its sparse map is cut off"))?;
            blocks += 1;
            self.limit("sparse map entries", blocks * 21, self.limits.sparse_map as u64, name)?;
            block[..504].chunks_exact(24).try_for_each(|s| add(&s[..12], &s[12..]))?;
            more = block[504] != 0;
        }
        self.sparse(pieces, size, name)
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|b| *b == 0).map_or(bytes, |n| &bytes[..n])
}

/// The sum of a header's bytes with its checksum field taken as blanks: unsigned, and signed as some old tars had it.
fn checksums(block: &[u8; BLOCK]) -> (u64, i64) {
    let bytes = block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { b' ' } else { *b });
    bytes.fold((0, 0), |(u, s), b| (u + u64::from(b), s + i64::from(b as i8)))
}
