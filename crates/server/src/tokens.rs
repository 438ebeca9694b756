//! From the settings of tokens to what verifies them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notification_access::{Access, TokenConfig, TokenKeyError, TokenKeys, Tokens};
use notification_hub::Hub;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use tokio::sync::watch;

use crate::{JwksFetcher, JwksSource, Jwt};

/// Where the keys come from that verify tokens.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// They are these, until the settings are read again.
    Given(TokenKeys),
    /// They are fetched.
    Fetched(JwksSource),
}

/// Why a file that the settings name cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting} = {path:?}: {reason}")]
pub struct TokenFileError {
    /// The setting: `auth.jwt.secret_file`.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: FileReason,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileReason {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is no such key.
    #[error(transparent)]
    Key(#[from] TokenKeyError),
    /// It has no certificates.
    #[error("expected certificates in PEM")]
    NoCertificate,
}

/// More than any key, and far more than would be read by mistake.
const MAX_FILE: u64 = 1024 * 1024;

impl Jwt {
    /// What tokens have to say and what verifies them, with the files that are
    /// named read as they are now; none if tokens are not accepted.
    pub fn load(&self) -> Result<Option<(TokenConfig, KeySource)>, TokenFileError> {
        Ok(self.keys()?.map(|keys| (self.token_config(), keys)))
    }

    fn keys(&self) -> Result<Option<KeySource>, TokenFileError> {
        if let Some(path) = &self.secret_file {
            return with_file("auth.jwt.secret_file", path, |bytes| {
                warn_if_others_can_read(path);
                let keys = TokenKeys::secret(without_newline(bytes))?;
                Ok(Some(KeySource::Given(keys)))
            });
        }
        if let Some(path) = &self.public_key_file {
            return with_file("auth.jwt.public_key_file", path, |bytes| {
                let keys = TokenKeys::public_key(bytes)?;
                Ok(Some(KeySource::Given(keys)))
            });
        }
        let Some(url) = &self.jwks_url else {
            return Ok(None);
        };
        let authorities = match &self.jwks_ca_file {
            Some(path) => with_file("auth.jwt.jwks_ca_file", path, certificates)?,
            None => Vec::new(),
        };
        Ok(Some(KeySource::Fetched(JwksSource {
            url: url.clone(),
            authorities,
            refresh: self.jwks_refresh,
            max_age: self.jwks_max_age,
        })))
    }

    fn token_config(&self) -> TokenConfig {
        TokenConfig {
            issuer: self.issuer.clone().unwrap_or_default(),
            audiences: self.audience.clone(),
            leeway: self.leeway,
            client_claim: self.client_claim.clone(),
            groups_claim: self.groups_claim.clone(),
            grants_claim: self.grants_claim.clone(),
            events_per_hour_claim: self.events_per_hour_claim.clone(),
            roles: self.roles.clone(),
        }
    }
}

/// The certificates of those who vouch for others, which `setting` names.
pub(crate) fn authorities(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TokenFileError> {
    with_file(setting, path, certificates)
}

/// Makes `loaded` what verifies tokens from now on. Whoever fetches keys is told
/// through `source`.
pub(crate) fn accept(
    access: &Access,
    loaded: Option<(TokenConfig, KeySource)>,
    source: &watch::Sender<Option<JwksSource>>,
) {
    let Some((config, keys)) = loaded else {
        access.set_tokens(None);
        source.send_replace(None);
        return;
    };
    let (given, fetched) = match keys {
        KeySource::Given(keys) => (Some(keys), None),
        KeySource::Fetched(fetched) => (None, Some(fetched)),
    };
    // The same keys, however often they are fetched.
    let url_of = |source: &Option<JwksSource>| source.as_ref().map(|source| source.url.clone());
    let is_same_source = url_of(&source.borrow()) == url_of(&fetched);
    match access.tokens().filter(|_| is_same_source) {
        // Whoever was verified stays so, if nothing speaks against it.
        Some(tokens) => {
            tokens.configure(config, given);
            source.send_if_modified(|current| {
                let differs = *current != fetched;
                *current = fetched;
                differs
            });
        }
        None => {
            let keys = given.unwrap_or_else(TokenKeys::awaited);
            access.set_tokens(Some(Arc::new(Tokens::new(config, keys))));
            source.send_replace(fetched);
        }
    }
}

/// Fetches keys from wherever `source` says. Ends with its sender.
pub(crate) async fn fetch(hub: Hub, mut source: watch::Receiver<Option<JwksSource>>) {
    loop {
        let from = source.borrow_and_update().clone();
        let tokens = hub.access().tokens();
        let fetcher = from
            .zip(tokens)
            .map(|(from, tokens)| JwksFetcher::new(from, tokens));
        let fetching = async {
            match fetcher {
                Some(Ok(fetcher)) => match fetcher.run().await {},
                Some(Err(error)) => {
                    tracing::error!(%error, "cannot fetch the keys that verify tokens")
                }
                None => {}
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            changed = source.changed() => if changed.is_err() { return },
            () = fetching => {}
        }
    }
}

fn with_file<T>(
    setting: &'static str,
    path: &Path,
    make: impl FnOnce(&[u8]) -> Result<T, FileReason>,
) -> Result<T, TokenFileError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    let made = read.map_err(FileReason::from).and_then(|_| make(&bytes));
    made.map_err(|reason| TokenFileError {
        setting,
        path: path.to_owned(),
        reason,
    })
}

/// An editor ends the last line, too; the secret goes without that.
fn without_newline(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileReason> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|_| FileReason::NoCertificate)?;
    let mut roots = RootCertStore::empty();
    let all_are_good = certificates
        .iter()
        .all(|one| roots.add(one.clone()).is_ok());
    match all_are_good && !certificates.is_empty() {
        true => Ok(certificates),
        false => Err(FileReason::NoCertificate),
    }
}

#[cfg(unix)]
fn warn_if_others_can_read(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let mode = std::fs::metadata(path).map_or(0, |file| file.permissions().mode());
    if mode & 0o007 != 0 {
        tracing::warn!(
            ?path,
            "every user of this machine may use the secret that signs tokens: chmod o= it"
        );
    }
}

#[cfg(not(unix))]
fn warn_if_others_can_read(_: &Path) {}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;
    use crate::Config;

    fn file(text: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn jwt(change: impl FnOnce(&mut Jwt)) -> Result<Option<(TokenConfig, KeySource)>, String> {
        let mut jwt = Config::default().auth.jwt;
        change(&mut jwt);
        jwt.load().map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_key_no_token_is_accepted() {
        assert!(jwt(|_| {}).unwrap().is_none());
    }

    #[test]
    fn a_secret_is_what_stands_in_its_file_without_the_newline() {
        let load = |text: &[u8]| {
            let file = file(text);
            jwt(|jwt| jwt.secret_file = Some(file.path().to_owned())).map(|loaded| loaded.is_some())
        };
        let secret = [b'x'; 32];
        assert_eq!(load(&secret), Ok(true));
        for end in ["\n", "\r\n"] {
            let short = [&secret[1..], end.as_bytes()].concat();
            let error = load(&short).unwrap_err();
            assert!(error.starts_with("auth.jwt.secret_file = "), "{error}");
            assert!(error.ends_with("at least 32 bytes"), "{error}");
        }
        assert_eq!(without_newline(b"a \r\n"), b"a ");
        assert_eq!(without_newline(b"a\n\n"), b"a\n");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_setting() {
        let nonsense = file(b"nonsense");
        let path = || Some(nonsense.path().to_owned());
        let check = |change: &dyn Fn(&mut Jwt), parts: [&str; 2]| {
            let error = jwt(change).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{error:?} does not say {part:?}");
            }
        };
        check(
            &|jwt| jwt.secret_file = Some("/nowhere".into()),
            ["auth.jwt.secret_file = \"/nowhere\"", "cannot be read"],
        );
        check(
            &|jwt| jwt.public_key_file = path(),
            ["auth.jwt.public_key_file = ", "BEGIN PUBLIC KEY"],
        );
        check(
            &|jwt| {
                jwt.jwks_url = Some("https://issuer.example/keys".parse().unwrap());
                jwt.jwks_ca_file = path();
            },
            ["auth.jwt.jwks_ca_file = ", "certificates in PEM"],
        );
    }

    #[test]
    fn fetched_keys_are_fetched_as_it_was_set() {
        let authority = file(include_bytes!("jwks/testdata/authority.pem"));
        let loaded = jwt(|jwt| {
            jwt.jwks_url = Some("https://issuer.example/keys".parse().unwrap());
            jwt.jwks_ca_file = Some(authority.path().to_owned());
        });
        let Some((config, KeySource::Fetched(source))) = loaded.unwrap() else {
            panic!("expected keys that are fetched");
        };
        assert_eq!(source.authorities.len(), 1);
        assert_eq!(source.refresh.as_secs(), 300);
        assert_eq!(source.max_age.as_secs(), 86_400);
        assert_eq!(config.leeway.as_secs(), 30);
        assert_eq!(config.grants_claim.as_deref(), Some("scope"));
        assert_eq!(config.events_per_hour_claim, None);
    }

    #[test]
    fn the_keys_stay_when_only_how_they_are_fetched_changes() {
        let secret = notification_access::ServerSecret::generate();
        let secret = notification_access::ServerSecret::new(&secret);
        let access = Access::new(secret, notification_access::LimitsConfig::default());
        let (source, mut told) = watch::channel(None);
        let load = |url: &str, refresh: u64| {
            let loaded = jwt(|jwt| {
                jwt.jwks_url = Some(url.parse().unwrap());
                jwt.jwks_refresh = std::time::Duration::from_secs(refresh);
            });
            accept(&access, loaded.unwrap(), &source);
            access.tokens().unwrap()
        };
        let first = load("https://issuer.example/keys", 300);
        assert!(told.has_changed().unwrap());
        told.mark_unchanged();
        assert!(Arc::ptr_eq(
            &first,
            &load("https://issuer.example/keys", 300)
        ));
        assert!(!told.has_changed().unwrap());
        assert!(Arc::ptr_eq(
            &first,
            &load("https://issuer.example/keys", 600)
        ));
        assert_eq!(
            told.borrow_and_update().as_ref().unwrap().refresh.as_secs(),
            600
        );
        assert!(!Arc::ptr_eq(
            &first,
            &load("https://other.example/keys", 600)
        ));
    }
}
