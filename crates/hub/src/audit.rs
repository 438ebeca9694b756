use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use notification_event::{Application, Body, Draft, JsonObject};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::Metrics;
use crate::metrics::ReasonLabel;

/// How many refusals get a line of the log each in a second. The others are counted.
const LINES: u64 = 20;

/// How many refusals of principals are events of their own in a minute. All
/// others are counted, and the counts are one event a minute: whoever is refused
/// must not push out of the log what others have published.
const EVENTS: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// Says who did what, in the log of the server (target `audit`) and on the topic
/// `$audit`. What is published is not said here: that stands beside each event.
#[derive(Debug)]
pub(crate) struct Audit {
    /// Unbounded: what is said of one request is bounded, and so are refusals.
    announcements: mpsc::UnboundedSender<Draft>,
    refused: Mutex<Refused>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Refused {
    /// Since the last look of the keeper, a second ago.
    lines: u64,
    /// Since the counts were told last.
    events: u64,
    told_at: Option<Instant>,
    /// Those that were no events, by reason.
    untold: BTreeMap<&'static str, u64>,
}

/// Who did something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By<'a> {
    /// The name of a principal; none if that is not known.
    pub(crate) principal: Option<&'a str>,
    /// From where.
    pub(crate) address: Option<IpAddr>,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// It is not known who asks.
    Unauthenticated,
    /// He may not do that.
    Denied,
    /// He has done it too often.
    Limited,
    /// It came from another site's page, or for another host.
    Foreign,
}

impl RefusalReason {
    /// The word for it in metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Foreign => "foreign",
        }
    }
}

impl Audit {
    pub(crate) fn new(announcements: mpsc::UnboundedSender<Draft>, metrics: Metrics) -> Self {
        Self {
            announcements,
            refused: Mutex::default(),
            metrics,
        }
    }

    /// Says that something was done, such as `key.created`, to what.
    pub(crate) fn done(&self, deed: &str, by: By<'_>, what: &[(&str, &str)]) {
        let data = by.and(what);
        let json = Value::Object(data.clone()).to_string();
        tracing::info!(target: "audit", deed, data = %json);
        self.announce(deed, data);
    }

    /// Says that a request was refused.
    pub(crate) fn refused(&self, reason: RefusalReason, by: By<'_>, detail: &str) {
        let word = reason.as_str();
        let label = ReasonLabel { reason: word };
        self.metrics.refused.get_or_create(&label).inc();
        let mut refused = self.lock();
        refused.lines += 1;
        let has_line = refused.lines <= LINES;
        let is_event = by.principal.is_some() && refused.events < EVENTS;
        match is_event {
            true => refused.events += 1,
            false => *refused.untold.entry(word).or_default() += 1,
        }
        drop(refused);
        if !has_line && !is_event {
            return;
        }
        let data = by.and(&[("reason", word), ("detail", detail)]);
        if has_line {
            let json = Value::Object(data.clone()).to_string();
            tracing::warn!(target: "audit", deed = "request.refused", data = %json);
        }
        if is_event {
            self.announce("request.refused", data);
        }
    }

    /// Says how many refusals were not told one by one. To be called once a second.
    pub(crate) fn sum_up(&self, now: Instant) {
        let mut refused = self.lock();
        let more = std::mem::take(&mut refused.lines).saturating_sub(LINES);
        if more > 0 {
            tracing::warn!(target: "audit", more, "more requests were refused than are told one by one");
        }
        if refused.told_at.is_some_and(|at| now < at + MINUTE) {
            return;
        }
        if refused.events > 0 || !refused.untold.is_empty() {
            refused.told_at = Some(now);
        }
        refused.events = 0;
        if !refused.untold.is_empty() {
            let untold = std::mem::take(&mut refused.untold).into_iter();
            let data = untold.map(|(reason, count)| (reason.to_owned(), count.into()));
            self.announce("requests.refused", data.collect());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().expect("no holder panics")
    }

    fn announce(&self, name: &str, data: JsonObject) {
        let body = Body::Application(Application {
            name: name.parse().expect("an event name"),
        });
        let draft = Draft {
            topic: "$audit".parse().expect("a topic"),
            data: Some(data),
            ..Draft::from(body)
        };
        // A hub that has closed says nothing more.
        let _ = self.announcements.send(draft);
    }
}

impl By<'_> {
    fn and(self, what: &[(&str, &str)]) -> JsonObject {
        let address = self.address.map(|address| address.to_string());
        let who = [
            ("principal", self.principal),
            ("address", address.as_deref()),
        ];
        let who = who
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let all = who.chain(what.iter().copied());
        all.map(|(name, value)| (name.to_owned(), value.into()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_do_not_fill_the_log() {
        let (announcements, mut said) = mpsc::unbounded_channel();
        let audit = Audit::new(announcements, Metrics::default());
        let (nobody, somebody) = (None, Some("key:a"));
        let refuse = |principal, times| {
            let by = By {
                principal,
                address: None,
            };
            (0..times).for_each(|_| audit.refused(RefusalReason::Denied, by, "no"));
        };
        let mut said = || -> Vec<Value> {
            let drafts = std::iter::from_fn(|| said.try_recv().ok());
            drafts
                .map(|draft| draft.data.unwrap_or_default().into())
                .collect()
        };
        let start = Instant::now();
        refuse(nobody, 100);
        assert_eq!(said().len(), 0);
        audit.sum_up(start);
        assert_eq!(said(), [serde_json::json!({"denied": 100})]);
        refuse(somebody, 100);
        assert_eq!(said().len(), 10);
        audit.sum_up(start + MINUTE / 2);
        assert_eq!(said().len(), 0);
        audit.sum_up(start + MINUTE);
        assert_eq!(said(), [serde_json::json!({"denied": 90})]);
    }
}
