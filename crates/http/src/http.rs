use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notification_event::Timestamp;
use notification_hub::Hub;
use tokio_util::sync::CancellationToken;

use crate::{Capacity, GuardConfig, StreamConfig};

/// The largest body that is read, in bytes.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// How long a client may take to send a body.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What the doors are told about the server they belong to.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where clients reach the server: `http://127.0.0.1:8005`.
    pub base_url: String,
    /// Who may.
    pub guard: GuardConfig,
    /// How streams behave.
    pub stream: StreamConfig,
    /// How many there may be.
    pub capacity: Capacity,
}

/// What the doors share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    pub(crate) hub: Hub,
    pub(crate) config: Arc<HttpConfig>,
    pub(crate) draining: CancellationToken,
}

impl Http {
    /// Doors to `hub`. Once `draining` is cancelled the server says that it is not ready.
    pub fn new(hub: Hub, config: HttpConfig, draining: CancellationToken) -> Self {
        Self {
            hub,
            config: Arc::new(config),
            draining,
        }
    }

    /// What the clock says.
    pub(crate) fn now() -> Timestamp {
        Timestamp::from(SystemTime::now())
    }
}
