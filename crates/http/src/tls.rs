use std::fmt;
use std::fs::Metadata;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::certificate::{Certificate, HTTP_2, TlsError, TlsFiles};
use crate::wire::{Wire, WireIo};
use crate::{peek, plain};

/// The first byte of a connection that speaks TLS: the type of a record with a
/// handshake (RFC 8446, section 5.1). No method of HTTP begins with it.
pub(crate) const HANDSHAKE: u8 = 0x16;

/// How many bytes of a connection wait to be written once they are encrypted,
/// beside what the kernel holds.
const BUFFER: usize = 16 << 10;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often somebody is told that the certificate ends soon.
const WARN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// An encrypted connection.
pub(crate) type TlsIo = tokio_rustls::server::TlsStream<WireIo>;

/// What connections are encrypted with: a certificate and its key, which may
/// change while the server runs. Cheap to clone.
///
/// Each connection keeps what it began with; so do sessions that are resumed,
/// which is why none outlives the certificate that it began with.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    /// None if the certificate is of our own making.
    files: Option<TlsFiles>,
    state: Mutex<State>,
    expiry: Gauge,
    reload_failures: Counter,
    handshake_failures: Family<FailureLabel, Counter>,
}

struct State {
    certificate: Certificate,
    watched: Watched,
    warned: Option<Instant>,
}

/// What is known of the files without reading them.
#[derive(Default)]
struct Watched {
    /// How they were at the last look.
    last: Option<Stamps>,
    /// How they were when they were read, or could not be.
    tried: Option<Stamps>,
}

/// Why a connection came to nothing before anything was said on it.
#[derive(Debug, thiserror::Error)]
enum HandshakeFailure {
    #[error("it took too long")]
    TimedOut,
    /// By either side.
    #[error("it was broken off: {0}")]
    Broken(std::io::Error),
    #[error("it is plain HTTP, or something else that is not TLS")]
    NotTls,
    /// As those do who only look whether somebody listens.
    #[error("nothing was said")]
    Silent,
}

impl HandshakeFailure {
    /// As it is counted.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::TimedOut => Some("timeout"),
            Self::Broken(_) => Some("broken"),
            Self::NotTls => Some("plain"),
            Self::Silent => None,
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabel {
    reason: &'static str,
}

impl Tls {
    /// Encrypts with the certificate in these files, and with what takes its
    /// place there.
    ///
    /// # Errors
    ///
    /// If they are of no use.
    pub fn from_files(files: TlsFiles) -> Result<Self, TlsError> {
        // Before they are read, so that no change is missed.
        let stamps = Some(Stamps::of(&files));
        let certificate = Certificate::read(&files)?;
        let watched = Watched {
            last: stamps.clone(),
            tried: stamps,
        };
        Ok(Self::new(certificate, Some(files), watched))
    }

    /// Encrypts with a certificate that is made now, that nobody vouches for,
    /// and that ends with this value. It is for this machine's loopback
    /// addresses and for `address`.
    ///
    /// # Errors
    ///
    /// If none can be made.
    pub fn self_signed(address: IpAddr) -> Result<Self, TlsError> {
        let certificate = Certificate::self_signed(address)?;
        Ok(Self::new(certificate, None, Watched::default()))
    }

    fn new(certificate: Certificate, files: Option<TlsFiles>, watched: Watched) -> Self {
        let tls = Self(Arc::new(Shared {
            files,
            state: Mutex::new(State {
                certificate,
                watched,
                warned: None,
            }),
            expiry: Gauge::default(),
            reload_failures: Counter::default(),
            handshake_failures: Family::default(),
        }));
        tls.show();
        tls
    }

    /// Whether nobody vouches for the certificate.
    pub fn is_self_signed(&self) -> bool {
        self.0.files.is_none()
    }

    /// The SHA-256 of the certificate in hexadecimal, as openssl and browsers show it.
    pub fn fingerprint(&self) -> String {
        self.state().certificate.fingerprint.clone()
    }

    /// Reads the files again. Connections that are open go on as they are. Does
    /// nothing if there are no files. Blocks while they are read.
    ///
    /// # Errors
    ///
    /// If they are of no use. What was in use stays so.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Some(files) = &self.0.files else {
            return Ok(());
        };
        let certificate = Certificate::read(files).inspect_err(|error| {
            self.0.reload_failures.inc();
            tracing::error!(%error, "the new certificate is of no use; the old one stays");
        })?;
        let fingerprint = certificate.fingerprint.clone();
        {
            let mut state = self.state();
            state.certificate = certificate;
            state.warned = None;
        }
        tracing::info!(fingerprint, "new connections get the new certificate");
        self.show();
        Ok(())
    }

    /// Looks at the files from time to time, for ever, and reads them again when
    /// they have changed.
    pub(crate) async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let tls = self.clone();
            // Files may be on a disk that is slow to answer.
            let looked = tokio::task::spawn_blocking(move || tls.look());
            if let Err(error) = looked.await {
                tracing::error!(%error, "cannot look for a new certificate");
            }
        }
    }

    /// Encrypts a connection, for which its client has so long.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        limit: Duration,
        answer_timeout: Duration,
    ) -> io::Result<(Arc<Wire>, TlsIo)> {
        let shaking = self.shake_hands(socket, peer, answer_timeout);
        let shaken = tokio::time::timeout(limit, shaking).await;
        let secured = shaken.unwrap_or(Err(HandshakeFailure::TimedOut));
        secured.map_err(|failure| {
            if let Some(reason) = failure.reason() {
                let label = FailureLabel { reason };
                self.0.handshake_failures.get_or_create(&label).inc();
            }
            io::Error::other(failure)
        })
    }

    async fn shake_hands(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        answer_timeout: Duration,
    ) -> Result<(Arc<Wire>, TlsIo), HandshakeFailure> {
        match peek::first(&socket)
            .await
            .map_err(HandshakeFailure::Broken)?
        {
            Some(HANDSHAKE) => {}
            Some(_) => {
                // Whoever does not read it does not hear it.
                let _ = plain::refuse(socket).await;
                return Err(HandshakeFailure::NotTls);
            }
            None => return Err(HandshakeFailure::Silent),
        }
        let config = Arc::clone(&self.state().certificate.config);
        let wire = Arc::new(Wire::new(socket, peer));
        let handshake = TlsAcceptor::from(config)
            .accept_with(WireIo::new(Arc::clone(&wire), answer_timeout), |session| {
                session.set_buffer_limit(Some(BUFFER))
            });
        let io = handshake.await.map_err(HandshakeFailure::Broken)?;
        Ok((wire, io))
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let shared = &self.0;
        registry.register(
            "notification_tls_certificate_expiry_timestamp_seconds",
            "When the certificate ends, in seconds since 1970",
            shared.expiry.clone(),
        );
        registry.register(
            "notification_tls_reload_failures",
            "Times that a changed certificate was of no use",
            shared.reload_failures.clone(),
        );
        registry.register(
            "notification_tls_handshake_failures",
            "Connections that ended before they were encrypted",
            shared.handshake_failures.clone(),
        );
    }

    /// Reads what has changed once it rests: of the two files one is written
    /// first, and does not match the other until that is written, too.
    fn look(&self) {
        let Some(files) = &self.0.files else {
            return;
        };
        let now = Some(Stamps::of(files));
        let is_news = {
            let watched = &mut self.state().watched;
            let rests = watched.last == now;
            watched.last.clone_from(&now);
            let is_news = rests && watched.tried != now;
            if is_news {
                watched.tried = now;
            }
            is_news
        };
        if is_news {
            // Said and counted there.
            let _ = self.reload();
        }
        self.warn();
    }

    /// Says what is to be known of a certificate that is new here.
    fn show(&self) {
        let validity = self.state().certificate.validity;
        let ends = validity.map_or(0, |validity| validity.not_after.as_secs());
        self.0.expiry.set(ends.try_into().unwrap_or(i64::MAX));
        self.warn();
    }

    /// Warns if there is something to be done, but not again and again.
    fn warn(&self) {
        let mut state = self.state();
        let Some(validity) = state.certificate.validity else {
            return;
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let Some(concern) = validity.concern(now.unwrap_or_default()) else {
            return;
        };
        if state.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            state.warned = Some(Instant::now());
            let date = |since| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since);
            let not_before = date(validity.not_before);
            let not_after = date(validity.not_after);
            tracing::warn!(not_before, not_after, "{concern}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder panics")
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.0.files)
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// Whether the client has chosen HTTP/2, which it does in the handshake
/// (RFC 9113, section 3.2).
pub(crate) fn is_http_2(io: &TlsIo) -> bool {
    io.get_ref().1.alpn_protocol() == Some(HTTP_2)
}

/// Of both files.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamps([Option<Stamp>; 2]);

/// By what a file's change is noticed: one that was renamed into its place is
/// another file, even if it is as long and as old.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

impl Stamps {
    fn of(files: &TlsFiles) -> Self {
        Self([&files.certificate, &files.key].map(|path| Stamp::of(path)))
    }
}

impl Stamp {
    /// None if there is no such file.
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            inode: inode(&metadata),
        })
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}
