use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};

use crate::http::{self, exchange};
use crate::{EventStream, Response};

/// A connection that speaks TLS, and trusts whoever answers.
#[derive(Debug)]
pub struct TlsConnection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    server: SocketAddr,
}

impl TlsConnection {
    /// Shakes hands.
    ///
    /// # Panics
    ///
    /// If the server does not.
    pub fn open(server: SocketAddr) -> Self {
        let name = ServerName::from(server.ip());
        let config = tls_client(&[b"http/1.1"]);
        let mut session = ClientConnection::new(config, name).expect("a session");
        let mut socket = http::connect(server);
        session.complete_io(&mut socket).expect("a handshake");
        let stream = StreamOwned::new(session, socket);
        Self { stream, server }
    }

    /// What the server showed, in DER.
    pub fn certificate(&self) -> Vec<u8> {
        let shown = self.stream.conn.peer_certificates().expect("a certificate");
        shown[0].to_vec()
    }

    /// One request, after which the connection ends.
    ///
    /// # Panics
    ///
    /// If there is no whole answer before the deadline.
    pub fn request(
        self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let server = self.server;
        exchange(self, server, method, path, headers, body)
    }

    /// Opens the stream at `path`, and takes its first event, which says `connected`.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn stream(self, path: &str, headers: &[(&str, &str)]) -> EventStream {
        let socket = self.stream.sock.try_clone().expect("a socket");
        let server = self.server;
        let connection = http::send_on(self, server, "GET", path, headers, "");
        let mut stream = EventStream::read_from(connection, socket).expect("a stream");
        stream.connected();
        stream
    }
}

impl Read for TlsConnection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for TlsConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// How to speak TLS to whoever answers, for these protocols (RFC 7301).
pub fn tls_client(protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let trust = Arc::new(Trust(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions that there are")
        .dangerous()
        .with_custom_certificate_verifier(trust)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// Trusts every certificate, if the other side has its key.
#[derive(Debug)]
struct Trust(Arc<CryptoProvider>);

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
