use std::sync::Mutex;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use notification_access::{Principal, TokenConfig, TokenError};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::*;

// Made for these tests: an authority, and with it a server on 127.0.0.1.
const AUTHORITY: &[u8] = include_bytes!("testdata/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("testdata/server.pem");
const KEY: &[u8] = include_bytes!("testdata/server.key");

/// How long something may take that is awaited.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whoever issues tokens: a key, and what it is called.
struct Signer(&'static str, Ed25519KeyPair);

impl Signer {
    fn new(kid: &'static str) -> Self {
        Self(kid, Ed25519KeyPair::generate().unwrap())
    }

    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.1.public_key());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.0, "x": x})
    }

    fn token(&self) -> String {
        let header = json!({"alg": "EdDSA", "kid": self.0}).to_string();
        let exp = now().as_millis() / 1_000 + 86_400;
        let claims = json!({"iss": "i", "aud": "a", "sub": "alice", "exp": exp}).to_string();
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.1.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// A small HTTP server that gives every request the answer it was told to give.
struct Publisher {
    port: u16,
    answer: Arc<Mutex<Vec<u8>>>,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Publisher {
    async fn start() -> Self {
        Self::with_tls(None).await
    }

    async fn with_tls(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(Mutex::new(Vec::new()));
        let (seen, requests) = mpsc::unbounded_channel();
        let answers = Arc::clone(&answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match &tls {
                    None => give(stream, &answers, &seen).await,
                    // Who does not believe us hangs up.
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            give(stream, &answers, &seen).await;
                        }
                    }
                }
            }
        });
        Self {
            port,
            answer,
            requests,
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/keys", self.port)
    }

    fn answers(&self, raw: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = raw.into();
    }

    fn publishes(&self, signers: &[&Signer]) {
        let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
        self.answers(ok(&json!({ "keys": keys }).to_string()));
    }

    async fn request(&mut self) -> String {
        let request = tokio::time::timeout(PATIENCE, self.requests.recv()).await;
        request.expect("a request").unwrap()
    }
}

async fn give(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &Mutex<Vec<u8>>,
    seen: &mpsc::UnboundedSender<String>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let answer = answer.lock().unwrap().clone();
    // A client that has read enough of it hangs up.
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
    let _ = seen.send(String::from_utf8(head).unwrap());
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn source(url: &str) -> JwksSource {
    JwksSource {
        url: url.parse().unwrap(),
        authorities: Vec::new(),
        refresh: Duration::from_secs(3_600),
        max_age: Duration::from_secs(86_400),
    }
}

fn fetcher(source: JwksSource) -> JwksFetcher {
    let config = TokenConfig {
        issuer: "i".into(),
        audiences: vec!["a".into()],
        leeway: Duration::ZERO,
        client_claim: None,
        groups_claim: None,
        grants_claim: None,
        events_per_hour_claim: None,
        roles: [].into(),
    };
    let tokens = Arc::new(Tokens::new(config, TokenKeys::awaited()));
    JwksFetcher::new(source, tokens).unwrap()
}

impl JwksFetcher {
    fn verify(&self, signer: &Signer) -> Result<Arc<Principal>, TokenError> {
        self.tokens.verify(&signer.token(), now())
    }
}

#[tokio::test]
async fn keys_come_and_go_as_they_are_published() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let mut publisher = Publisher::start().await;
    let mut fetcher = fetcher(source(&publisher.url()));
    assert_eq!(fetcher.verify(&old), Err(TokenError::KeysNotAvailable));

    publisher.publishes(&[&old]);
    assert_eq!(fetcher.refresh().await, fetcher.source.refresh);
    let request = publisher.request().await;
    assert!(request.starts_with("GET /keys HTTP/1.1\r\n"), "{request}");
    let principal = fetcher.verify(&old).unwrap();
    assert_eq!(fetcher.verify(&new), Err(TokenError::UnknownKey));

    publisher.publishes(&[&new, &old]);
    fetcher.refresh().await;
    assert!(fetcher.verify(&new).is_ok());
    assert_eq!(fetcher.verify(&old), Ok(Arc::clone(&principal)));
    assert!(fetcher.tokens.still_vouches(&principal.credential, now()));

    publisher.publishes(&[&new]);
    fetcher.refresh().await;
    assert_eq!(fetcher.verify(&old), Err(TokenError::UnknownKey));
    assert!(!fetcher.tokens.still_vouches(&principal.credential, now()));
}

#[tokio::test]
async fn who_cannot_be_reached_is_asked_again_soon() {
    let signer = Signer::new("a");
    let publisher = Publisher::start().await;
    let mut fetcher = fetcher(source(&publisher.url()));
    for seconds in [1, 2, 4, 8, 16, 32, 64, 64] {
        // The connection ends without an answer.
        assert_eq!(fetcher.refresh().await, Duration::from_secs(seconds));
        assert_eq!(fetcher.verify(&signer), Err(TokenError::KeysNotAvailable));
    }
    publisher.publishes(&[&signer]);
    assert_eq!(fetcher.refresh().await, fetcher.source.refresh);
    assert!(fetcher.verify(&signer).is_ok());
    publisher.answers("");
    assert_eq!(fetcher.refresh().await, Duration::from_secs(1));

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let error = fetcher.client.fetch(&url.parse().unwrap()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("no connection: "), "{error}");
}

#[tokio::test]
async fn the_last_good_keys_are_kept_through_every_kind_of_failure() {
    let signer = Signer::new("a");
    let publisher = Publisher::start().await;
    let mut fetcher = fetcher(source(&publisher.url()));
    publisher.publishes(&[&signer]);
    fetcher.refresh().await;

    let large = " ".repeat(JwkSet::MAX_LEN + 1);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    let oct = json!({"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}).to_string();
    for (answer, expected) in [
        (ok("<html>"), "no JWK Set"),
        (ok(&oct), "no key"),
        (ok(&large), "too large"),
        (chunked, "too large"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".into(),
            "lost",
        ),
        (
            "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".into(),
            "503",
        ),
        ("HTTP/1.1 204 Empty\r\n\r\n".into(), "204"),
        ("nonsense\r\n\r\n".into(), "no connection"),
        (String::new(), "no connection"),
    ] {
        publisher.answers(answer);
        let error = fetcher.client.fetch(&fetcher.source.url).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} is not {expected:?}");
        fetcher.refresh().await;
        assert!(fetcher.verify(&signer).is_ok(), "{expected}");
    }
}

#[tokio::test]
async fn keys_that_were_fetched_too_long_ago_are_not_used() {
    let signer = Signer::new("a");
    let publisher = Publisher::start().await;
    let max_age = Duration::ZERO;
    let mut fetcher = fetcher(JwksSource {
        max_age,
        ..source(&publisher.url())
    });
    publisher.publishes(&[&signer]);
    fetcher.refresh().await;
    assert_eq!(fetcher.verify(&signer), Err(TokenError::KeysNotAvailable));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let signer = Signer::new("a");
    let mut elsewhere = Publisher::start().await;
    elsewhere.publishes(&[&signer]);
    let publisher = Publisher::start().await;
    let mut fetcher = fetcher(source(&publisher.url()));
    for status in [301, 302, 303, 307, 308] {
        publisher.answers(format!(
            "HTTP/1.1 {status} Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
            elsewhere.url()
        ));
        let error = fetcher.client.fetch(&fetcher.source.url).await;
        assert!(error.unwrap_err().to_string().contains("redirect"));
        fetcher.refresh().await;
        assert_eq!(fetcher.verify(&signer), Err(TokenError::KeysNotAvailable));
    }
    assert!(elsewhere.requests.try_recv().is_err());
}

#[tokio::test]
async fn a_key_that_is_not_known_is_fetched_at_once() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let mut publisher = Publisher::start().await;
    publisher.publishes(&[&old]);
    let mut fetcher = fetcher(source(&publisher.url()));
    fetcher.between = Duration::ZERO;
    let tokens = Arc::clone(&fetcher.tokens);
    let running = tokio::spawn(fetcher.run());
    let is_verified = async |signer: &Signer| {
        let token = signer.token();
        let verified = async {
            while tokens.verify(&token, now()).is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, verified).await.unwrap();
    };
    publisher.request().await;
    is_verified(&old).await;
    publisher.publishes(&[&old, &new]);
    is_verified(&new).await;
    publisher.request().await;
    running.abort();
}

#[tokio::test]
async fn only_whom_the_authorities_vouch_for_is_believed() {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    let publisher = Publisher::with_tls(Some(Arc::new(config).into())).await;
    let signer = Signer::new("a");
    publisher.publishes(&[&signer]);
    let authority = || vec![CertificateDer::from_pem_slice(AUTHORITY).unwrap()];
    let source = |host: &str, authorities| JwksSource {
        authorities,
        ..source(&format!("https://{host}:{}/keys", publisher.port))
    };

    let mut believing = fetcher(source("127.0.0.1", authority()));
    believing.refresh().await;
    assert!(believing.verify(&signer).is_ok());

    // The certificate is for the address, and another authority's is no good.
    let other = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    for source in [source("localhost", authority()), source("127.0.0.1", other)] {
        let fetcher = fetcher(source);
        let error = fetcher.client.fetch(&fetcher.source.url).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }
}

#[test]
fn keys_are_fetched_by_https_or_from_this_machine() {
    let check = |url: &str, ok: bool| assert_eq!(url.parse::<JwksUrl>().is_ok(), ok, "{url}");
    check("https://issuer.example/.well-known/jwks.json?x=1", true);
    check("https://10.0.0.1:8443/keys", true);
    check("http://127.0.0.1:8080/keys", true);
    check("http://[::1]:8080/keys", true);
    check("http://localhost/keys", true);
    check("http://issuer.example/keys", false);
    check("http://127.0.0.1.example/keys", false);
    check("http://localhost.example/keys", false);
    check("http://localhost@issuer.example/keys", false);
    check("https://user:password@issuer.example/keys", false);
    check("https:///keys", false);
    check("https://", false);
    check("ftp://issuer.example/keys", false);
    check("file:///keys", false);
    check("/keys", false);
    check("issuer.example/keys", false);
    check("", false);
}
