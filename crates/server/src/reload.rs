use std::time::SystemTime;

use notification_event::Timestamp;
use notification_http::{GuardConfig, Http, Settings, Tls, TrustedProxies};
use notification_hub::Hub;
use tokio::sync::watch;

use crate::access::{admin_key, limits};
use crate::{Config, JwksSource, StartError, openness, tokens};

/// Changes settings of a server that runs, without closing a stream: limits,
/// keys in files, what verifies tokens, hosts, origins and proxies. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloader {
    pub(crate) hub: Hub,
    pub(crate) http: Http,
    pub(crate) jwks: watch::Sender<Option<JwksSource>>,
    pub(crate) tls: Option<Tls>,
    pub(crate) is_loopback: bool,
    pub(crate) started_with: Box<Config>,
}

impl Reloader {
    /// Everything of `config` that can change while a server runs holds from now
    /// on; what cannot is named in the log. Streams whose credential is no longer
    /// good are ended.
    ///
    /// # Errors
    ///
    /// If a file of secrets cannot be used. Nothing has changed then.
    pub fn apply(&self, config: &Config) -> Result<(), StartError> {
        let admin_key = admin_key(config)?;
        let tokens = config.auth.jwt.load()?;
        if let Some(tls) = &self.tls {
            tls.reload().map_err(StartError::tls)?;
        }
        let access = self.hub.access();
        access.set_admin_key(admin_key.as_deref());
        tokens::accept(access, tokens, &self.jwks);
        access.set_limits(limits(config));
        self.http.set(Settings {
            // Who may come without a credential is decided at the start.
            is_open_to_proxies: self.started_with.insecure_no_auth,
            ..settings(config, self.is_loopback)
        });
        self.hub.end_lapsed(Timestamp::from(SystemTime::now()));
        for setting in self.started_with.needs_restart(config) {
            tracing::warn!(setting, "has changed, which holds after a restart");
        }
        openness::warn(config, access);
        tracing::info!("settings reloaded");
        Ok(())
    }
}

/// What the doors are told, and may be told anew.
pub(crate) fn settings(config: &Config, is_loopback: bool) -> Settings {
    Settings {
        guard: GuardConfig {
            loopback_only: is_loopback,
            is_secure: is_secure(config),
            allowed_hosts: config.allowed_hosts.clone(),
            origins: config.allowed_origins.clone(),
        },
        trusted_proxies: TrustedProxies {
            networks: config.trusted_proxies.clone(),
            header: config.trusted_proxy_header,
        },
        is_open_to_proxies: config.insecure_no_auth,
    }
}

fn is_secure(config: &Config) -> bool {
    config.tls.self_signed || config.tls.certificate_file.is_some()
}
