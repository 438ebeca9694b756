use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use notification_hub::Frame;

use super::Socket;

/// How many pieces one call to the kernel takes.
const SLICES: usize = 64;

/// What a connection has yet to write. Empty, and without memory of its own,
/// as long as the socket takes everything at once.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pieces: VecDeque<Piece>,
    /// How many bytes of the first piece are written.
    written: usize,
}

#[derive(Debug)]
enum Piece {
    Frame(Arc<Frame>),
    Bytes(Bytes),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Frame(frame) => frame.chunk(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Adds events, of which so many bytes are written already.
    pub(crate) fn push_frames(&mut self, frames: &[Arc<Frame>], written: usize) {
        debug_assert!(written == 0 || self.is_empty());
        let frames = frames.iter().cloned().map(Piece::Frame);
        self.pieces.extend(frames);
        self.advance(written);
    }

    /// Adds bytes.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.pieces.push_back(Piece::Bytes(bytes));
    }

    /// Writes as much as the socket takes. Whether that is all.
    pub(crate) fn flush(&mut self, socket: &impl Socket) -> io::Result<bool> {
        while !self.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut skip = self.written;
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(&piece.bytes()[std::mem::take(&mut skip)..]);
                count += 1;
            }
            match socket.write(&slices[..count]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // There may be 10,000 others.
        self.pieces = VecDeque::new();
        Ok(true)
    }

    /// Lets go of what was written.
    fn advance(&mut self, written: usize) {
        self.written += written;
        while let Some(first) = self.pieces.front() {
            let length = first.bytes().len();
            if self.written < length {
                break;
            }
            self.written -= length;
            self.pieces.pop_front();
        }
    }
}

/// `bytes` as one chunk of an HTTP/1.1 body (RFC 9112, section 7.1).
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// The chunk that ends such a body.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
