use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use notification_event::Timestamp;
use notification_hub::Hub;
use notification_webhook::Webhooks;
use tokio_util::sync::CancellationToken;

use crate::{Capacity, GuardConfig, StreamConfig, Tls, TrustedProxies};

/// The largest body that is read, in bytes.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// What the doors are told about the server they belong to.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where clients reach the server: `http://127.0.0.1:8005`.
    pub base_url: String,
    /// Where tokens come from, for clients that do not know.
    pub authorization_servers: Vec<String>,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
    /// How streams behave.
    pub stream: StreamConfig,
    /// How many there may be.
    pub capacity: Capacity,
    /// What connections are encrypted with; none if they are not.
    pub tls: Option<Tls>,
    /// Those who are posted events.
    pub webhooks: Webhooks,
}

/// What may change while the server runs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which hosts and pages may use the server.
    pub guard: GuardConfig,
    /// The proxies whose word is taken for where a request comes from.
    pub trusted_proxies: TrustedProxies,
    /// Whether whoever says nothing may do everything even where a proxy brings
    /// him, from wherever that is.
    pub is_open_to_proxies: bool,
}

/// What the doors share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    settings: Arc<RwLock<Arc<Settings>>>,
    pub(crate) hub: Hub,
    pub(crate) config: Arc<HttpConfig>,
    pub(crate) draining: CancellationToken,
}

impl Http {
    /// Doors to `hub`. Once `draining` is cancelled the server says that it is not ready.
    pub fn new(
        hub: Hub,
        config: HttpConfig,
        settings: Settings,
        draining: CancellationToken,
    ) -> Self {
        Self {
            settings: Arc::new(RwLock::new(Arc::new(settings))),
            hub,
            config: Arc::new(config),
            draining,
        }
    }

    /// Other settings from now on, for requests that come from now on.
    pub fn set(&self, settings: Settings) {
        *self.settings.write().expect("no holder panics") = Arc::new(settings);
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.read().expect("no holder panics").clone()
    }

    /// What the clock says.
    pub(crate) fn now() -> Timestamp {
        Timestamp::from(SystemTime::now())
    }
}
