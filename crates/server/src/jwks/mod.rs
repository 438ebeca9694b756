//! Fetches the keys that tokens are verified with, again and again.

mod fetch;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::Uri;
use notification_access::{JwkSet, TokenKeys, Tokens};
use notification_event::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, sleep, sleep_until};

pub use self::fetch::NoRoots;
use self::fetch::{Client, FetchError};

/// Where keys are fetched from: by https, or from this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUrl(Uri);

impl JwksUrl {
    fn is_encrypted(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

impl FromStr for JwksUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected an https:// URL such as https://issuer.example/jwks.json \
                        (http:// only for this machine)";
        let uri: Uri = text.parse().map_err(|_| expected)?;
        let host = uri.host().unwrap_or_default();
        let has_password = uri.authority().is_some_and(|a| a.as_str().contains('@'));
        let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let is_here = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
        match uri.scheme_str() {
            Some("https") if !host.is_empty() && !has_password => Ok(Self(uri)),
            Some("http") if is_here && !has_password => Ok(Self(uri)),
            _ => Err(expected),
        }
    }
}

/// A set of keys that is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksSource {
    /// From where.
    pub url: JwksUrl,
    /// Whom to believe that it is there; empty: whomever this platform does.
    pub authorities: Vec<CertificateDer<'static>>,
    /// How often.
    pub refresh: Duration,
    /// How long keys are believed after they were fetched.
    pub max_age: Duration,
}

/// The one task that fetches.
pub struct JwksFetcher {
    source: JwksSource,
    client: Client,
    tokens: Arc<Tokens>,
    /// What was fetched last, and until when it is good.
    last: Option<(JwkSet, Timestamp)>,
    failures: u32,
    /// Nobody who sends tokens with odd names has more fetched than one set in that time.
    between: Duration,
}

impl JwksFetcher {
    /// Fetches for `tokens`.
    ///
    /// # Errors
    ///
    /// If the platform has no certificate authorities, and they are needed.
    pub fn new(source: JwksSource, tokens: Arc<Tokens>) -> Result<Self, NoRoots> {
        Ok(Self {
            client: Client::new(&source)?,
            source,
            tokens,
            last: None,
            failures: 0,
            between: Duration::from_secs(10),
        })
    }

    /// Fetches at once, then every while, and when a token came with a key that
    /// is not known. A failure is logged and tried again, soon at first. To end
    /// it, drop it.
    pub async fn run(mut self) -> Infallible {
        loop {
            let again = Instant::now() + self.between;
            let wait = self.refresh().await;
            let wanted = async {
                self.tokens.keys_wanted().await;
                sleep_until(again).await;
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = wanted => {}
            }
        }
    }

    /// Fetches once. The keys that were good stay if there are no others.
    /// Returns how long to wait before the next time.
    async fn refresh(&mut self) -> Duration {
        let fetched = self.client.fetch(&self.source.url).await;
        let now = Timestamp::from(SystemTime::now());
        match fetched {
            Ok(set) => {
                self.failures = 0;
                self.adopt(set, now);
                self.source.refresh
            }
            Err(error) => {
                self.failures += 1;
                self.log_failure(&error, now);
                let patience = Duration::from_secs(1 << self.failures.min(7)) / 2;
                patience.min(self.source.refresh)
            }
        }
    }

    fn adopt(&mut self, set: JwkSet, now: Timestamp) {
        let until = now.after(self.source.max_age);
        let is_known = |(last, _): &(JwkSet, _)| last.is_same(&set);
        if !self.last.as_ref().is_some_and(is_known) {
            tracing::info!(url = %self.source.url.0, keys = ?set.names(), "fetched the keys that verify tokens");
            for ignored in set.ignored() {
                tracing::warn!(url = %self.source.url.0, "passed over {ignored}");
            }
        }
        self.tokens.replace_keys(TokenKeys::set(set.clone(), until));
        self.last = Some((set, until));
    }

    fn log_failure(&self, error: &FetchError, now: Timestamp) {
        let url = &self.source.url.0;
        match self.last {
            Some((_, until)) if now < until => {
                tracing::warn!(%url, %error, %until, "cannot fetch the keys that verify tokens; those from before are good for a while");
            }
            Some(_) => {
                tracing::error!(%url, %error, "cannot fetch the keys that verify tokens, and those from before are too old: tokens are refused");
            }
            None => {
                tracing::error!(%url, %error, "cannot fetch the keys that verify tokens: tokens are refused");
            }
        }
    }
}
