use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::header::{ACCEPT, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use notification_access::{JwkSet, TokenKeyError};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use super::{JwksSource, JwksUrl};

/// How long a fetch may take, from the name of the host to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer within 10 seconds")]
    TimedOut,
    #[error("no connection: {}", Causes(.0))]
    Unreachable(legacy::Error),
    #[error("the connection was lost")]
    Lost,
    /// Redirects among them: another address could be another's.
    #[error("the answer was {0}: expected 200, without a redirect")]
    Status(StatusCode),
    #[error(transparent)]
    Unusable(#[from] TokenKeyError),
}

/// Nobody could be believed to be who he says.
#[derive(Debug, thiserror::Error)]
#[error("this platform has no certificate authorities ({0}); give one with auth.jwt.jwks_ca_file")]
pub struct NoRoots(String);

/// An HTTP client for one address. It goes through no proxy, follows no
/// redirects, and keeps no connection: the next is minutes away.
pub(super) struct Client(legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Client {
    pub(super) fn new(source: &JwksSource) -> Result<Self, NoRoots> {
        let no_roots = |error: &dyn fmt::Display| NoRoots(error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| no_roots(&error))?;
        let tls = match source.authorities.is_empty() && source.url.is_encrypted() {
            true => tls.with_native_roots().map_err(|error| no_roots(&error))?,
            false => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(source.authorities.iter().cloned());
                tls.with_root_certificates(roots)
            }
        };
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth());
        let connector = match source.url.is_encrypted() {
            true => connector.https_only().enable_http1().build(),
            false => connector.https_or_http().enable_http1().build(),
        };
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(Self(client))
    }

    pub(super) async fn fetch(&self, url: &JwksUrl) -> Result<JwkSet, FetchError> {
        let fetched = tokio::time::timeout(TIMEOUT, self.body(url)).await;
        let body = fetched.map_err(|_| FetchError::TimedOut)??;
        Ok(JwkSet::parse(&body)?)
    }

    async fn body(&self, url: &JwksUrl) -> Result<Bytes, FetchError> {
        let request = Request::get(url.0.clone())
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(
                USER_AGENT,
                concat!("notification-server/", env!("CARGO_PKG_VERSION")),
            )
            .body(Empty::new())
            .expect("a URL makes a request");
        let answer = self.0.request(request).await;
        let answer = answer.map_err(FetchError::Unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), JwkSet::MAX_LEN)
            .collect()
            .await;
        match body {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(TokenKeyError::LargeSet.into()),
            Err(_) => Err(FetchError::Lost),
        }
    }
}

/// An error with what it comes from, in one line.
struct Causes<'a>(&'a dyn std::error::Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
