use std::collections::{BTreeMap, VecDeque};

use notification_event::{ClientId, GroupName, Position};

use crate::Membership;

/// Who is in which group, and who was.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    /// And after which position.
    current: BTreeMap<(GroupName, ClientId), Position>,
    /// In the order in which they ended.
    ended: VecDeque<Membership>,
}

impl Memberships {
    pub(super) fn join(&mut self, group: &GroupName, client: &ClientId, head: Position) {
        let key = (group.clone(), client.clone());
        self.current.entry(key).or_insert(head);
    }

    pub(super) fn leave(&mut self, group: &GroupName, client: &ClientId, head: Position) {
        let key = (group.clone(), client.clone());
        if let Some(after) = self.current.remove(&key)
            && after < head
        {
            let (group, client) = key;
            self.ended.push_back(Membership {
                group,
                client,
                after,
                through: Some(head),
            });
        }
    }

    /// Forgets those that ended at `floor` or before.
    pub(super) fn prune(&mut self, floor: Position) {
        while self.ended.front().is_some_and(|m| m.through <= Some(floor)) {
            self.ended.pop_front();
        }
    }

    /// In order of group, client, and time.
    pub(super) fn all(&self) -> Vec<Membership> {
        let current = self
            .current
            .iter()
            .map(|((group, client), after)| Membership {
                group: group.clone(),
                client: client.clone(),
                after: *after,
                through: None,
            });
        let mut all: Vec<_> = self.ended.iter().cloned().chain(current).collect();
        all.sort_by(|a, b| {
            let by_name = (&a.group, &a.client).cmp(&(&b.group, &b.client));
            by_name.then(a.after.cmp(&b.after))
        });
        all
    }
}
