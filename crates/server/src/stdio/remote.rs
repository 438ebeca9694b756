use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use notification_mcp::Body;

use super::failure::Failure;
use notification_client::{Error, HttpClient, bearer, causes, http_client};

/// A server that runs, as one principal.
pub(super) struct Remote {
    uri: Uri,
    /// Its URL without a query.
    name: String,
    authorization: Option<HeaderValue>,
    client: HttpClient,
}

/// Where the endpoint is if the URL does not say.
const ENDPOINT: &str = "/mcp";

impl Remote {
    /// One at this URL, with `key` if there is one.
    pub(super) fn new(url: &str, key: Option<&str>) -> Result<Self, Error> {
        let uri = endpoint(url).ok_or(Error::Endpoint)?;
        let authorization = key.map(|key| bearer(&uri, key)).transpose()?;
        let without_query = uri.to_string();
        let name = without_query.split('?').next().unwrap_or_default();
        Ok(Self {
            name: name.to_owned(),
            client: http_client(&uri).map_err(Error::NoRoots)?,
            authorization,
            uri,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn send(
        &self,
        mut request: Request<Bytes>,
    ) -> Result<Response<Body>, Failure> {
        *request.uri_mut() = self.uri.clone();
        if let Some(authorization) = &self.authorization {
            let headers = request.headers_mut();
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        match self.client.request(request.map(Full::new)).await {
            Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                Err(Failure::no_answer(match self.authorization {
                    Some(_) => format!("{} does not take the key", self.name),
                    None => format!(
                        "{} wants to know who asks: put a key into NOTIFICATION_KEY, or into a \
                         file for --key-file",
                        self.name
                    ),
                }))
            }
            Ok(response) => Ok(response.map(|body| body.map_err(Into::into).boxed_unsync())),
            Err(error) if error.is_connect() => Err(Failure::no_answer(format!(
                "{} does not answer, and nothing was done ({}); start the server there, or give \
                 the URL of one that runs with --url",
                self.name,
                causes(&error)
            ))),
            Err(error) => Err(Failure::no_answer(format!(
                "{} broke off before the answer ({}); what was asked for may have been done",
                self.name,
                causes(&error)
            ))),
        }
    }
}

/// The URL of an endpoint in full, from what people write: without a path it is `/mcp`.
pub fn endpoint_url(url: &str) -> Result<String, Error> {
    let uri = endpoint(url).ok_or(Error::Endpoint)?;
    Ok(uri.to_string())
}

/// The address of an endpoint. User names and passwords in it would be shown to
/// whoever sees the URL, so there are none.
fn endpoint(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_user = uri.authority()?.as_str().contains('@');
    if !is_known || has_user || uri.host()?.is_empty() {
        return None;
    }
    if uri.path() != "/" {
        return Some(uri);
    }
    let query = uri.query().map(|query| format!("?{query}"));
    let path = format!("{ENDPOINT}{}", query.unwrap_or_default());
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_one_of_an_endpoint() {
        let check = |url: &str, expected: Option<&str>| {
            let uri = endpoint(url).map(|uri| uri.to_string());
            assert_eq!(uri.as_deref(), expected, "{url}");
        };
        let here = "http://127.0.0.1:8005/mcp";
        check(here, Some(here));
        check("http://127.0.0.1:8005", Some(here));
        check("http://127.0.0.1:8005/", Some(here));
        let some = "http://127.0.0.1:8005/mcp?topic=ops/**";
        check("http://127.0.0.1:8005?topic=ops/**", Some(some));
        let behind_a_proxy = "https://example.com/events/mcp";
        check(behind_a_proxy, Some(behind_a_proxy));
        for wrong in [
            "",
            "127.0.0.1:8005",
            "ftp://a",
            "/mcp",
            "http://u:p@a/mcp",
            "http://u@a",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_name_has_no_secrets() {
        let remote = Remote::new("http://localhost/mcp?topic=a", Some("s3cret")).unwrap();
        assert_eq!(remote.name(), "http://localhost/mcp");
        let refused = Remote::new("http://user:s3cret@localhost", None)
            .err()
            .unwrap();
        assert!(!refused.to_string().contains("s3cret"));
        let clear = Remote::new("http://example.com/mcp", Some("s3cret"))
            .err()
            .unwrap();
        assert!(matches!(clear, Error::Clear(_)));
    }
}
