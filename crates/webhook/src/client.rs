use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::{Endpoint, Guard};

/// How much of an answer is read, in bytes. Beyond it the connection is closed.
const MAX_ANSWER: usize = 16 << 10;

/// How many connections to one place wait for the next delivery, and how long.
const MAX_IDLE: usize = 8;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Finds the addresses of hosts.
#[async_trait]
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// The addresses of a host, in the order in which they are tried.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Clone, Debug)]
pub struct SystemResolver(Arc<Semaphore>);

/// How many hosts are looked for at once: each has a thread until that is over, also
/// when nobody waits for it any more.
const LOOKUPS: usize = 64;

impl Default for SystemResolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKUPS)))
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let permit = self.0.clone().acquire_owned().await;
        let host = host.to_owned();
        let look = move || {
            let _permit = permit;
            let found = (host, 0).to_socket_addrs()?;
            Ok(found.map(|address| address.ip()).collect())
        };
        tokio::task::spawn_blocking(look).await?
    }
}

/// Why a receiver gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody listens, or nobody is reached.
    Refused,
    /// Its name has no address.
    Unresolved,
    /// None of its addresses is one that the server connects to.
    Blocked,
    /// It is not who it should be, or does not speak TLS.
    Tls,
    /// It took too long.
    TimedOut,
    /// It broke off.
    Broken,
}

/// What a receiver said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    /// If it was asked for, and is not too large.
    pub(crate) body: Option<Bytes>,
}

/// Sends requests to receivers: directly, following no redirect, over connections
/// that stay open, and only to addresses that its guard permits. An address is
/// looked at when it is connected to, and a connection stays with the address that
/// it was made to, so a name that changes its mind changes nothing.
#[derive(Debug)]
pub(crate) struct Client {
    /// Made when something is first sent: to read whom a platform trusts takes a while.
    sender: OnceLock<Sender>,
    resolve: Arc<dyn Resolve>,
    guard: Arc<Guard>,
    authorities: Vec<CertificateDer<'static>>,
    timeout: Duration,
}

type Sender = legacy::Client<HttpsConnector<HttpConnector<GuardedResolver>>, Full<Bytes>>;

impl Client {
    /// Trusts `authorities`, or if there are none those that the platform trusts.
    pub(crate) fn new(
        guard: Arc<Guard>,
        resolve: Arc<dyn Resolve>,
        authorities: Vec<CertificateDer<'static>>,
        timeout: Duration,
    ) -> Self {
        Self {
            sender: OnceLock::new(),
            resolve,
            guard,
            authorities,
            timeout,
        }
    }

    fn sender(&self) -> &Sender {
        self.sender.get_or_init(|| {
            let resolver = GuardedResolver {
                resolve: self.resolve.clone(),
                guard: self.guard.clone(),
            };
            let mut connector = HttpConnector::new_with_resolver(resolver);
            connector.enforce_http(false);
            connector.set_nodelay(true);
            connector.set_connect_timeout(Some(self.timeout));
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls(&self.authorities))
                // Plain HTTP is refused when an endpoint is read, but to this machine.
                .https_or_http()
                .enable_all_versions()
                .wrap_connector(connector);
            legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_max_idle_per_host(MAX_IDLE)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .build(connector)
        })
    }

    /// Posts JSON.
    pub(crate) async fn post(
        &self,
        to: &Endpoint,
        headers: HeaderMap,
        body: Bytes,
        wants_body: bool,
    ) -> Result<Answer, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = to.uri().clone();
        *request.headers_mut() = headers;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        self.send(to, request, wants_body).await
    }

    /// Gets a document of an endpoint's place.
    pub(crate) async fn get(&self, of: &Endpoint, document: Uri) -> Result<Answer, Failure> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = document;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        self.send(of, request, true).await
    }

    async fn send(
        &self,
        to: &Endpoint,
        mut request: Request<Full<Bytes>>,
        wants_body: bool,
    ) -> Result<Answer, Failure> {
        // What is an address already is not resolved.
        if to.address().is_some_and(|it| !self.guard.permits(it)) {
            return Err(Failure::Blocked);
        }
        let agent = concat!("notification-server/", env!("CARGO_PKG_VERSION"));
        let agent = HeaderValue::from_static(agent);
        request.headers_mut().insert(USER_AGENT, agent);
        let deadline = tokio::time::Instant::now() + self.timeout;
        let answered = tokio::time::timeout_at(deadline, self.sender().request(request)).await;
        let answer = answered.map_err(|_| Failure::TimedOut)?;
        let answer = answer.map_err(|error| Failure::of(&error))?;
        let (parts, body) = answer.into_parts();
        // Read to its end, so that the connection can be used again; what it says
        // is of no interest, nor whether it gets to that end.
        let body = Limited::new(body, MAX_ANSWER).collect();
        let body = tokio::time::timeout_at(deadline, body).await;
        let body = match body {
            Ok(Ok(body)) => Some(body.to_bytes()),
            Err(_) if wants_body => return Err(Failure::TimedOut),
            Ok(Err(_)) | Err(_) => None,
        };
        Ok(Answer {
            status: parts.status,
            retry_after: retry_after(&parts.headers),
            body: body.filter(|_| wants_body),
        })
    }
}

/// Trusts `authorities`, or if there are none those that the platform trusts. Where it
/// trusts nobody, no receiver is who it should be.
fn tls(authorities: &[CertificateDer<'static>]) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them");
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().cloned());
    if !authorities.is_empty() {
        return tls.with_root_certificates(roots).with_no_client_auth();
    }
    match tls.clone().with_native_roots() {
        Ok(tls) => tls.with_no_client_auth(),
        Err(error) => {
            tracing::error!(%error, "this platform has no certificate authorities, so no https receiver can be reached; give some with webhooks.ca_file");
            tls.with_root_certificates(roots).with_no_client_auth()
        }
    }
}

/// What an answer says of when to come again (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

impl Failure {
    fn of(error: &legacy::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(it) = cause {
            if let Some(resolution) = it.downcast_ref::<NotResolved>() {
                return match resolution {
                    NotResolved::Blocked => Self::Blocked,
                    NotResolved::Unknown => Self::Unresolved,
                };
            }
            if it.is::<rustls::Error>() {
                return Self::Tls;
            }
            if let Some(error) = it.downcast_ref::<io::Error>() {
                // An error within is not a source of this one.
                let within = error.get_ref().map(|it| it as &(dyn Error + 'static));
                match within {
                    Some(within) => {
                        cause = Some(within);
                        continue;
                    }
                    None if error.kind() == io::ErrorKind::TimedOut => return Self::TimedOut,
                    None => {}
                }
            }
            cause = it.source();
        }
        match error.is_connect() {
            true => Self::Refused,
            false => Self::Broken,
        }
    }
}

/// Why a host has no address to connect to.
#[derive(Debug, thiserror::Error)]
enum NotResolved {
    #[error("no address of the host is public")]
    Blocked,
    #[error("the host has no address")]
    Unknown,
}

/// Finds addresses, and passes on those that the guard permits.
#[derive(Clone, Debug)]
struct GuardedResolver {
    resolve: Arc<dyn Resolve>,
    guard: Arc<Guard>,
}

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NotResolved;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NotResolved>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotResolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, host: Name) -> Self::Future {
        let Self { resolve, guard } = self.clone();
        Box::pin(async move {
            let found = resolve.resolve(host.as_str()).await;
            let found = found.map_err(|_| NotResolved::Unknown)?;
            if found.is_empty() {
                return Err(NotResolved::Unknown);
            }
            let permitted = found.into_iter().filter(|it| guard.permits(*it));
            // The port is that of the address.
            let permitted = permitted.map(|address| SocketAddr::new(address, 0));
            let permitted: Vec<_> = permitted.collect();
            match permitted.is_empty() {
                true => Err(NotResolved::Blocked),
                false => Ok(permitted.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each question with the next of its answers.
    #[derive(Debug)]
    struct Fickle(Mutex<Vec<Vec<IpAddr>>>);

    #[async_trait]
    impl Resolve for Fickle {
        async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            Ok(self.0.lock().unwrap().remove(0))
        }
    }

    fn client(answers: &[&[&str]], guard: Guard) -> Client {
        let answers = answers.iter().map(|answer| {
            let addresses = answer.iter().map(|address| address.parse().unwrap());
            addresses.collect()
        });
        let resolve = Arc::new(Fickle(Mutex::new(answers.collect())));
        let timeout = Duration::from_secs(5);
        Client::new(Arc::new(guard), resolve, Vec::new(), timeout)
    }

    async fn post(client: &Client, url: &str) -> Result<Answer, Failure> {
        let to = Endpoint::parse(
            url,
            &Guard {
                allow_loopback: true,
                ..Guard::default()
            },
        );
        let body = Bytes::from_static(b"{}");
        client
            .post(&to.unwrap(), HeaderMap::new(), body, true)
            .await
    }

    /// Says `answer` to whoever connects, as often as it is asked; how often
    /// somebody has connected, and where.
    async fn receiver(answer: &'static str) -> (Arc<Mutex<usize>>, u16) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::<Mutex<usize>>::default();
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                        let _ = socket.write_all(answer.as_bytes()).await;
                    }
                });
            }
        });
        (connections, port)
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    #[tokio::test]
    async fn a_name_that_moves_to_this_machine_is_not_followed() {
        let (connections, port) = receiver(OK).await;
        for inside in ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1"] {
            let client = client(&[&[inside]], Guard::default());
            let sent = post(&client, &format!("https://rebound.example:{port}/")).await;
            assert_eq!(sent.unwrap_err(), Failure::Blocked, "{inside}");
        }
        let client = client(&[], Guard::default());
        let sent = post(&client, &format!("http://127.0.0.1:{port}/")).await;
        assert_eq!(sent.unwrap_err(), Failure::Blocked);
        assert_eq!(*connections.lock().unwrap(), 0);
    }

    #[tokio::test]
    async fn of_several_addresses_only_the_permitted_are_tried() {
        let (connections, port) = receiver(OK).await;
        let guard = Guard {
            allow_loopback: true,
            ..Guard::default()
        };
        let client = client(&[&["10.0.0.1", "127.0.0.1"]], guard);
        let sent = post(&client, &format!("http://localhost:{port}/"))
            .await
            .unwrap();
        assert_eq!(sent.status, 200);
        assert_eq!(*connections.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_connection_stays_with_its_address_and_is_used_again() {
        let (connections, port) = receiver(OK).await;
        let guard = Guard {
            allow_loopback: true,
            ..Guard::default()
        };
        // Were it asked again, the name would be somewhere else.
        let client = client(&[&["127.0.0.1"], &["10.0.0.1"]], guard);
        for _ in 0..3 {
            let sent = post(&client, &format!("http://localhost:{port}/"))
                .await
                .unwrap();
            assert_eq!(sent.body.unwrap(), "ok");
        }
        assert_eq!(*connections.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer() {
        let redirect = "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
        let (connections, port) = receiver(redirect).await;
        let guard = Guard {
            allow_loopback: true,
            ..Guard::default()
        };
        let client = client(&[], guard);
        let sent = post(&client, &format!("http://127.0.0.1:{port}/"))
            .await
            .unwrap();
        assert_eq!(sent.status, 307);
        assert_eq!(*connections.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn what_is_too_large_or_breaks_off_is_not_read() {
        let guard = || Guard {
            allow_loopback: true,
            ..Guard::default()
        };
        let large = "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\nxxxxxxxx";
        let (_, port) = receiver(large).await;
        let hangs = Client {
            timeout: Duration::from_millis(300),
            ..client(&[], guard())
        };
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(post(&hangs, &url).await.unwrap_err(), Failure::TimedOut);
        let (_, port) = receiver("HTTP/1.1 2").await;
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(post(&hangs, &url).await.unwrap_err(), Failure::TimedOut);
        let (_, port) = receiver("nonsense\r\n\r\n").await;
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(post(&hangs, &url).await.unwrap_err(), Failure::Broken);
    }

    #[tokio::test]
    async fn who_is_not_there_and_who_is_nobody() {
        let guard = Guard {
            allow_loopback: true,
            ..Guard::default()
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let client = client(&[&[]], guard);
        let sent = post(&client, &format!("http://127.0.0.1:{port}/")).await;
        assert_eq!(sent.unwrap_err(), Failure::Refused);
        let sent = post(&client, "https://nobody.example/").await;
        assert_eq!(sent.unwrap_err(), Failure::Unresolved);
        let (_, port) = receiver(OK).await;
        let sent = post(&client, &format!("https://127.0.0.1:{port}/")).await;
        assert_eq!(sent.unwrap_err(), Failure::Tls);
    }

    #[test]
    fn when_to_come_again_is_said_in_seconds_or_as_a_date() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        for wrong in ["", "-1", "soon"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
