use std::sync::Arc;

use notification_access::Principal;
use notification_hub::{Caller, Hub, HubConfig};

use crate::access::access;
use crate::server::{data_dir, open_log};
use crate::{Config, StartError};

/// The keys of a server that does not run, for whoever may read and write its
/// data directory.
#[derive(Debug)]
pub struct KeyStore {
    hub: Hub,
}

impl KeyStore {
    /// Opens the data directory of a server with these settings. Fails with
    /// [`OpenError::Locked`](notification_log::OpenError::Locked) while the server runs.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        let Some(data_dir) = data_dir(config)? else {
            return Err(StartError::NoKeptKeys);
        };
        let log = open_log(Some(&data_dir), config.durability)?;
        let access = Arc::new(access(config, Some(&data_dir))?);
        let hub_config = HubConfig {
            access,
            ..HubConfig::default()
        };
        let hub = Hub::open(log, hub_config).await?;
        Ok(Self { hub })
    }

    /// Whoever is on this machine, and may do everything.
    pub fn caller(&self) -> Caller {
        self.hub.caller(Arc::new(Principal::local()), None)
    }

    /// Lets go of the data directory.
    pub async fn close(self) -> Result<(), StartError> {
        self.hub.close().await;
        Ok(self.hub.close_log().await?)
    }
}
