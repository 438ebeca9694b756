use std::collections::BTreeMap;

use notification_event::{ClientId, Position, Timestamp};

use crate::Receipt;

/// Who has got, and has acknowledged, what.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    by_position: BTreeMap<Position, BTreeMap<ClientId, Times>>,
}

#[derive(Debug, Default)]
struct Times {
    delivered_at: Option<Timestamp>,
    acknowledged_at: Option<Timestamp>,
}

impl Receipts {
    pub(super) fn expect(&mut self, position: Position, client: &ClientId) {
        self.times(position, client);
    }

    pub(super) fn deliver(&mut self, position: Position, client: &ClientId, at: Timestamp) {
        self.times(position, client).delivered_at.get_or_insert(at);
    }

    pub(super) fn acknowledge(&mut self, position: Position, client: &ClientId, at: Timestamp) {
        let times = self.times(position, client);
        times.acknowledged_at.get_or_insert(at);
    }

    fn times(&mut self, position: Position, client: &ClientId) -> &mut Times {
        let of_event = self.by_position.entry(position).or_default();
        of_event.entry(client.clone()).or_default()
    }

    pub(super) fn remove(&mut self, position: Position) {
        self.by_position.remove(&position);
    }

    /// In order of the clients' names.
    pub(super) fn of(&self, position: Position) -> Vec<Receipt> {
        let of_event = self.by_position.get(&position).into_iter().flatten();
        of_event
            .map(|(client, times)| Receipt {
                client: client.clone(),
                delivered_at: times.delivered_at,
                acknowledged_at: times.acknowledged_at,
            })
            .collect()
    }

    /// Where the events are that a client has a receipt for and has not
    /// acknowledged, in order. Looks at each event that has receipts.
    pub(super) fn unacknowledged(
        &self,
        client: &ClientId,
        through: Position,
    ) -> impl Iterator<Item = Position> {
        let events = self.by_position.range(..=through);
        events
            .filter(|(_, of_event)| {
                let times = of_event.get(client);
                times.is_some_and(|times| times.acknowledged_at.is_none())
            })
            .map(|(position, _)| *position)
    }
}
