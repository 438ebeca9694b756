//! Receivers that speak TLS, with a certificate authority of the test's own.

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{notification, server_with};
use notification_testkit::{ServerProcess, eventually};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority, and the file that has its certificate.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, issuer.pem().as_bytes()).unwrap();
        Self { issuer, file }
    }

    fn settings(&self) -> String {
        let path = self.file.path().to_str().unwrap();
        format!("[webhooks]\ndev_allow_loopback = true\nca_file = \"{path}\"\n")
    }

    /// What a receiver with this name speaks TLS with.
    fn acceptor(&self, name: &str, protocol: &[u8]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![certificate.der().clone()];
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What a receiver has seen: for each connection the name that it was asked for, and
/// what was sent on it.
type Seen = Arc<Mutex<Vec<(String, Vec<Value>)>>>;

/// A receiver that speaks HTTP/2.
async fn receive(acceptor: TlsAcceptor) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let seen_by = seen.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), seen_by.clone());
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(socket).await else {
                    return;
                };
                let name = tls.get_ref().1.server_name().unwrap_or_default().to_owned();
                let index = {
                    let mut seen = seen.lock().unwrap();
                    seen.push((name, Vec::new()));
                    seen.len() - 1
                };
                let mut connection = h2::server::handshake(tls).await.unwrap();
                while let Some(Ok((request, mut answer))) = connection.accept().await {
                    let seen = seen.clone();
                    tokio::spawn(async move {
                        let mut body = request.into_body();
                        let mut bytes = Vec::new();
                        while let Some(Ok(data)) = body.data().await {
                            let data: Bytes = data;
                            let _ = body.flow_control().release_capacity(data.len());
                            bytes.extend_from_slice(&data);
                        }
                        let said = serde_json::from_slice(&bytes).unwrap();
                        seen.lock().unwrap()[index].1.push(said);
                        let taken = http::Response::builder().status(204).body(()).unwrap();
                        answer.send_response(taken, true).unwrap();
                    });
                }
            });
        }
    });
    (address, seen)
}

fn create(server: &ServerProcess, url: &str) -> String {
    let created = server.post("/v1/webhooks", &json!({"url": url}));
    assert_eq!(created.status, 201, "{created:?}");
    created.json()["id"].as_str().unwrap().to_owned()
}

fn test(server: &ServerProcess, id: &str) -> Value {
    let answer = server.post(&format!("/v1/webhooks/{id}/test"), &json!({}));
    answer.json()["outcome"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_share_a_connection_of_http_2_to_the_name_that_was_given() {
    let authority = Authority::new();
    let (address, seen) = receive(authority.acceptor("localhost", b"h2")).await;
    let server = server_with(&authority.settings());
    create(
        &server,
        &format!("https://localhost:{}/hook", address.port()),
    );
    for number in 0..20 {
        let published = server.post("/v1/events", &notification(&format!("m{number}")));
        assert_eq!(published.status, 201);
    }
    let count = || {
        seen.lock()
            .unwrap()
            .iter()
            .map(|(_, said)| said.len())
            .sum::<usize>()
    };
    eventually("all were taken", || count() == 20);
    let seen = seen.lock().unwrap().clone();
    assert!(seen.iter().all(|(name, _)| name == "localhost"), "{seen:?}");
    // One each at most for those that were sent before the first was there.
    assert!(seen.len() < 20, "{} connections", seen.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_vouched_for_is_sent_nothing() {
    let (authority, another) = (Authority::new(), Authority::new());
    let server = server_with(&authority.settings());
    let (stranger, seen) = receive(another.acceptor("localhost", b"h2")).await;
    let id = create(&server, &format!("https://localhost:{}/", stranger.port()));
    assert_eq!(test(&server, &id), "tls_error");
    let (misnamed, misnamed_seen) = receive(authority.acceptor("other.example", b"h2")).await;
    let id = create(&server, &format!("https://localhost:{}/", misnamed.port()));
    assert_eq!(test(&server, &id), "tls_error");
    assert!(seen.lock().unwrap().is_empty() && misnamed_seen.lock().unwrap().is_empty());
    // By its platform it knows nobody of the test's.
    let elsewhere = server_with("[webhooks]\ndev_allow_loopback = true\n");
    let (known, _) = receive(authority.acceptor("localhost", b"h2")).await;
    let id = create(&elsewhere, &format!("https://localhost:{}/", known.port()));
    assert_eq!(test(&elsewhere, &id), "tls_error");
}
