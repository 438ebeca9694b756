use std::net::IpAddr;
use std::sync::Mutex;

use notification_event::{Application, Body, Draft, JsonObject};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::Metrics;
use crate::metrics::ReasonLabel;

/// How many refusals are told one by one between two looks of the keeper, which
/// are a second apart. The others are counted.
const TOLD_EACH: u64 = 20;

/// Says who did what, in the log of the server (target `audit`) and on the topic
/// `$audit`. What is published is not said here: that stands beside each event.
#[derive(Debug)]
pub(crate) struct Audit {
    /// Unbounded: what is said of one request is bounded, and so are refusals.
    announcements: mpsc::UnboundedSender<Draft>,
    refused: Mutex<u64>,
    metrics: Metrics,
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
        let mut data = by.to_json();
        for (name, value) in what {
            data.insert((*name).to_owned(), (*value).into());
        }
        let json = Value::Object(data.clone()).to_string();
        tracing::info!(target: "audit", deed, data = %json);
        self.announce(deed, data);
    }

    /// Says that a request was refused.
    pub(crate) fn refused(&self, reason: RefusalReason, by: By<'_>, detail: &str) {
        let label = ReasonLabel {
            reason: reason.as_str(),
        };
        self.metrics.refused.get_or_create(&label).inc();
        let mut refused = self.refused.lock().expect("no holder panics");
        *refused += 1;
        if *refused > TOLD_EACH {
            return;
        }
        drop(refused);
        let what = [("reason", reason.as_str()), ("detail", detail)];
        self.done("request.refused", by, &what);
    }

    /// Says how many refusals were not told one by one. To be called once a second.
    pub(crate) fn sum_up(&self) {
        let refused = std::mem::take(&mut *self.refused.lock().expect("no holder panics"));
        let more = refused.saturating_sub(TOLD_EACH);
        if more > 0 {
            tracing::warn!(target: "audit", more, "more requests were refused than are told one by one");
            let data = [("count".to_owned(), more.into())];
            self.announce("requests.refused", JsonObject::from_iter(data));
        }
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
    fn to_json(self) -> JsonObject {
        let mut data = JsonObject::new();
        if let Some(principal) = self.principal {
            data.insert("principal".to_owned(), principal.into());
        }
        if let Some(address) = self.address {
            data.insert("address".to_owned(), address.to_string().into());
        }
        data
    }
}
