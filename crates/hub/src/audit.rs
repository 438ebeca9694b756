use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use notification_event::{Application, Body, Draft, JsonObject};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::Metrics;
use crate::metrics::ReasonLabel;

/// How much of what is refused, or may be done as often as one likes, gets a line
/// of the log each in a second: of each principal, of all of them, and of those
/// whom nobody knows. The rest is counted.
const LINES: u64 = 10;
const LINES_OF_ALL: u64 = 100;
const LINES_OF_UNKNOWN: u64 = 20;

/// How much of that is events of their own in a minute, of each principal and of
/// all. The rest is counted, and the counts are one event a minute: nobody must
/// push out of the log what others have published.
const EVENTS: u64 = 10;
const EVENTS_OF_ALL: u64 = 100;

/// How much of why something was refused is repeated, in characters: some of it
/// is what was asked.
const MAX_DETAIL: usize = 120;

const MINUTE: Duration = Duration::from_secs(60);

/// Says who did what, in the log of the server (target `audit`) and on the topic
/// `$audit`. What is published is not said here: that stands beside each event.
#[derive(Debug)]
pub(crate) struct Audit {
    /// Unbounded: what is said of one request is bounded, and so are refusals.
    announcements: mpsc::UnboundedSender<Draft>,
    tally: Mutex<Tally>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Tally {
    /// Lines since the last look, a second ago, of each principal, so that none hides
    /// the others, and of nobody in particular.
    lines: HashMap<Option<String>, u64>,
    lines_of_all: u64,
    /// What would have been a line.
    more: u64,
    /// Events since the counts were told last, of each principal and of all.
    events: HashMap<String, u64>,
    events_of_all: u64,
    told_at: Option<Instant>,
    /// What was no event, by what it was.
    untold: BTreeMap<&'static str, u64>,
}

/// How something is told.
#[derive(Clone, Copy)]
struct Told {
    has_line: bool,
    is_event: bool,
}

impl Tally {
    fn tell(&mut self, what: &'static str, principal: Option<&str>) -> Told {
        let has_line = self.has_line_left(principal);
        let is_event = principal.is_some_and(|principal| self.has_event_left(principal));
        if !is_event {
            *self.untold.entry(what).or_default() += 1;
        }
        Told { has_line, is_event }
    }

    fn has_line_left(&mut self, principal: Option<&str>) -> bool {
        let max = match principal {
            Some(_) if self.lines_of_all >= LINES_OF_ALL => 0,
            Some(_) => LINES,
            None => LINES_OF_UNKNOWN,
        };
        if max == 0 {
            self.more += 1;
            return false;
        }
        let lines = self.lines.entry(principal.map(str::to_owned)).or_default();
        let is_left = *lines < max;
        match is_left {
            true => {
                *lines += 1;
                self.lines_of_all += u64::from(principal.is_some());
            }
            false => self.more += 1,
        }
        is_left
    }

    fn has_event_left(&mut self, principal: &str) -> bool {
        if self.events_of_all >= EVENTS_OF_ALL {
            return false;
        }
        let events = self.events.entry(principal.to_owned()).or_default();
        let is_left = *events < EVENTS;
        if is_left {
            *events += 1;
            self.events_of_all += 1;
        }
        is_left
    }
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
            tally: Mutex::default(),
            metrics,
        }
    }

    /// Has something be published that the server says itself, after what it has said
    /// before. A hub that has closed says nothing more.
    pub(crate) fn say_also(&self, draft: Draft) {
        let _ = self.announcements.send(draft);
    }

    /// Says that something was done, such as `key.created`, to what.
    pub(crate) fn done(&self, deed: &str, by: By<'_>, what: &[(&str, &str)]) {
        let data = by.and(what);
        let json = Value::Object(data.clone()).to_string();
        tracing::info!(target: "audit", deed, data = %json);
        self.announce(deed, data);
    }

    /// Says that something was done that everybody may do, as often as he likes.
    pub(crate) fn noted(&self, deed: &'static str, by: By<'_>, what: &[(&str, &str)]) {
        let told = self.lock().tell(deed, by.principal);
        self.say(deed, told, by.and(what));
    }

    /// Says that a request was refused.
    pub(crate) fn refused(&self, reason: RefusalReason, by: By<'_>, detail: &str) {
        let word = reason.as_str();
        let label = ReasonLabel { reason: word };
        self.metrics.refused.get_or_create(&label).inc();
        let told = self.lock().tell(word, by.principal);
        let detail: String = detail.chars().take(MAX_DETAIL).collect();
        let data = by.and(&[("reason", word), ("detail", &detail)]);
        self.say("request.refused", told, data);
    }

    fn say(&self, deed: &str, told: Told, data: JsonObject) {
        if told.has_line {
            let json = Value::Object(data.clone()).to_string();
            tracing::info!(target: "audit", deed, data = %json);
        }
        if told.is_event {
            self.announce(deed, data);
        }
    }

    /// Says how many refusals were not told one by one. To be called once a second.
    pub(crate) fn sum_up(&self, now: Instant) {
        let mut tally = self.lock();
        tally.lines.clear();
        tally.lines_of_all = 0;
        let more = std::mem::take(&mut tally.more);
        if more > 0 {
            tracing::warn!(target: "audit", more, "more was refused, or done by everybody, than is told one by one");
        }
        if tally.told_at.is_some_and(|at| now < at + MINUTE) {
            return;
        }
        if tally.events_of_all > 0 || !tally.untold.is_empty() {
            tally.told_at = Some(now);
        }
        tally.events.clear();
        tally.events_of_all = 0;
        if !tally.untold.is_empty() {
            let untold = std::mem::take(&mut tally.untold).into_iter();
            let data = untold.map(|(what, count)| (what.to_owned(), count.into()));
            self.announce("audit.counts", data.collect());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("no holder panics")
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

    #[test]
    fn nobody_hides_what_others_do() {
        fn lines(tally: &mut Tally, principal: Option<&str>, times: usize) -> usize {
            let told = (0..times).map(|_| tally.tell("denied", principal));
            told.filter(|told| told.has_line).count()
        }
        let mut tally = Tally::default();
        assert_eq!(lines(&mut tally, Some("key:noise"), 1_000), 10);
        assert_eq!(lines(&mut tally, None, 1_000), 20);
        assert_eq!(lines(&mut tally, Some("key:mallory"), 3), 3);
        assert_eq!(tally.more, 990 + 980);
        for n in 0..100 {
            lines(&mut tally, Some(&format!("key:{n}")), 1);
        }
        assert_eq!(lines(&mut tally, Some("key:late"), 1), 0);
    }
}
