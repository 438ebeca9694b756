use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Method;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use notification_access::Slot;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower_service::Service;

use crate::Capacity;
use crate::Doorkeeper;
use crate::answer;
use crate::handoff::Handoff;
use crate::head::Head;
use crate::http2::{self, Idle, Requests, Tasks};
use crate::peek;
use crate::peer::PeerWatch;
use crate::plain;
#[cfg(unix)]
use crate::shards::{self, ShardConfig, Shards};
use crate::stream;
use crate::tls::{self, Tls, TlsIo};
use crate::wire::{CountedIo, Wire, WireIo};

/// How connections are treated.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// How long a client may take to send the head of a request, and a
    /// connection may be without one.
    pub head_timeout: Duration,
    /// How long a peer may fail to confirm what it was sent before the
    /// connection is given up. Not how long it may not read.
    pub peer_timeout: Duration,
    /// How long a peer may take nothing of an answer that is no stream.
    pub answer_timeout: Duration,
    /// How much the kernel holds for a peer that does not read, in bytes.
    pub send_buffer: usize,
    /// After how long a silence a stream gets a comment.
    pub heartbeat: Duration,
    /// The same, of streams in other words that say something sooner.
    pub soonest_heartbeat: Duration,
    /// How long connections may take to finish once the server stops.
    pub drain_timeout: Duration,
    /// Who may connect.
    pub doorkeeper: Doorkeeper,
    /// Where connections are counted.
    pub capacity: Capacity,
    /// What they are encrypted with; none if they are not.
    pub tls: Option<Tls>,
}

impl ServeConfig {
    fn tune(&self, socket: &TcpStream) -> std::io::Result<()> {
        // Small writes that wait for each other would add 40 ms to every event.
        socket.set_nodelay(true)?;
        SockRef::from(socket).set_send_buffer_size(self.send_buffer)
    }

    #[cfg(unix)]
    fn shard(&self) -> ShardConfig {
        ShardConfig {
            heartbeat: self.heartbeat,
            soonest: self.soonest_heartbeat,
            peer_timeout: self.peer_timeout,
        }
    }
}

/// How much of a connection is buffered in this process, in bytes: also the
/// largest head of a request.
const BUFFER: usize = 16 << 10;

/// How long to wait when the machine is out of file descriptors or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How hyper speaks HTTP here.
pub(crate) fn protocol(head_timeout: Duration) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(BUFFER);
    protocol
}

/// What a connection holds while it is open: that it is waited for, and its
/// place among those of its address.
pub(crate) type Place = (TaskTrackerToken, Slot);

/// The connections of one listener.
struct Sockets {
    router: Router,
    config: ServeConfig,
    #[cfg(unix)]
    shards: Shards,
    /// They finish what they are at, and take no further request.
    stopping: CancellationToken,
    /// They end at once.
    killed: CancellationToken,
    tasks: TaskTracker,
    /// Answers over HTTP/2, which end soon after their connection.
    answers: TaskTracker,
}

/// Accepts connections until `stop`. Those that are open then go on
/// undisturbed until they are [to finish](Open::finish).
///
/// # Errors
///
/// If the threads that serve streams cannot be started.
pub fn serve(
    listener: TcpListener,
    router: Router,
    config: ServeConfig,
    stop: CancellationToken,
) -> std::io::Result<impl Future<Output = Open>> {
    let sockets = Arc::new(Sockets {
        router,
        #[cfg(unix)]
        shards: Shards::start(config.shard(), &Handle::current())?,
        tasks: config.capacity.connections.clone(),
        answers: TaskTracker::new(),
        config,
        stopping: CancellationToken::new(),
        killed: CancellationToken::new(),
    });
    Ok(async move {
        let tls = sockets.config.tls.clone();
        let watching = async {
            match tls {
                Some(tls) => tls.watch().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sockets.accept(listener, stop) => {}
            () = watching => {}
        }
        Open(sockets)
    })
}

/// Connections that are open when no more are accepted.
#[must_use]
pub struct Open(Arc<Sockets>);

impl Open {
    /// Waits for them, and cuts what has not finished in time.
    pub async fn finish(self) {
        self.0.drain().await;
    }
}

impl Sockets {
    async fn accept(self: &Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let mut accepting = true;
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((socket, peer)) => {
                    if !std::mem::replace(&mut accepting, true) {
                        tracing::info!("connections can be accepted again");
                    }
                    if !self.config.capacity.admits() {
                        continue;
                    }
                    let begun = self.clone().admit(socket, peer);
                    self.tasks.spawn(async move {
                        if let Err(error) = begun.await {
                            tracing::debug!(%peer, %error, "connection gone before it began");
                        }
                    });
                }
                // One that was gone before it was accepted says nothing of the next.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if std::mem::replace(&mut accepting, false) {
                        tracing::error!(%error, "cannot accept connections for the moment");
                    }
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    /// Lets a connection in, if there is a place for it.
    async fn admit(self: Arc<Self>, socket: TcpStream, peer: SocketAddr) -> std::io::Result<()> {
        match self.config.doorkeeper.admit(peer.ip()) {
            Ok(slot) => self.begin(socket, peer, slot).await,
            Err(_) if self.config.tls.is_some() => Ok(()),
            Err(limited) => Box::pin(plain::say(socket, limited.into())).await,
        }
    }

    /// Looks what a connection wants, and brings it to who serves that.
    async fn begin(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        slot: Slot,
    ) -> std::io::Result<()> {
        self.config.tune(&socket)?;
        if let Some(tls) = self.config.tls.clone() {
            return Box::pin(self.secure(socket, peer, tls)).await;
        }
        let (head, length) = tokio::select! {
            looked = tokio::time::timeout(self.patience(), peek::peek(&socket)) => looked??,
            () = self.stopping.cancelled() => return Ok(()),
        };
        #[cfg(unix)]
        // A `POST` is one only if it asks for a stream.
        if let Head::Plain(request) = head
            && (request.method() == Method::POST || stream::is_path(request.uri().path()))
        {
            return self.stream(socket, peer, *request, length, slot).await;
        }
        // In a box, so that who has not said anything yet needs little.
        Box::pin(self.requests(socket, peer, None)).await;
        Ok(())
    }

    /// How long a client may take to send the head of a request.
    fn patience(&self) -> Duration {
        self.config.capacity.patience(self.config.head_timeout)
    }

    /// Encrypts a connection, and serves its requests.
    async fn secure(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        tls: Tls,
    ) -> std::io::Result<()> {
        let (wire, io) = tokio::select! {
            secured = tls.accept(socket, peer, self.patience(), self.config.answer_timeout) => secured?,
            () = self.stopping.cancelled() => return Ok(()),
        };
        // In boxes, as the handshake needs much for a short time.
        match tls::is_http_2(&io) {
            true => Box::pin(self.http_2(wire, io)).await,
            false => Box::pin(self.http_1(wire, io, None)).await,
        }
        Ok(())
    }

    /// Admits a stream as any other request, and hands it to a shard.
    #[cfg(unix)]
    async fn stream(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        request: axum::http::Request<Bytes>,
        length: usize,
        slot: Slot,
    ) -> std::io::Result<()> {
        let wire = Arc::new(Wire::new(socket.into_std()?, peer));
        let handoff = Handoff::new(wire.clone());
        let mut request = request.map(Body::from);
        request.extensions_mut().insert(handoff.clone());
        let mut router = self.router.clone();
        let Ok(response) = tokio::select! {
            response = router.call(request) => response,
            () = self.killed.cancelled() => return Ok(()),
        };
        let left = handoff.take();
        drop(handoff);
        let Some(mut stream) = left else {
            // Hyper reads the request again, and finds it answered. Somebody may
            // be looking at the wire right now.
            let socket = match Arc::try_unwrap(wire) {
                Ok(wire) => wire.into_stream(),
                Err(wire) => wire.stream().try_clone()?,
            };
            let socket = TcpStream::from_std(socket)?;
            Box::pin(self.requests(socket, peer, Some(response))).await;
            return Ok(());
        };
        peek::consume(wire.stream(), length)?;
        let mut opening = answer::head(&response.into_parts().0);
        opening.extend_from_slice(&shards::chunk(&stream.opening));
        stream.opening = opening.into();
        self.shards.take(wire, stream, (self.tasks.token(), slot));
        Ok(())
    }

    /// Serves requests, of which the first may have been answered already.
    async fn requests(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        answered: Option<Response>,
    ) {
        let wire = Arc::new(Wire::new(socket, peer));
        let io = WireIo::new(Arc::clone(&wire), self.config.answer_timeout);
        self.http_1(wire, io, answered).await;
    }

    async fn http_1<T>(self: Arc<Self>, wire: Arc<Wire>, io: T, answered: Option<Response>)
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (router, requested) = (self.router.clone(), Arc::clone(&wire));
        let answered = Mutex::new(answered);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let answer = answered.lock().expect("no holder panics").take();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Arc::clone(&requested));
            let mut router = router.clone();
            async move {
                match answer {
                    // All of its body is there, and was read to answer it.
                    Some(answer) => {
                        let _ = request.into_body().collect().await;
                        Ok(answer)
                    }
                    None => router.call(request).await,
                }
            }
        });
        let io = TokioIo::new(CountedIo::new(io, Arc::clone(&wire)));
        let connection = protocol(self.patience()).serve_connection(io, service);
        self.carry(&wire, connection, None).await;
    }

    async fn http_2(self: Arc<Self>, wire: Arc<Wire>, io: TlsIo) {
        wire.multiplex();
        let (router, requested) = (self.router.clone(), Arc::clone(&wire));
        let requests = Arc::new(Requests::default());
        let idle = Idle::new(Arc::clone(&requests), self.patience(), Instant::now());
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let answering = requests.begin();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Arc::clone(&requested));
            let mut router = router.clone();
            async move { Ok::<_, Infallible>(answering.with(router.call(request).await?)) }
        });
        let io = TokioIo::new(CountedIo::new(io, Arc::clone(&wire)));
        let connection = http2::protocol(Tasks(self.answers.clone())).serve_connection(io, service);
        self.carry(&wire, connection, Some(idle)).await;
    }

    /// Lets a connection do its work until it ends, its peer is gone, or the
    /// server stops.
    async fn carry<C>(&self, wire: &Wire, connection: C, mut idle: Option<Idle>)
    where
        C: GracefulConnection<Error = hyper::Error>,
    {
        let mut watch = PeerWatch::new(self.config.peer_timeout);
        let mut connection = std::pin::pin!(connection);
        let mut looks = tokio::time::interval(watch.interval());
        let mut is_stopping = false;
        let mut idle_since = None;
        loop {
            tokio::select! {
                finished = connection.as_mut() => {
                    if let Err(error) = finished {
                        tracing::debug!(%error, "connection ended");
                    }
                    break;
                }
                () = self.stopping.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.killed.cancelled(), if is_stopping => break,
                _ = looks.tick() => {
                    let now = Instant::now();
                    let confirmation = wire.confirmation();
                    if confirmation.is_some_and(|c| watch.is_gone(now, c)) {
                        tracing::info!("connection given up: its peer confirms nothing");
                        break;
                    }
                    if !idle.as_mut().is_some_and(|idle| idle.is_over(now)) {
                        continue;
                    }
                    // It is told first, so that no request gets lost.
                    let since = *idle_since.get_or_insert_with(|| {
                        connection.as_mut().graceful_shutdown();
                        now
                    });
                    if now.duration_since(since) >= self.config.head_timeout {
                        break;
                    }
                }
            }
        }
    }

    async fn drain(&self) {
        self.tasks.close();
        self.stopping.cancel();
        let timeout = self.config.drain_timeout;
        if tokio::time::timeout(timeout, self.tasks.wait())
            .await
            .is_err()
        {
            let connections = self.tasks.len();
            tracing::warn!(connections, "cut connections that did not finish in time");
            self.killed.cancel();
            #[cfg(unix)]
            self.shards.kill();
            self.tasks.wait().await;
        }
        self.answers.close();
        self.answers.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn config() -> ServeConfig {
        ServeConfig {
            head_timeout: Duration::from_secs(10),
            peer_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(30),
            send_buffer: 32 << 10,
            heartbeat: Duration::from_secs(1),
            soonest_heartbeat: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(1),
            doorkeeper: Doorkeeper::default(),
            capacity: Capacity::of_files(None),
            tls: None,
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn sockets_are_tuned_as_configured() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (_client, (socket, _)) = (client.unwrap(), accepted.unwrap());
        config().tune(&socket).unwrap();
        let options = SockRef::from(&socket);
        assert!(socket.nodelay().unwrap());
        // Linux doubles what it is asked for, to have room for its own data.
        assert_eq!(options.send_buffer_size().unwrap(), 64 << 10);
    }

    #[tokio::test]
    async fn a_request_knows_its_wire_and_can_end_it() {
        let router = Router::new()
            .route(
                "/peer",
                get(|Extension(wire): Extension<Arc<Wire>>| async move { wire.peer().to_string() }),
            )
            .route(
                "/abort",
                get(|Extension(wire): Extension<Arc<Wire>>| async move {
                    wire.abort();
                    std::future::pending::<()>().await;
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, router, config(), stop.clone()).unwrap());

        let mut client = TcpStream::connect(address).await.unwrap();
        let requests =
            "GET /peer HTTP/1.1\r\nHost: a\r\n\r\nGET /abort HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(requests.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        let peer = client.local_addr().unwrap().to_string();
        assert!(answer.ends_with(&peer), "{answer}");

        stop.cancel();
        serving.await.unwrap().finish().await;
    }
}
