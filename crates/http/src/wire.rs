use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use notification_hub::Peer;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::peer::{AsHandle, Confirmation, Socket};

/// An accepted connection, shared by who serves it and the streams on it. Who
/// holds it may ask about it and end it; only one of them reads and writes: its
/// [`WireIo`], if hyper serves it, else its shard.
#[derive(Debug)]
pub(crate) struct Wire<S = TcpStream> {
    stream: S,
    peer: SocketAddr,
    /// How often everything that was to be written had been.
    flushes: AtomicU64,
    /// Whether several answers come over it at once.
    is_multiplexed: AtomicBool,
    /// Our end of it was closed, which counts as a byte that is sent.
    ended: AtomicBool,
    /// What is being written is a stream.
    is_stream: AtomicBool,
}

/// How far a peer has come with what was written to it, in bytes. The counts
/// need not begin at zero, but they begin together: once a later `confirmed`
/// is at least an earlier `written`, all that had been written then has
/// reached the peer's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// What the peer's kernel has confirmed. Not what the peer has read.
    pub(crate) confirmed: u64,
    /// What our kernel has been given.
    pub(crate) written: u64,
}

impl<S: AsHandle> Wire<S> {
    pub(crate) fn new(stream: S, peer: SocketAddr) -> Self {
        Self {
            stream,
            peer,
            flushes: AtomicU64::new(0),
            is_multiplexed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            is_stream: AtomicBool::new(false),
        }
    }

    /// The socket, which its owner alone reads and writes.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// The socket, to be shared in another way.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    /// Says that nothing more is written, as the peer will see.
    pub(crate) fn end(&self) -> io::Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        match SockRef::from(&self.stream).shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    /// Says whether what is written is a stream, of which the peer may take
    /// nothing for as long as it likes: what it has not taken is in the log.
    pub(crate) fn carries_stream(&self, is_stream: bool) {
        self.is_stream.store(is_stream, Ordering::Relaxed);
    }

    /// Whether and when the peer confirms. None where that cannot be asked.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        Socket::of(&self.stream).confirmation()
    }

    /// Ends the connection, whatever its peer does: what is read from now on
    /// is the end, and what is written fails. The peer may still get
    /// what the kernel has been given.
    pub(crate) fn abort(&self) {
        self.ended.store(true, Ordering::Relaxed);
        // Fails if the connection has ended already.
        let _ = SockRef::from(&self.stream).shutdown(Shutdown::Both);
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How often the connection had nothing left to write, as its
    /// [`CountedIo`] counts. What hyper had put into its own buffer before this
    /// grew is the kernel's: it flushes only when that is empty.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// Says that it speaks HTTP/2.
    pub(crate) fn multiplex(&self) {
        self.is_multiplexed.store(true, Ordering::Relaxed);
    }

    /// Whether several answers come over it at once, so that what one of them
    /// is to say may wait while the connection has nothing left to write.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.is_multiplexed.load(Ordering::Relaxed)
    }

    /// How many bytes the kernel holds that the peer has not confirmed. None
    /// where that cannot be asked.
    pub(crate) fn bytes_pending(&self) -> Option<u64> {
        Socket::of(&self.stream).pending()
    }

    /// How far the peer has come: exact for a moment during the call. None
    /// where that cannot be asked. Costs three system calls.
    pub(crate) fn sent(&self) -> Option<Sent> {
        let socket = Socket::of(&self.stream);
        let mut confirmed = socket.confirmed()?;
        loop {
            let pending = socket.pending()?;
            let still_confirmed = socket.confirmed()?;
            // A confirmation in between would be counted twice or not at all,
            // whichever was asked first: `written` would never be confirmed, or
            // too early. Each further round takes one, and they run out.
            if still_confirmed == confirmed {
                let end = u64::from(self.ended.load(Ordering::Relaxed));
                return Some(Sent {
                    confirmed,
                    written: confirmed + pending.saturating_sub(end),
                });
            }
            confirmed = still_confirmed;
        }
    }
}

impl<S: AsHandle + Debug + Send + Sync> Peer for Wire<S> {
    fn address(&self) -> SocketAddr {
        self.peer()
    }

    fn bytes_pending(&self) -> Option<u64> {
        Wire::bytes_pending(self)
    }

    fn abort(&self) {
        Wire::abort(self);
    }
}

/// The one end of a [`Wire`] that reads and writes. The connection ends with
/// it, even if others still hold the wire.
///
/// Writing fails once a peer has neither taken anything of an answer nor sent
/// anything for a while: what of an answer is not written is in memory. Peers
/// that publish lines may well send all they have before they read.
#[derive(Debug)]
pub(crate) struct WireIo {
    wire: Arc<Wire>,
    answer_timeout: Duration,
    /// Runs while there is something to write that the kernel does not take.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl WireIo {
    /// A wire has one of these: tokio wakes one reader and one writer.
    pub(crate) fn new(wire: Arc<Wire>, answer_timeout: Duration) -> Self {
        Self {
            wire,
            answer_timeout,
            stalled: None,
        }
    }

    fn poll_write_in_time(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let written = poll_write_with(&self.wire.stream, cx, write);
        if written.is_ready() || self.wire.is_stream.load(Ordering::Relaxed) {
            self.stalled = None;
            return written;
        }
        let timeout = self.answer_timeout;
        let timer = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(timer.as_mut().poll(cx));
        let detail = "the peer takes nothing of its answer";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, detail)))
    }
}

fn poll_write_with(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    write: impl Fn(&TcpStream) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        match write(stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

impl Drop for WireIo {
    fn drop(&mut self) {
        self.wire.abort();
    }
}

impl AsyncRead for WireIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.wire.stream.poll_read_ready(cx))?;
            match self.wire.stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    let again = Instant::now() + self.answer_timeout;
                    if let Some(timer) = &mut self.stalled {
                        timer.as_mut().reset(again);
                    }
                    return Poll::Ready(result.map(drop));
                }
            }
        }
    }
}

impl AsyncWrite for WireIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_in_time(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_in_time(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is written is the kernel's.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.wire.end())
    }
}

/// What hyper reads and writes: the end of a wire, be it encrypted or not, whose
/// flushes are counted where hyper asks for them. Below encryption they would say
/// nothing of what hyper still holds.
#[derive(Debug)]
pub(crate) struct CountedIo<T> {
    io: T,
    wire: Arc<Wire>,
}

impl<T> CountedIo<T> {
    pub(crate) fn new(io: T, wire: Arc<Wire>) -> Self {
        Self { io, wire }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for CountedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for CountedIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Encryption holds records until the kernel takes them, and is flushed when
    /// it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.wire.flushes.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// How much our end buffers, in bytes, and the peer's: too little for what
    /// ours takes, so that something is left over if the peer does not read.
    const SEND_BUFFER: usize = 64 << 10;
    const RECEIVE_BUFFER: u32 = 4 << 10;
    const ANSWER_TIMEOUT: Duration = Duration::from_millis(100);

    /// Writes until that fails.
    async fn write_on(io: &mut (impl AsyncWrite + Unpin)) -> io::ErrorKind {
        loop {
            if let Err(error) = io.write_all(&[b'.'; 4096]).await {
                return error.kind();
            }
        }
    }

    async fn connected() -> (Arc<Wire>, WireIo, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        let (client, accepted) = tokio::join!(client.connect(address), listener.accept());
        let (stream, peer) = accepted.unwrap();
        SockRef::from(&stream)
            .set_send_buffer_size(SEND_BUFFER)
            .unwrap();
        let wire = Arc::new(Wire::new(stream, peer));
        let io = WireIo::new(Arc::clone(&wire), ANSWER_TIMEOUT);
        (wire, io, client.unwrap())
    }

    #[tokio::test]
    async fn data_goes_both_ways() {
        let (wire, mut io, mut client) = connected().await;
        assert_eq!(wire.peer(), client.local_addr().unwrap());

        client.write_all(b"ping").await.unwrap();
        let mut got = [0; 4];
        io.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"ping");

        assert!(io.is_write_vectored());
        let slices = [IoSlice::new(b"po"), IoSlice::new(b""), IoSlice::new(b"ng")];
        assert_eq!(io.write_vectored(&slices).await.unwrap(), 4);
        io.write_all(b", and the end").await.unwrap();
        io.shutdown().await.unwrap();
        let mut got = String::new();
        client.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "pong, and the end");

        // Only one direction was shut down.
        client.write_all(b"bye").await.unwrap();
        drop(client);
        let mut got = String::new();
        io.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "bye");
        io.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn abort_ends_both_directions() {
        let (wire, mut io, mut client) = connected().await;
        let mut buffer = [0; 4];
        let (read, ()) = tokio::join!(io.read(&mut buffer), async { wire.abort() });
        assert_eq!(read.unwrap(), 0);
        let error = io.write(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(client.read(&mut buffer).await.unwrap(), 0);
        wire.abort();
    }

    #[tokio::test]
    async fn the_connection_ends_with_its_io() {
        let (wire, io, mut client) = connected().await;
        drop(io);
        assert_eq!(client.read(&mut [0; 4]).await.unwrap(), 0);
        drop(wire);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_of_an_answer_is_given_up() {
        let (wire, mut io, mut client) = connected().await;
        wire.carries_stream(true);
        let patience = tokio::time::timeout(3 * ANSWER_TIMEOUT, write_on(&mut io));
        assert!(patience.await.is_err(), "of a stream it need not take any");
        wire.carries_stream(false);
        assert_eq!(write_on(&mut io).await, io::ErrorKind::TimedOut);
        drop(io);
        let mut taken = Vec::new();
        let _ = client.read_to_end(&mut taken).await;
        assert!(taken.len() > SEND_BUFFER / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_still_sends_is_not_given_up() {
        let (_wire, io, mut client) = connected().await;
        // The clock does not wait for the kernel.
        client.set_nodelay(true).unwrap();
        let (mut reader, mut writer) = tokio::io::split(io);
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let sending = async {
            for _ in 0..20 {
                client.write_all(b"line\n").await.unwrap();
                tokio::time::sleep(ANSWER_TIMEOUT / 5).await;
            }
            stop.send(()).unwrap();
        };
        let reading = async { while reader.read(&mut [0; 16]).await.is_ok_and(|n| n > 0) {} };
        let writing = async {
            assert_eq!(write_on(&mut writer).await, io::ErrorKind::TimedOut);
            stopped.try_recv().expect("not before it fell silent");
        };
        tokio::select! {
            ((), ()) = async { tokio::join!(sending, writing) } => {}
            () = reading => panic!("the peer did not hang up"),
        }
    }

    #[cfg(target_os = "linux")]
    mod confirmations {
        use super::*;

        async fn confirmed(wire: &Wire, sent: Sent) -> Sent {
            loop {
                let now = wire.sent().unwrap();
                if now.confirmed >= sent.written {
                    return now;
                }
                tokio::task::yield_now().await;
            }
        }

        /// Writes until the kernel takes no more. Returns how much it took.
        async fn fill(io: &mut WireIo) -> u64 {
            let mut taken = 0;
            std::future::poll_fn(|cx| {
                while let Poll::Ready(written) = Pin::new(&mut *io).poll_write(cx, &[b'.'; 4096]) {
                    taken += written.unwrap() as u64;
                }
                Poll::Ready(())
            })
            .await;
            taken
        }

        #[tokio::test]
        async fn what_the_peer_has_is_confirmed() {
            let (wire, mut io, _client) = connected().await;
            let before = wire.sent().unwrap();
            assert_eq!(before.confirmed, before.written);
            io.write_all(b"hello").await.unwrap();
            let sent = wire.sent().unwrap();
            assert_eq!(sent.written, before.written + 5);
            let after = confirmed(&wire, sent).await;
            assert_eq!(after.confirmed, sent.written);
            assert_eq!(after.written, sent.written);
            assert_eq!(wire.bytes_pending(), Some(0));
            let flushes = wire.flushes();
            let mut io = CountedIo::new(io, Arc::clone(&wire));
            io.flush().await.unwrap();
            assert!(wire.flushes() > flushes);
            // The end is not counted with what is still to be confirmed.
            io.shutdown().await.unwrap();
            let ended = wire.sent().unwrap();
            assert!(ended.written <= ended.confirmed);
        }

        #[tokio::test]
        async fn what_a_peer_does_not_take_is_not_confirmed() {
            let (wire, mut io, mut client) = connected().await;
            let before = wire.sent().unwrap();
            let taken = fill(&mut io).await;
            let sent = wire.sent().unwrap();
            assert_eq!(sent.written, before.written + taken);
            assert!(sent.confirmed < sent.written);
            let pending = wire.bytes_pending().unwrap();
            assert!(0 < pending && pending <= taken);

            let reading = tokio::spawn(async move {
                let mut got = Vec::new();
                client.read_to_end(&mut got).await.unwrap();
                got.len() as u64
            });
            confirmed(&wire, sent).await;
            assert_eq!(wire.bytes_pending(), Some(0));
            io.write_all(b"!").await.unwrap();
            drop(io);
            assert_eq!(reading.await.unwrap(), taken + 1);
        }

        #[tokio::test]
        async fn what_is_written_is_exact_while_confirmations_come_in() {
            let (wire, mut io, client) = connected().await;
            let mut client = client.into_std().unwrap();
            client.set_nonblocking(false).unwrap();
            let reading = std::thread::spawn(move || io::copy(&mut client, &mut io::sink()));
            let mut written = wire.sent().unwrap().written;
            for _ in 0..5_000 {
                io.write_all(&[b'.'; 1000]).await.unwrap();
                written += 1000;
                let sent = wire.sent().unwrap();
                assert_eq!(sent.written, written);
                assert!(sent.confirmed <= sent.written);
            }
            drop(io);
            assert_eq!(reading.join().unwrap().unwrap(), 5_000_000);
        }
    }
}
