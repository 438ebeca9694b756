//! Connections to servers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;

use crate::Error;

/// How long a connection may take to open, and after how long a silence the
/// kernel asks whether the server is still there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Makes requests. It goes through no proxy and follows no redirects.
pub type HttpClient = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// One for this address.
pub fn http_client(uri: &Uri) -> Result<HttpClient, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    // Only who speaks https has to know whom to believe.
    let tls = match is_encrypted(uri) {
        true => tls.with_native_roots().map_err(|error| error.to_string())?,
        false => tls.with_root_certificates(rustls::RootCertStore::empty()),
    };
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE / 3));
    connector.set_keepalive_retries(Some(3));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls.with_no_client_auth())
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(legacy::Client::builder(TokioExecutor::new()).build(connector))
}

/// The header that presents a key to this address.
pub fn bearer(uri: &Uri, key: &str) -> Result<HeaderValue, Error> {
    if !is_encrypted(uri) && !uri.host().is_some_and(is_this_machine) {
        let server = uri.host().unwrap_or_default();
        return Err(Error::Clear(server.to_owned()));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| Error::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

/// An error with what it comes from, in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

fn is_encrypted(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
