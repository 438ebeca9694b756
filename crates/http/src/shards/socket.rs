use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use crate::peer;
use crate::wire::{Sent, Wire};

/// What a shard needs of a socket. Nothing here waits.
pub(crate) trait Socket {
    /// Writes what it takes of `slices`, in order.
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Reads what the peer says after its request.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Says that nothing more is written.
    fn end(&self) -> io::Result<()>;
    /// How far the peer has come; none where that cannot be asked.
    fn sent(&self) -> Option<Sent>;
    /// Whether and when the peer confirms; none where that cannot be asked.
    fn confirmation(&self) -> Option<peer::Confirmation>;
}

impl Socket for Arc<Wire<TcpStream>> {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut stream = self.stream();
        match slices {
            // The kernel is quicker with this one.
            [one] => stream.write(one),
            many => stream.write_vectored(many),
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream();
        stream.read(buffer)
    }

    fn end(&self) -> io::Result<()> {
        Wire::end(self)
    }

    fn sent(&self) -> Option<Sent> {
        Wire::sent(self)
    }

    fn confirmation(&self) -> Option<peer::Confirmation> {
        Wire::confirmation(self)
    }
}
