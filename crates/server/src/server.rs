use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcetera::BaseStrategy;
use notification_http::{
    Capacity, Http, HttpConfig, ServeConfig, StreamConfig, Tls, TlsError, TlsFiles,
};
use notification_hub::{ClientsConfig, EventTypesConfig, Hub, HubConfig};
use notification_log::{EventLog, LogError, MemoryLog, OpenError, Retention, SqliteLog, Sync};
use notification_mcp::{
    ErrorCodes, EventsConfig, Identity, Mcp, McpConfig, OwnTool, SessionsConfig,
};
use notification_webhook::{
    DestinationLimits, Guard, RetryConfig, SuspensionConfig, Webhooks, WebhooksConfig,
};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access::{SecretError, access};
use crate::reload::settings;
use crate::{
    Config, DataDir, Durability, EventErrorCodes, JwksFetcher, JwksSource, NoRoots, Reloader,
    TokenFileError, open_files, openness, tokens,
};

/// A server that listens, and answers once it [runs](Self::run).
#[derive(Debug)]
pub struct Server {
    config: Config,
    /// None if the log is in memory.
    data_dir: Option<PathBuf>,
    listener: TcpListener,
    address: SocketAddr,
    url: String,
    /// None if it speaks plain HTTP.
    tls: Option<Tls>,
    hub: Hub,
    http: Http,
    stop: CancellationToken,
    webhooks: Webhooks,
    embedded: Embedded,
    /// From where the keys of tokens are fetched.
    jwks: watch::Sender<Option<JwksSource>>,
    capacity: Capacity,
}

/// What a program that embeds the server adds to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Embedded {
    /// What it calls itself.
    pub(crate) identity: Identity,
    /// Its tools.
    pub(crate) tools: Vec<OwnTool>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would be open to others than this machine, or to nobody.
    #[error(
        "{0} can be reached by others than this machine, and nobody could say who they are: there \
         is no key yet. Create the first with `notification-server key create --name admin \
         --allow admin` (and the same --data-dir or --config), or set auth.admin_key_file or \
         [auth.jwt]; or bind to 127.0.0.1; or say --insecure-no-auth if everyone who can reach it \
         may use it"
    )]
    Exposed(SocketAddr),
    /// Everybody has to say who they are, and nobody can.
    #[error(
        "auth.mode is \"required\", and nobody could say who they are: there is no key yet. Create \
         the first with `notification-server key create --name admin --allow admin` (and the same \
         --data-dir or --config), or set auth.admin_key_file or [auth.jwt]"
    )]
    NoKeys,
    /// Everybody has to say who they are, and nobody has to.
    #[error("auth.mode is \"required\" and insecure_no_auth is true: leave one of them away")]
    OpenAndRequired,
    /// Its log is in memory, and so would its keys be.
    #[error(
        "a server whose log is in memory keeps no keys; create them while it runs, with --server, \
         or set auth.admin_key_file"
    )]
    NoKeptKeys,
    /// A secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What verifies tokens cannot be used.
    #[error(transparent)]
    Token(#[from] TokenFileError),
    /// It cannot be fetched.
    #[error(transparent)]
    NoRoots(#[from] NoRoots),
    /// The platform has no place for application state.
    #[error("this platform has no place for application state; choose one with --data-dir")]
    NoDataDir,
    /// The limit of open files is below what is allowed, and cannot be raised.
    #[error("cannot raise the limit of open files")]
    OpenFiles(#[source] std::io::Error),
    /// There is no certificate to speak TLS with.
    #[error("{setting} cannot be used")]
    Tls {
        /// The setting that is to blame.
        setting: &'static str,
        /// What is wrong.
        source: TlsError,
    },
    /// The log was not opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The log cannot be read.
    #[error(transparent)]
    Unreadable(#[from] LogError),
    /// An event type of the program that embeds it cannot be declared.
    #[error("an event type cannot be declared: {0}")]
    EventType(String),
    /// It cannot go on serving.
    #[error("it cannot serve")]
    Serve(#[source] std::io::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; choose another address with --bind")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl StartError {
    pub(crate) fn tls(source: TlsError) -> Self {
        Self::Tls {
            setting: match source {
                TlsError::Certificate { .. } => "tls.certificate_file",
                TlsError::Key { .. } => "tls.key_file",
                TlsError::SelfSigned(_) => "tls.self_signed",
            },
            source,
        }
    }
}

impl Server {
    /// Opens the log and listens. Nothing is answered yet.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Embedded::default()).await
    }

    /// Likewise, with what a program adds.
    pub(crate) async fn start_with(config: Config, embedded: Embedded) -> Result<Self, StartError> {
        let listen = |source| StartError::Listen {
            address: config.bind,
            source,
        };
        let files = open_files::raise_limit().map_err(StartError::OpenFiles)?;
        let data_dir = data_dir(&config)?;
        let log = open_log(data_dir.as_deref(), config.durability)?;
        if let Some(data_dir) = &data_dir {
            crate::access::warn_if_others_may_write(data_dir);
        }
        let hub = open_hub(&config, data_dir.as_deref(), log).await?;
        let (jwks, _) = watch::channel(None);
        tokens::accept(hub.access(), config.auth.jwt.load()?, &jwks);
        let (from, verifier) = (jwks.borrow().clone(), hub.access().tokens());
        // Now rather than in a line of the log.
        if let Some((from, verifier)) = from.zip(verifier) {
            JwksFetcher::new(from, verifier)?;
        }
        if openness::is_open(&config, hub.access())? {
            hub.access().open();
        }
        openness::warn(&config, hub.access());
        let listener = bind(config.bind).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let tls = tls(&config, address)?;
        let url = config.public_url.clone();
        let url = url.unwrap_or_else(|| self::url(address, tls.is_some()));
        let capacity = Capacity::of_files(files);
        let stop = CancellationToken::new();
        let webhooks = webhooks(&config, &hub)?;
        let http_config = http_config(
            &config,
            url.clone(),
            capacity.clone(),
            tls.clone(),
            webhooks.clone(),
        );
        let settings = settings(&config, address.ip().is_loopback());
        Ok(Self {
            http: Http::new(hub.clone(), http_config, settings, stop.clone()),
            url,
            tls,
            stop,
            webhooks,
            embedded,
            jwks,
            config,
            data_dir,
            listener,
            address,
            hub,
            capacity,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients reach it: `http://127.0.0.1:8005`, or `https`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it speaks TLS with; none if it speaks plain HTTP.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Where its log lives; none if that is in memory.
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// With how many connections it stops opening streams, because the process
    /// may have no more files open; none if there is no such limit.
    pub fn max_streams(&self) -> Option<usize> {
        let max = self.capacity.max_for_streams();
        (max < usize::MAX).then_some(max)
    }

    /// How it was set up.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether whoever says nothing may do everything.
    pub fn is_open(&self) -> bool {
        self.hub.access().is_open()
    }

    /// What changes settings while it runs.
    pub fn reloader(&self) -> Reloader {
        Reloader {
            hub: self.hub.clone(),
            http: self.http.clone(),
            jwks: self.jwks.clone(),
            tls: self.tls.clone(),
            is_loopback: self.address.ip().is_loopback(),
            started_with: Box::new(self.config.clone()),
        }
    }

    /// The hub, for a program that embeds the server, to publish and subscribe directly.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Serves until `shutdown`, and then stops in this order: nothing new is
    /// accepted, running tasks publish how they ended, streams get what was
    /// published and are told that the server closes, what is in flight is
    /// finished, the log is closed.
    ///
    /// # Errors
    ///
    /// If the threads that it needs cannot be started, or what is stored of webhooks
    /// cannot be read.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
        let Self {
            config,
            listener,
            url,
            tls,
            hub,
            http,
            stop,
            jwks,
            capacity,
            webhooks,
            embedded,
            ..
        } = self;
        webhooks.start().await.map_err(std::io::Error::other)?;
        let fetching = tokens::fetch(hub.clone(), jwks.subscribe());
        tokio::spawn(stop.clone().run_until_cancelled_owned(fetching));
        let mcp = mcp(&config, Some(url), webhooks.clone(), embedded);
        look_after(&mcp, &hub, &stop);
        let endpoint = notification_http::Mcp {
            service: mcp.endpoint(notification_http::plain_stream(http.clone())),
            refusal: notification_mcp::refusal,
        };
        let doorkeeper = http.doorkeeper();
        let router = notification_http::router(http, endpoint);
        let serve_config = ServeConfig {
            head_timeout: config.http.head_timeout,
            peer_timeout: config.stream.peer_timeout,
            answer_timeout: config.http.answer_timeout,
            send_buffer: config.stream.send_buffer_bytes as usize,
            heartbeat: config.stream.heartbeat,
            soonest_heartbeat: config.events.heartbeat,
            drain_timeout: config.shutdown.drain,
            doorkeeper,
            capacity,
            tls,
        };

        let stopped = async {
            shutdown.await;
            tracing::info!("stopping");
            stop.cancel();
        };
        let serving = notification_http::serve(listener, router, serve_config, stop.clone())?;
        let (open, ()) = tokio::join!(serving, stopped);
        let stopping = async {
            mcp.shut_down().await;
            webhooks.close().await;
            hub.close().await;
            open.finish().await;
            hub.close_log().await
        };
        match tokio::time::timeout(config.shutdown.drain + STOP_TIMEOUT, stopping).await {
            Ok(Ok(())) => tracing::info!("stopped"),
            Ok(Err(error)) => tracing::error!(%error, "the log was not closed in order"),
            Err(_) => tracing::error!("stopped before everything was finished: it took too long"),
        }
        Ok(())
    }
}

/// Starts what looks after MCP clients: their sessions, and what they are told.
pub(crate) fn look_after(mcp: &Mcp, hub: &Hub, stop: &CancellationToken) {
    let looking = {
        let (mcp, hub) = (mcp.clone(), hub.clone());
        let tell = move |sessions, subscriptions| {
            hub.metrics().set_mcp_sessions(sessions);
            hub.metrics().set_mcp_subscriptions(subscriptions);
        };
        async move { mcp.look_after_sessions(tell).await }
    };
    tokio::spawn(stop.clone().run_until_cancelled_owned(looking));
    let (mcp, hub) = (mcp.clone(), hub.clone());
    // Until the hub closes.
    tokio::spawn(async move { mcp.tell_of_changes(&hub).await });
}

/// How long everything but draining connections may take when the server
/// stops: committing what was taken, and closing the log.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// How many connections may wait to be accepted: thousands come at once when
/// they were cut off together. The system has a bound of its own.
const BACKLOG: u32 = 4_096;

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // On Windows this would let another process take the address over.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn tls(config: &Config, address: SocketAddr) -> Result<Option<Tls>, StartError> {
    let tls = match (&config.tls.certificate_file, &config.tls.key_file) {
        (Some(certificate), Some(key)) => Tls::from_files(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        _ if config.tls.self_signed => Tls::self_signed(address.ip()),
        _ => return Ok(None),
    };
    tls.map(Some).map_err(StartError::tls)
}

/// The hub above a log, as it is configured.
pub(crate) async fn open_hub(
    config: &Config,
    data_dir: Option<&Path>,
    log: Arc<dyn EventLog>,
) -> Result<Hub, StartError> {
    let retention = Retention {
        max_age: config.retention.max_age_seconds.map(Duration::from_secs),
        max_events: config.retention.max_events,
        max_bytes: config.retention.max_bytes,
    };
    let hub_config = HubConfig {
        retention,
        max_rate: config.stream.max_rate,
        clients: ClientsConfig {
            forget_after: config.clients.forget_after,
            max_unacknowledged: config.clients.max_unacknowledged as usize,
        },
        leave_after: config.clients.leave_after,
        task_stalled_after: config.tasks.stalled_after,
        task_forget_after: config.tasks.forget_after,
        event_types: event_types(config),
        access: Arc::new(access(config, data_dir)?),
        ..HubConfig::default()
    };
    Ok(Hub::open(log, hub_config).await?)
}

/// What is declared, as it is configured.
fn event_types(config: &Config) -> EventTypesConfig {
    let mut event_types = EventTypesConfig::default();
    event_types.allow_undeclared = config.events.allow_undeclared;
    for declaration in &config.events.types {
        let declared = event_types.declare(declaration.clone());
        declared.expect("it was checked when the settings were read");
    }
    event_types
}

/// What the doors are told, as it is configured.
pub(crate) fn http_config(
    config: &Config,
    base_url: String,
    capacity: Capacity,
    tls: Option<Tls>,
    webhooks: Webhooks,
) -> HttpConfig {
    HttpConfig {
        webhooks,
        base_url,
        authorization_servers: config.auth.authorization_servers.clone(),
        body_timeout: config.http.body_timeout,
        stream: StreamConfig {
            enabled: config.stream.enabled,
            heartbeat: config.stream.heartbeat,
            retry: (config.stream.retry_min, config.stream.retry_max),
        },
        capacity,
        tls,
    }
}

/// MCP as it is configured; without a URL if nothing listens.
pub(crate) fn mcp(
    config: &Config,
    base_url: Option<String>,
    webhooks: Webhooks,
    embedded: Embedded,
) -> Mcp {
    Mcp::new(&McpConfig {
        has_streams: config.stream.enabled,
        identity: embedded.identity,
        tools: embedded.tools,
        base_url,
        webhooks,
        body_timeout: config.http.body_timeout,
        sessions: SessionsConfig {
            max: config.mcp.max_sessions as usize,
            idle_timeout: config.mcp.session_idle,
        },
        events: EventsConfig {
            error_codes: error_codes(config),
            heartbeat: config.events.heartbeat,
        },
    })
}

fn error_codes(config: &Config) -> ErrorCodes {
    match config.events.error_codes {
        EventErrorCodes::Sep3415 => ErrorCodes::Sep3415,
        EventErrorCodes::Sketch => ErrorCodes::Sketch,
    }
}

/// Webhooks as they are configured. Nothing is sent before they are started.
pub(crate) fn webhooks(config: &Config, hub: &Hub) -> Result<Webhooks, StartError> {
    let of = &config.webhooks;
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let codes = error_codes(config);
    let authorities = match &of.ca_file {
        Some(path) => tokens::authorities("webhooks.ca_file", path)?,
        None => Vec::new(),
    };
    let webhooks = WebhooksConfig {
        guard: Guard {
            allow_loopback: of.dev_allow_loopback,
            allow: of.allow_networks.clone(),
        },
        authorities,
        allowed_receivers: of.allowed_receivers.clone(),
        timeout: of.timeout,
        retry: RetryConfig {
            delays: of.retry_delays.clone(),
            window: of.retry_window,
        },
        suspension: SuspensionConfig {
            attempts: number(of.suspend_after_attempts),
            percent: number(of.suspend_failure_percent),
        },
        destination: DestinationLimits {
            concurrency: count(of.destination_concurrency),
            per_second: of.destination_per_second.map_or(0, number),
        },
        max: count(of.max),
        rotation_grace: of.rotation_grace,
        subscription_life: (of.subscription_min, of.subscription_max),
        sign_with_key: of.sign_with_key,
        describe_ending: Arc::new(move |ending| codes.of_ending(ending)),
        ..WebhooksConfig::default()
    };
    Ok(Webhooks::new(hub.clone(), webhooks))
}

pub(crate) fn data_dir(config: &Config) -> Result<Option<PathBuf>, StartError> {
    if config.durability == Durability::Memory {
        return Ok(None);
    }
    match &config.data_dir {
        DataDir::Memory => Ok(None),
        DataDir::Path(path) => Ok(Some(path.clone())),
        DataDir::Platform => {
            let places = etcetera::choose_base_strategy().map_err(|_| StartError::NoDataDir)?;
            let state = places.state_dir().unwrap_or_else(|| places.data_dir());
            Ok(Some(state.join("notification-server")))
        }
    }
}

pub(crate) fn open_log(
    data_dir: Option<&Path>,
    durability: Durability,
) -> Result<Arc<dyn EventLog>, OpenError> {
    let Some(data_dir) = data_dir else {
        return Ok(Arc::new(MemoryLog::new()));
    };
    let sync = match durability {
        Durability::Fsync => Sync::EachAppend,
        Durability::Write | Durability::Memory => Sync::Eventually,
    };
    Ok(Arc::new(SqliteLog::open(data_dir, sync)?))
}

/// How clients on this machine reach what listens on `address`.
fn url(address: SocketAddr, is_secure: bool) -> String {
    let reachable = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::from(([127, 0, 0, 1], address.port()))
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], address.port()))
        }
        address => address,
    };
    let scheme = if is_secure { "https" } else { "http" };
    format!("{scheme}://{reachable}")
}
