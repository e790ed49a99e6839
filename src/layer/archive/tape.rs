//! Exact reads from the unpacked stream, with the offset for error messages.

use std::io::BufRead;

use crate::layer::LayerError;

/// Size of a tar block in bytes.
pub(super) const BLOCK: usize = 512;

/// The unpacked stream and how much of it was read.
pub(super) struct Tape<R> {
    source: R,
    pub(super) offset: u64,
}

impl<R: BufRead> Tape<R> {
    pub(super) fn new(source: R) -> Self {
        Tape { source, offset: 0 }
    }

    /// At most `limit` of the bytes at hand; empty only at the end of the stream.
    fn some(&mut self, limit: u64) -> Result<&[u8], LayerError> {
        // The only source that fails is the pipe from the decompressing thread, and only when that thread has gone.
        let bytes = self.source.fill_buf().map_err(|_| LayerError::Stopped)?;
        Ok(&bytes[..bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX))])
    }

    fn consume(&mut self, n: usize) {
        self.source.consume(n);
        self.offset += n as u64;
    }

    pub(super) fn malformed(&self, problem: impl Into<std::borrow::Cow<'static, str>>) -> LayerError {
        LayerError::Tar { offset: self.offset, problem: problem.into() }
    }

    fn ended(&self, wanted: u64) -> LayerError {
        self.malformed(format!("it ends here, expected {wanted} more bytes"))
    }

    /// The next block, or `None` if the stream ends before it.
    pub(super) fn block(&mut self) -> Result<Option<[u8; BLOCK]>, LayerError> {
        let mut block = [0; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            let bytes = self.some((BLOCK - have) as u64)?;
            let n = bytes.len();
            block[have..have + n].copy_from_slice(bytes);
            if n == 0 {
                return if have == 0 { Ok(None) } else { Err(self.ended((BLOCK - have) as u64)) };
            }
            self.consume(n);
            have += n;
        }
        Ok(Some(block))
    }

    /// Passes exactly `n` bytes on, in pieces as large as they came.
    pub(super) fn pass(
        &mut self,
        mut n: u64,
        mut to: impl FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        while n > 0 {
            let bytes = self.some(n)?;
            let len = bytes.len();
            if len == 0 {
                return Err(self.ended(n));
            }
            to(bytes)?;
            self.consume(len);
            n -= len as u64;
        }
        Ok(())
    }

    /// Passes over `n` bytes; whether there were so many.
    pub(super) fn skip(&mut self, mut n: u64) -> Result<bool, LayerError> {
        while n > 0 {
            let len = self.some(n)?.len();
            if len == 0 {
                return Ok(false);
            }
            self.consume(len);
            n -= len as u64;
        }
        Ok(true)
    }

    /// Reads and forgets the rest of the stream.
    pub(super) fn drain(&mut self) -> Result<(), LayerError> {
        loop {
            match self.some(u64::MAX)?.len() {
                0 => return Ok(()),
                n => self.consume(n),
            }
        }
    }
}
