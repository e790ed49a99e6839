//! Response bodies: a range of a file in bounded pieces, and a wrapper that counts how much went out.

use super::observer::Report;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;

/// One piece. A connection holds at most two: one on its way out, one being read.
const PIECE: u64 = 256 << 10;

/// Reads `left` bytes of a file from `offset`, off the runtime's thread, one piece ahead of the network.
pub(super) struct FileBody {
    file: Arc<File>,
    offset: u64,
    /// Not yet being read.
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// Not yet handed out.
    owed: u64,
}

impl FileBody {
    pub(super) fn new(file: Arc<File>, offset: u64, len: u64) -> Self {
        FileBody { file, offset, left: len, reading: None, owed: len }
    }

    fn read_on(&mut self) {
        let (file, offset, len) = (Arc::clone(&self.file), self.offset, self.left.min(PIECE));
        if len == 0 {
            return;
        }
        self.offset += len;
        self.left -= len;
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; len as usize];
            file.read_exact_at(&mut piece, offset)?;
            Ok(Bytes::from(piece))
        }));
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.reading.is_none() {
            self.read_on();
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let piece = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).flatten();
        self.reading = None;
        match &piece {
            Ok(piece) => {
                self.owed -= piece.len() as u64;
                self.read_on();
            }
            Err(_) => (self.left, self.owed) = (0, 0),
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.owed == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.owed)
    }
}

/// Counts what goes out, for the report on the request, which is made when this is dropped.
pub(super) struct Watched<B> {
    pub(super) inner: B,
    pub(super) report: Report,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.report.access.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
