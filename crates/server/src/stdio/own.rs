use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, Response};
use notification_access::Principal;
use notification_http::{Capacity, Http};
use notification_hub::{Caller, Hub};
use notification_mcp::{Body, Mcp};
use notification_webhook::Webhooks;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::reload::settings;
use crate::server::{
    Embedded, STOP_TIMEOUT, data_dir, http_config, look_after, mcp, open_hub, open_log, webhooks,
};
use crate::{Config, StartError};

/// A server in this process, which listens nowhere: its endpoint is called.
///
/// Who may read and write its data directory may do everything, as with the
/// command `key`. So nobody has to say who they are, and there is no port that
/// somebody else could find.
pub(super) struct Own {
    endpoint: Endpoint,
    caller: Caller,
    mcp: Mcp,
    webhooks: Webhooks,
    hub: Hub,
    stop: CancellationToken,
    drain: Duration,
}

type Endpoint = Box<dyn Fn(Request<Bytes>) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Own {
    /// Opens the data directory.
    pub(super) async fn open(config: &Config) -> Result<Self, StartError> {
        let data_dir = data_dir(config)?;
        let log = open_log(data_dir.as_deref(), config.durability)?;
        let hub = open_hub(config, data_dir.as_deref(), log).await?;
        let stop = CancellationToken::new();
        // No request comes over a socket, so no limit of files holds for streams,
        // and no URL is told to anybody.
        let capacity = Capacity::of_files(None);
        let webhooks = webhooks(config, &hub)?;
        webhooks.start().await?;
        let http_config = http_config(config, String::new(), capacity, None, webhooks.clone());
        let settings = settings(config, true);
        let http = Http::new(hub.clone(), http_config, settings, stop.clone());
        let mcp = mcp(config, None, webhooks.clone(), Embedded::default());
        look_after(&mcp, &hub, &stop);
        let endpoint = mcp.endpoint(notification_http::plain_stream(http));
        Ok(Self {
            endpoint: Box::new(move |request| endpoint.clone().call(request.map(Into::into))),
            caller: hub.caller(Arc::new(Principal::local()), None),
            mcp,
            webhooks,
            hub,
            stop,
            drain: config.shutdown.drain,
        })
    }

    pub(super) async fn send(&self, mut request: Request<Bytes>) -> Response<Body> {
        request.extensions_mut().insert(self.caller.clone());
        match (self.endpoint)(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Running tools publish how they ended, streams end, the log is closed.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        let stopping = async {
            self.mcp.shut_down().await;
            self.webhooks.close().await;
            self.hub.close().await;
            self.hub.close_log().await
        };
        match tokio::time::timeout(self.drain + STOP_TIMEOUT, stopping).await {
            Ok(Ok(())) => tracing::info!("stopped"),
            Ok(Err(error)) => tracing::error!(%error, "the log was not closed in order"),
            Err(_) => tracing::error!("stopped before everything was finished: it took too long"),
        }
    }
}
