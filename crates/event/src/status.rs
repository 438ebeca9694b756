use serde::Serialize;
use serde_json::{Value, json};

use crate::schema::{and, integer, object, one_of, reference};
use crate::{Cursor, Pattern, Timestamp};

/// What the server tells one connection about itself. It is no event: it has no
/// id, is not in the log, and does not move the cursor.
///
/// JSON: `{"type": "status", "status": "connected", …, "timestamp": …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The first thing on every stream.
    Connected {
        /// This connection, as the server's log and metrics name it.
        connection_id: String,
        /// Open streams, this one included.
        client_count: usize,
        /// The topics that are left of those that were asked for, if not all of
        /// them may be seen.
        narrowed_to: Option<Vec<Pattern>>,
    },
    /// Events before `cursor` may be missing from this stream.
    Gap {
        /// Where delivery goes on.
        cursor: Cursor,
        /// Why they are missing.
        reason: GapReason,
    },
    /// The state that was asked for has been sent; what comes next is new.
    SnapshotComplete {
        /// Of how many events.
        events: u64,
    },
    /// Events were not sent, because newer ones took their place.
    Conflated {
        /// How many since this was last said.
        events: u64,
    },
    /// Nothing more comes before some of what was sent is acknowledged.
    Paused {
        /// How many events may be sent beyond the oldest that is not acknowledged.
        max_unacknowledged: usize,
    },
    /// The credential that this stream was opened with is good only so long, and
    /// the stream with it; come back with another.
    CredentialExpiring {
        /// Until when.
        expires_at: Timestamp,
    },
    /// The server ends this stream, because the credential that it was opened
    /// with is no longer good.
    Unauthorized {
        /// Why, for people.
        reason: String,
    },
    /// The server ends this stream; come back with the last `id:`.
    Closing {
        /// Why, for people.
        reason: &'static str,
    },
}

/// Why events may be missing from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// They were older or more than the server keeps.
    Retention,
    /// The cursor belongs to another log than the one the server has now.
    Epoch,
}

impl Status {
    /// Its JSON Schema.
    pub fn schema() -> Value {
        let count = integer(0, u64::MAX);
        let text = json!({"type": "string"});
        let reason = one_of(&[GapReason::Retention, GapReason::Epoch].map(GapReason::as_str));
        let variants = [
            (
                "connected",
                json!({
                    "connection_id": text, "client_count": count,
                    "narrowed_to": {
                        "type": "array", "items": reference("Pattern"), "minItems": 1,
                    },
                }),
            ),
            (
                "gap",
                json!({"cursor": reference("Cursor"), "reason": reason}),
            ),
            ("snapshot_complete", json!({"events": count})),
            ("conflated", json!({"events": count})),
            ("paused", json!({"max_unacknowledged": count})),
            (
                "credential_expiring",
                json!({"expires_at": reference("Timestamp")}),
            ),
            ("unauthorized", json!({"reason": text})),
            ("closing", json!({"reason": text})),
        ];
        let variants = variants.map(|(status, own)| {
            let common = json!({
                "type": {"const": "status"},
                "status": {"const": status},
                "timestamp": reference("Timestamp"),
            });
            let all = and(common, own);
            // The one that is not always there.
            let names = all.as_object().into_iter().flat_map(|all| all.keys());
            let required: Vec<_> = names
                .map(String::as_str)
                .filter(|n| *n != "narrowed_to")
                .collect();
            object(all.clone(), &required)
        });
        json!({"oneOf": variants})
    }

    /// The status as one line of JSON, at this moment.
    pub fn to_json(&self, timestamp: Timestamp) -> String {
        #[derive(Serialize)]
        struct Wire<'a> {
            r#type: &'static str,
            status: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            connection_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            client_count: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            narrowed_to: Option<Vec<&'a str>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            cursor: Option<Cursor>,
            #[serde(skip_serializing_if = "Option::is_none")]
            events: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            max_unacknowledged: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            expires_at: Option<Timestamp>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
            timestamp: Timestamp,
        }
        let mut wire = Wire {
            r#type: "status",
            status: "",
            connection_id: None,
            client_count: None,
            narrowed_to: None,
            cursor: None,
            events: None,
            max_unacknowledged: None,
            expires_at: None,
            reason: None,
            timestamp,
        };
        match self {
            Self::Connected {
                connection_id,
                client_count,
                narrowed_to,
            } => {
                wire.status = "connected";
                wire.connection_id = Some(connection_id);
                wire.client_count = Some(*client_count);
                let topics = narrowed_to.as_ref();
                wire.narrowed_to = topics.map(|t| t.iter().map(Pattern::as_str).collect());
            }
            Self::Gap { cursor, reason } => {
                wire.status = "gap";
                wire.cursor = Some(*cursor);
                wire.reason = Some(reason.as_str());
            }
            Self::SnapshotComplete { events } => {
                wire.status = "snapshot_complete";
                wire.events = Some(*events);
            }
            Self::Conflated { events } => {
                wire.status = "conflated";
                wire.events = Some(*events);
            }
            Self::Paused { max_unacknowledged } => {
                wire.status = "paused";
                wire.max_unacknowledged = Some(*max_unacknowledged);
            }
            Self::CredentialExpiring { expires_at } => {
                wire.status = "credential_expiring";
                wire.expires_at = Some(*expires_at);
            }
            Self::Unauthorized { reason } => {
                wire.status = "unauthorized";
                wire.reason = Some(reason);
            }
            Self::Closing { reason } => {
                wire.status = "closing";
                wire.reason = Some(reason);
            }
        }
        serde_json::to_string(&wire).expect("strings and numbers")
    }
}

impl GapReason {
    /// The word for it in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Epoch => "epoch",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn statuses_are_one_json_object_each() {
        let now = Timestamp::from_millis(0);
        let check = |status: Status, expected: Value| {
            let json: Value = serde_json::from_str(&status.to_json(now)).unwrap();
            assert_eq!(json, expected);
        };
        check(
            Status::Connected {
                connection_id: "c1".into(),
                client_count: 3,
                narrowed_to: None,
            },
            json!({"type": "status", "status": "connected", "connection_id": "c1",
                   "client_count": 3, "timestamp": "1970-01-01T00:00:00.000Z"}),
        );
        check(
            Status::Gap {
                cursor: "0123abcd-7".parse().unwrap(),
                reason: GapReason::Retention,
            },
            json!({"type": "status", "status": "gap", "cursor": "0123abcd-7",
                   "reason": "retention", "timestamp": "1970-01-01T00:00:00.000Z"}),
        );
        check(
            Status::SnapshotComplete { events: 2 },
            json!({"type": "status", "status": "snapshot_complete", "events": 2,
                   "timestamp": "1970-01-01T00:00:00.000Z"}),
        );
        check(
            Status::Conflated { events: 3 },
            json!({"type": "status", "status": "conflated", "events": 3,
                   "timestamp": "1970-01-01T00:00:00.000Z"}),
        );
        check(
            Status::Paused {
                max_unacknowledged: 10,
            },
            json!({"type": "status", "status": "paused", "max_unacknowledged": 10,
                   "timestamp": "1970-01-01T00:00:00.000Z"}),
        );
        check(
            Status::Closing { reason: "shutdown" },
            json!({"type": "status", "status": "closing", "reason": "shutdown",
                   "timestamp": "1970-01-01T00:00:00.000Z"}),
        );
    }
}
