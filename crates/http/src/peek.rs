use std::future::poll_fn;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::task::ready;

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use crate::head::{self, Head, LOOK};

/// Waits until a client has said something, and looks what it is: that, and how
/// many bytes. They stay where they are.
pub(crate) async fn peek(socket: &TcpStream) -> io::Result<(Head, usize)> {
    poll_fn(|cx| {
        // Not kept while there is nothing.
        let mut buffer = [MaybeUninit::uninit(); LOOK];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        let length = ready!(socket.poll_peek(cx, &mut buffer))?;
        Ok((head::read(buffer.filled()), length)).into()
    })
    .await
}

/// Takes away so many bytes that were looked at.
pub(crate) fn consume(mut socket: &std::net::TcpStream, length: usize) -> io::Result<()> {
    let mut buffer = [0; LOOK];
    socket.read_exact(&mut buffer[..length])
}
