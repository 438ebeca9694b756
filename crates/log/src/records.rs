use std::str::FromStr;

use notification_event::{
    ClientId, Cursor, EventId, Filter, GroupName, ParseError, Position, Timestamp,
};

/// Something that is stored beside the events, in the same commit as they are.
///
/// Each is the same done twice as done once. Receipts belong to an event: for
/// one that is neither in the log nor in the same commit nothing is stored, and
/// they go when it goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The client is in the group for this commit's events and those that
    /// follow. One that has left may join again: that is another [`Membership`].
    JoinGroup {
        /// Which group.
        group: GroupName,
        /// Who joins.
        client: ClientId,
    },
    /// The client is not in the group any more: the newest event before this
    /// commit is the last that it was a member for.
    LeaveGroup {
        /// Which group.
        group: GroupName,
        /// Who leaves.
        client: ClientId,
    },
    /// What is known of a durable client is this from now on.
    SaveClient(ClientRecord),
    /// Nothing is known of a durable client any more.
    ForgetClient(ClientId),
    /// This record is as it is here from now on.
    SaveRecord(Record),
    /// There is no such record any more.
    RemoveRecord {
        /// What it was.
        kind: String,
        /// Which of its kind.
        id: String,
    },
    /// An event was published that these clients are to acknowledge.
    Expect {
        /// Which event.
        event: EventId,
        /// Who.
        clients: Vec<ClientId>,
    },
    /// An event was delivered. Only the first time counts.
    Delivered {
        /// Which event.
        event: EventId,
        /// To whom.
        client: ClientId,
        /// When.
        at: Timestamp,
    },
    /// An event was acknowledged. Only the first time counts.
    Acknowledged {
        /// Which event.
        event: EventId,
        /// By whom.
        client: ClientId,
        /// When.
        at: Timestamp,
    },
}

/// That a client is, or was, in a group. An event for the group is for those
/// who were members at its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Which group.
    pub group: GroupName,
    /// Who.
    pub client: ClientId,
    /// The newest event before it joined.
    pub after: Position,
    /// The last event for which it was a member; none if it still is.
    pub through: Option<Position>,
}

impl Membership {
    /// Whether an event at `position` found it in the group.
    pub fn covers(&self, position: Position) -> bool {
        self.after < position && self.through.is_none_or(|through| position <= through)
    }
}

/// A client whose place in the log the server keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientRecord {
    /// Who.
    pub client: ClientId,
    /// What it asked for last.
    pub filter: Filter,
    /// What moves its place.
    pub ack: AckMode,
    /// Everything up to here is done with.
    pub cursor: Cursor,
    /// What was acknowledged beyond the cursor, in order.
    pub acknowledged: Vec<Position>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it was last connected, or acknowledged something.
    pub seen_at: Timestamp,
}

/// What moves a durable client's place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckMode {
    /// What was written to it, on a connection that stayed.
    #[default]
    Auto,
    /// What it acknowledges.
    Manual,
}

impl AckMode {
    /// The word for it in queries and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
        }
    }
}

impl FromStr for AckMode {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "auto" => Ok(Self::Auto),
            "manual" => Ok(Self::Manual),
            _ => Err(ParseError {
                what: "acknowledgement mode",
                expected: "auto or manual",
            }),
        }
    }
}

/// Something else that the server keeps, which means nothing to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is: `key`, …
    pub kind: String,
    /// Which of its kind.
    pub id: String,
    /// What it says: one JSON object.
    pub json: String,
}

/// Whether a client has got, and has acknowledged, an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Who.
    pub client: ClientId,
    /// When the event was first delivered to it.
    pub delivered_at: Option<Timestamp>,
    /// When it acknowledged it.
    pub acknowledged_at: Option<Timestamp>,
}

/// What a server has to know from its start on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// Who is in which group, and who was as long as it matters for events that
    /// are still there. In order of group, client, and time.
    pub memberships: Vec<Membership>,
    /// The durable clients, in order of their names.
    pub clients: Vec<ClientRecord>,
    /// All others, in order of kind and id.
    pub others: Vec<Record>,
}
