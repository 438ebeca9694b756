use std::future::poll_fn;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::task::ready;

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use crate::head::{self, Head, LOOK};
use crate::tls::HANDSHAKE;

/// Waits until a client has said something, and looks what it is: that, and how
/// many bytes. They stay where they are.
pub(crate) async fn peek(socket: &TcpStream) -> io::Result<(Head, usize)> {
    poll_fn(|cx| {
        // Not kept while there is nothing.
        let mut buffer = [MaybeUninit::uninit(); LOOK];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        let length = ready!(socket.poll_peek(cx, &mut buffer))?;
        if buffer.filled().first() == Some(&HANDSHAKE) {
            let detail = "it speaks TLS, which is not set up here";
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail)).into();
        }
        Ok((head::read(buffer.filled()), length)).into()
    })
    .await
}

/// Waits for the first byte that a client sends, and leaves it where it is.
/// None if the client says nothing more.
pub(crate) async fn first(socket: &TcpStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let length = socket.peek(&mut byte).await?;
    Ok(byte[..length].first().copied())
}

/// Takes away so many bytes that were looked at.
pub(crate) fn consume(mut socket: &std::net::TcpStream, length: usize) -> io::Result<()> {
    let mut buffer = [0; LOOK];
    socket.read_exact(&mut buffer[..length])
}
