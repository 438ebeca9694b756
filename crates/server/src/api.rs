//! A client of a server that runs, for the command line.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use serde_json::Value;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Speaks to one server, as one principal.
pub struct Api {
    /// `https://events.example.com`, without a slash at the end.
    server: String,
    authorization: Option<HeaderValue>,
}

/// Why a server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address makes no sense.
    #[error("{0} is not the address of a server; expected one such as http://127.0.0.1:8005")]
    Address(String),
    /// Everybody on the way could read the key.
    #[error("{0}: a key is sent over https only, except to this machine")]
    Clear(String),
    /// The key cannot be sent.
    #[error("the key is not one: expected letters, digits and signs")]
    Key,
    /// There is no answer.
    #[error("{server} does not answer: {reason}")]
    Unreachable {
        /// Which server.
        server: String,
        /// Why.
        reason: String,
    },
    /// It says no.
    #[error("the server refused: {detail} ({status})")]
    Refused {
        /// The status.
        status: u16,
        /// What it says.
        detail: String,
    },
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

impl Api {
    /// Speaks to `server`, with `key` if there is one.
    pub fn new(server: &str, key: Option<&str>) -> Result<Self, ApiError> {
        let address = || ApiError::Address(server.to_owned());
        let uri: Uri = server.parse().map_err(|_| address())?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_known || uri.host().is_none() || uri.path() != "/" || uri.query().is_some() {
            return Err(address());
        }
        let is_encrypted = uri.scheme_str() == Some("https");
        if key.is_some() && !is_encrypted && !uri.host().is_some_and(is_this_machine) {
            return Err(ApiError::Clear(server.to_owned()));
        }
        let authorization = key.map(|key| {
            let mut value =
                HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| ApiError::Key)?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self {
            server: server.trim_end_matches('/').to_owned(),
            authorization: authorization.transpose()?,
        })
    }

    /// Asks for something: the answer's JSON, null if it has none.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let asked = tokio::time::timeout(TIMEOUT, self.send(method, path, body)).await;
        let asked = asked.map_err(|_| "no answer within 30 seconds".to_owned());
        let (status, body) = asked.and_then(|sent| sent).map_err(|reason| {
            let server = self.server.clone();
            ApiError::Unreachable { server, reason }
        })?;
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        match status {
            200..300 => Ok(json),
            _ => Err(ApiError::Refused {
                status,
                detail: match json["detail"].as_str() {
                    Some(detail) => detail.to_owned(),
                    None => "it says no more than that".to_owned(),
                },
            }),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Bytes), String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        // Only who speaks https has to know whom to believe.
        let tls = match self.server.starts_with("https:") {
            true => tls.with_native_roots().map_err(|error| error.to_string())?,
            false => tls.with_root_certificates(rustls::RootCertStore::empty()),
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .build();
        let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server))
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let answer = client.request(request).await.map_err(|e| causes(&e))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Api").field(&self.server).finish()
    }
}

/// An error with what it comes from, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_a_server() {
        for good in ["http://127.0.0.1:8005", "https://events.example.com/"] {
            assert!(Api::new(good, Some("ntf_x")).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "127.0.0.1:8005",
            "ftp://a",
            "http://a/mcp",
            "http://a/?b",
        ] {
            assert!(
                matches!(Api::new(wrong, None), Err(ApiError::Address(_))),
                "{wrong}"
            );
        }
        let api = Api::new("https://a", Some("s3cret")).unwrap();
        assert!(!format!("{api:?}").contains("s3cret"));
        assert!(matches!(
            Api::new("http://[::1]:8005", Some("a\nb")),
            Err(ApiError::Key)
        ));
        let clear = Api::new("http://events.example.com", Some("s3cret")).unwrap_err();
        assert!(matches!(clear, ApiError::Clear(_)));
        assert!(!clear.to_string().contains("s3cret"));
        assert!(Api::new("http://events.example.com", None).is_ok());
    }
}
