use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ServerConfig;
use rustls::version::{TLS12, TLS13};
use x509_cert::der::Decode;

/// Where a certificate and its key are, in PEM (RFC 7468).
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, and after it those that lead to one that
    /// clients trust.
    pub certificate: PathBuf,
    /// The certificate's private key, which is not encrypted.
    pub key: PathBuf,
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of the certificate is of no use.
    #[error("{}: {flaw}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The file of the key is of no use.
    #[error("{}: {flaw}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// None could be made.
    #[error("cannot make a certificate: {0}")]
    SelfSigned(String),
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(std::io::Error),
    /// It is damaged.
    #[error("it is not PEM as it should be")]
    NotPem,
    /// It is the wrong one, or empty.
    #[error("there is no certificate in it (BEGIN CERTIFICATE)")]
    NoCertificate,
    /// It is the wrong one, or the key is encrypted.
    #[error("there is no key in it that is not encrypted (BEGIN PRIVATE KEY)")]
    NoKey,
    /// It belongs to another certificate.
    #[error("it is not the key of the certificate")]
    NotItsKey,
    /// It is none that can be used here.
    #[error("it cannot be used: {0}")]
    Refused(rustls::Error),
}

/// A certificate, ready to be shown to clients.
#[derive(Clone)]
pub(crate) struct Certificate {
    /// How connections are encrypted with it.
    pub(crate) config: Arc<ServerConfig>,
    /// The SHA-256 of it, in hexadecimal as openssl and browsers show it.
    pub(crate) fingerprint: String,
    /// From when to when it is valid. None if it does not say so in a way that
    /// we understand; clients are the judges of that.
    pub(crate) validity: Option<Validity>,
}

impl Certificate {
    /// Reads one.
    pub(crate) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let in_certificate = |flaw| TlsError::Certificate {
            path: files.certificate.clone(),
            flaw,
        };
        let in_key = |flaw| TlsError::Key {
            path: files.key.clone(),
            flaw,
        };
        let chain = read_chain(&files.certificate).map_err(in_certificate)?;
        let key = read_key(&files.key).map_err(in_key)?;
        Self::new(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => in_key(Flaw::NotItsKey),
            rustls::Error::InvalidCertificate(_) => in_certificate(Flaw::Refused(error)),
            error => in_key(Flaw::Refused(error)),
        })
    }

    /// Makes one that nobody vouches for, for this machine and for `address`.
    pub(crate) fn self_signed(address: IpAddr) -> Result<Self, TlsError> {
        let failed = |error: rcgen::Error| TlsError::SelfSigned(error.to_string());
        let addresses = [
            Ipv4Addr::LOCALHOST.into(),
            Ipv6Addr::LOCALHOST.into(),
            address,
        ];
        let mut names = vec!["localhost".to_owned()];
        names.extend(addresses.map(|address| address.to_string()));
        names.dedup();
        let mut params = CertificateParams::new(names).map_err(failed)?;
        let now = SystemTime::now();
        // Clocks differ.
        params.not_before = (now - DAY).into();
        params.not_after = (now + 365 * DAY).into();
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Self::new(vec![certificate.into()], key.into())
            .map_err(|error| TlsError::SelfSigned(error.to_string()))
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let (fingerprint, validity) = match chain.first() {
            Some(own) => (fingerprint(own), Validity::of(own)),
            None => return Err(rustls::Error::NoCertificatesPresented),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
        Ok(Self {
            config: Arc::new(config),
            fingerprint,
            validity,
        })
    }
}

/// What the protocols are called (RFC 9113, section 3.1; RFC 7301, section 6).
pub(crate) const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long before its end a certificate is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// From when to when a certificate is valid, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Duration,
    pub(crate) not_after: Duration,
}

impl Validity {
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
        let validity = parsed.tbs_certificate.validity;
        Some(Self {
            not_before: validity.not_before.to_unix_duration(),
            not_after: validity.not_after.to_unix_duration(),
        })
    }

    /// What somebody should do something about, if anything. `now` is since 1970.
    pub(crate) fn concern(self, now: Duration) -> Option<&'static str> {
        if now > self.not_after {
            Some("the certificate has expired")
        } else if now < self.not_before {
            Some("the certificate is not valid yet")
        } else if self.not_after - now < SOON {
            Some("the certificate ends soon")
        } else {
            None
        }
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Flaw> {
    let pem = std::fs::read(path).map_err(Flaw::Unreadable)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(Flaw::NoCertificate),
        Ok(chain) => Ok(chain),
        Err(_) => Err(Flaw::NotPem),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Flaw> {
    use rustls::pki_types::pem::Error;
    let pem = std::fs::read(path).map_err(Flaw::Unreadable)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        Error::NoItemsFound => Flaw::NoKey,
        _ => Flaw::NotPem,
    })
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let mut text = String::new();
    for byte in digest(&SHA256, certificate).as_ref() {
        let colon = if text.is_empty() { "" } else { ":" };
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate and its key, in PEM.
    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn check(certificate: &str, key: &str, expected: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles {
            certificate: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
        };
        for (path, text) in [(&files.certificate, certificate), (&files.key, key)] {
            if !text.is_empty() {
                std::fs::write(path, text).unwrap();
            }
        }
        let found = Certificate::read(&files).err().map(|e| e.to_string());
        match (&found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
            _ => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn what_is_wrong_with_which_file_is_said() {
        let (certificate, key) = pair();
        let (_, other_key) = pair();
        let damaged = |pem: &str| pem.replacen('M', "!", 1);
        check(&certificate, &key, None);
        check(&format!("{certificate}{certificate}"), &key, None);
        check("", &key, Some("cert.pem: No such file"));
        check(&certificate, "", Some("key.pem: No such file"));
        check(&key, &key, Some("cert.pem: there is no certificate"));
        check(
            &certificate,
            &certificate,
            Some("key.pem: there is no key in it"),
        );
        check(
            &certificate,
            &other_key,
            Some("key.pem: it is not the key of the certificate"),
        );
        check(
            &damaged(&certificate),
            &key,
            Some("cert.pem: it is not PEM"),
        );
        check(&certificate, &damaged(&key), Some("key.pem: it is not PEM"));
    }

    #[test]
    fn a_certificate_of_our_own_is_valid_for_a_year() {
        let made = Certificate::self_signed(Ipv4Addr::UNSPECIFIED.into()).unwrap();
        assert_eq!(made.fingerprint.len(), 32 * 3 - 1);
        let validity = made.validity.unwrap();
        assert_eq!(validity.not_after - validity.not_before, 366 * DAY);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        assert_eq!(validity.concern(now.unwrap()), None);
        let again = Certificate::self_signed(Ipv4Addr::UNSPECIFIED.into()).unwrap();
        assert_ne!(made.fingerprint, again.fingerprint);
    }

    #[test]
    fn a_certificate_is_of_concern_before_it_begins_and_from_two_weeks_before_its_end() {
        let validity = Validity {
            not_before: 100 * DAY,
            not_after: 200 * DAY,
        };
        let check = |day: u32, expected: Option<&str>| {
            let found = validity.concern(day * DAY);
            assert_eq!(found.is_some(), expected.is_some(), "day {day}");
            assert!(found.is_none_or(|found| found.contains(expected.unwrap())));
        };
        check(99, Some("not valid yet"));
        check(100, None);
        check(186, None);
        check(187, Some("ends soon"));
        check(200, Some("ends soon"));
        check(201, Some("expired"));
    }
}
