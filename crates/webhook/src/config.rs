use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde_json::Value;

use crate::{
    DestinationLimits, Ending, Guard, Resolve, RetryConfig, SuspensionConfig, SystemResolver,
};

/// How webhooks are delivered.
#[derive(Clone)]
pub struct WebhooksConfig {
    /// To which addresses.
    pub guard: Guard,
    /// How hosts are found.
    pub resolve: Arc<dyn Resolve>,
    /// Who vouches for receivers; none is whom the platform trusts.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Receivers that need not prove that they want to be sent anything: what their
    /// addresses begin with.
    pub allowed_receivers: Vec<String>,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// When events are sent again.
    pub retry: RetryConfig,
    /// When an endpoint that fails is left alone.
    pub suspension: SuspensionConfig,
    /// How much one place is sent.
    pub destination: DestinationLimits,
    /// How many webhooks there may be, of which a principal has a tenth where
    /// everybody says who he is.
    pub max: usize,
    /// How long deliveries are signed with a secret that was replaced, too.
    pub rotation_grace: Duration,
    /// How long a subscription is granted, at least and at most.
    pub subscription_life: (Duration, Duration),
    /// Whether deliveries are signed with the server's own key, too.
    pub sign_with_key: bool,
    /// How receivers are told why a subscription has ended.
    pub describe_ending: Arc<dyn Fn(&Ending) -> Value + Send + Sync>,
}

impl fmt::Debug for WebhooksConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhooksConfig")
            .field("guard", &self.guard)
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            guard: Guard::default(),
            resolve: Arc::new(SystemResolver::default()),
            authorities: Vec::new(),
            allowed_receivers: Vec::new(),
            timeout: seconds(5),
            retry: RetryConfig {
                delays: [5, 30, 120, 480].map(seconds).to_vec(),
                window: seconds(15 * 60),
            },
            suspension: SuspensionConfig {
                attempts: 100,
                percent: 95,
            },
            destination: DestinationLimits {
                concurrency: 16,
                per_second: 0,
            },
            max: 20_000,
            rotation_grace: seconds(24 * 60 * 60),
            subscription_life: (seconds(60), seconds(7 * 24 * 60 * 60)),
            sign_with_key: false,
            describe_ending: Arc::new(
                |ending| serde_json::json!({ "message": ending.to_string() }),
            ),
        }
    }
}
