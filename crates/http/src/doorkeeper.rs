use std::net::IpAddr;

use notification_access::{Limited, Slot};
use notification_hub::RefusalReason;

use crate::http::Http;

/// Who may connect: so many from each address. The default lets everybody in.
#[derive(Clone, Debug, Default)]
pub struct Doorkeeper(Option<Http>);

impl Http {
    /// Who keeps to the limits of these doors.
    pub fn doorkeeper(&self) -> Doorkeeper {
        Doorkeeper(Some(self.clone()))
    }
}

impl Doorkeeper {
    /// A place for a connection, until it is dropped.
    pub(crate) fn admit(&self, peer: IpAddr) -> Result<Slot, Limited> {
        let Some(http) = &self.0 else {
            return Ok(Slot::default());
        };
        let trusted = &http.settings().trusted_proxies;
        let peer = peer.to_canonical();
        // All that a proxy has to say comes from one address.
        if trusted.contain(peer) {
            return Ok(Slot::default());
        }
        let admitted = http.hub.access().admit_connection(peer);
        admitted.inspect_err(|limited| {
            let reason = RefusalReason::Limited;
            http.hub.refused(reason, Some(peer), &limited.limit);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use notification_access::{LimitsConfig, Quotas};
    use notification_hub::{Hub, HubConfig};
    use notification_log::MemoryLog;
    use notification_webhook::{Webhooks, WebhooksConfig};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Capacity, HttpConfig, Settings, StreamConfig, TrustedProxies};

    #[tokio::test]
    async fn each_address_has_so_many_connections() {
        let log = Arc::new(MemoryLog::new());
        let hub = Hub::open(log, HubConfig::default()).await.unwrap();
        hub.access().set_limits(LimitsConfig {
            address: Quotas {
                connections: NonZeroU32::new(2),
                ..Quotas::default()
            },
            ..LimitsConfig::default()
        });
        let second = std::time::Duration::from_secs(1);
        let config = HttpConfig {
            base_url: "http://localhost".to_owned(),
            authorization_servers: Vec::new(),
            body_timeout: second,
            stream: StreamConfig {
                enabled: true,
                heartbeat: second,
                retry: (second, second),
            },
            capacity: Capacity::of_files(None),
            tls: None,
            webhooks: Webhooks::new(hub.clone(), WebhooksConfig::default()),
        };
        let settings = Settings {
            trusted_proxies: TrustedProxies {
                networks: vec!["10.0.0.0/8".parse().unwrap()],
                ..TrustedProxies::default()
            },
            ..Settings::default()
        };
        let http = Http::new(hub, config, settings, CancellationToken::new());
        let doorkeeper = http.doorkeeper();
        let admit = |peer: &str| doorkeeper.admit(peer.parse().unwrap());
        let first = admit("192.0.2.1").unwrap();
        let _second = admit("::ffff:192.0.2.1").unwrap();
        let limited = admit("192.0.2.1").unwrap_err();
        assert_eq!(limited.limit, "address.connections");
        let _other = admit("192.0.2.2").unwrap();
        let _proxy: Vec<_> = (0..9).map(|_| admit("10.1.1.1").unwrap()).collect();
        let _here: Vec<_> = (0..9).map(|_| admit("127.0.0.1").unwrap()).collect();
        drop(first);
        assert!(admit("192.0.2.1").is_ok());
    }
}
