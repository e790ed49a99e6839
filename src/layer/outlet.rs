//! The unpacked stream as the applying thread reads it, each block hashed for the diff id as it arrives.

use std::io::{self, BufRead, Read};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Instant;

use super::meter::{Meter, Progress};
use super::verify::Hash;
use crate::record::Mono;

/// Unpacked bytes that travel together; the first `len` count.
pub(super) struct Block {
    pub(super) bytes: Box<[u8]>,
    pub(super) len: usize,
}

pub(super) struct Outlet<'p> {
    pub(super) blocks: Receiver<Option<Block>>,
    recycle: SyncSender<Box<[u8]>>,
    now: Block,
    pos: usize,
    ended: bool,
    progress: &'p Progress,
    pub(super) hash: Hash,
    pub(super) verify: Meter,
    pub(super) extract: Meter,
}

impl<'p> Outlet<'p> {
    pub(super) fn new(blocks: Receiver<Option<Block>>, recycle: SyncSender<Box<[u8]>>, progress: &'p Progress) -> Self {
        let now = Block { bytes: Box::default(), len: 0 };
        let (verify, extract) = (Meter::default(), Meter::default());
        Outlet { blocks, recycle, now, pos: 0, ended: false, progress, hash: Hash::default(), verify, extract }
    }

    /// Throws away what comes, until the end or `until`. Returns whether the inflating thread has come to its end.
    pub(super) fn discard(&mut self, until: Instant) -> bool {
        while !self.ended {
            match self.blocks.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Some(block)) => drop(self.recycle.try_send(block.bytes)),
                Ok(None) => self.ended = true,
                Err(e) => return e == RecvTimeoutError::Disconnected,
            }
        }
        true
    }
}

impl Read for Outlet<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let have = self.fill_buf()?;
        let n = have.len().min(buf.len());
        buf[..n].copy_from_slice(&have[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Outlet<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.pos == self.now.len && !self.ended {
            self.progress.extracted.store(self.extract.bytes, Ordering::Relaxed);
            let empty = std::mem::take(&mut self.now.bytes);
            if !empty.is_empty() {
                // A full return channel only means that the buffer is freed instead.
                drop(self.recycle.try_send(empty));
            }
            (self.now.len, self.pos) = (0, 0);
            let since = Mono::now();
            self.extract.worked_until(since);
            match self.blocks.recv() {
                Ok(Some(block)) => {
                    let arrived = Mono::now();
                    self.extract.input(since, arrived, block.len);
                    self.hash.update(&block.bytes[..block.len]);
                    self.verify.busy_ns += Mono::now().since(arrived);
                    self.verify.bytes += block.len as u64;
                    self.now = block;
                }
                Ok(None) => self.ended = true,
                Err(_) => return Err(io::Error::other("stopped")),
            }
        }
        Ok(&self.now.bytes[self.pos..self.now.len])
    }

    fn consume(&mut self, n: usize) {
        self.pos += n;
    }
}
