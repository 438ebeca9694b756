use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{RwLock, RwLockReadGuard};

use notification_event::{Audience, ClientId, GroupName, Position};
use notification_log::{Change, Membership};

/// Who is in which group, and who was when events were published that are
/// still in the log.
///
/// What decides who gets an event for a group is who was in it at the event's
/// position: those who join later do not see what was said before, and those
/// who left can still replay what they were sent.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    // Read for each event that is for a group, written by the publisher only;
    // never held across an await.
    state: RwLock<HashMap<GroupName, HashMap<ClientId, Vec<Span>>>>,
    /// How many spans there are.
    memberships: AtomicUsize,
}

/// While a client was in a group: for events after `after`, up to `through`.
#[derive(Debug)]
struct Span {
    after: Position,
    through: Option<Position>,
}

impl Groups {
    pub(crate) fn load(memberships: Vec<Membership>) -> Self {
        let mut state: HashMap<_, HashMap<_, Vec<_>>> = HashMap::new();
        for Membership {
            group,
            client,
            after,
            through,
        } in memberships
        {
            let members = state.entry(group).or_default();
            let spans = members.entry(client).or_default();
            spans.push(Span { after, through });
        }
        Self {
            memberships: AtomicUsize::new(count(&state)),
            state: RwLock::new(state),
        }
    }

    /// Takes note of a change that was committed when the log's head was at `head`.
    pub(crate) fn apply(&self, change: &Change, head: Position) {
        let mut state = self.state.write().expect("no holder panics");
        match change {
            Change::JoinGroup { group, client } => {
                let members = state.entry(group.clone()).or_default();
                let spans = members.entry(client.clone()).or_default();
                if spans.last().is_none_or(|span| span.through.is_some()) {
                    spans.push(Span {
                        after: head,
                        through: None,
                    });
                    self.memberships.fetch_add(1, Ordering::Relaxed);
                }
            }
            Change::LeaveGroup { group, client } => {
                let spans = state.get_mut(group).and_then(|m| m.get_mut(client));
                if let Some(span) = spans.and_then(|spans| spans.last_mut()) {
                    span.through.get_or_insert(head);
                }
            }
            _ => {}
        }
    }

    /// Forgets memberships that ended before `floor`: no event is left that they decide of.
    pub(crate) fn prune(&self, floor: Position) {
        let mut state = self.state.write().expect("no holder panics");
        state.retain(|_, members| {
            members.retain(|_, spans| {
                spans.retain(|span| span.through.is_none_or(|through| through > floor));
                !spans.is_empty()
            });
            !members.is_empty()
        });
        self.memberships.store(count(&state), Ordering::Relaxed);
    }

    /// Whether an event at `position` for this audience is for `client`.
    pub(crate) fn includes(
        &self,
        audience: &Audience,
        client: &ClientId,
        position: Position,
    ) -> bool {
        let was_in = |span: &Span| {
            span.after < position && span.through.is_none_or(|through| position <= through)
        };
        self.any(audience, client, was_in)
    }

    /// Whether every event for this audience from `position` on is for `client`.
    pub(crate) fn includes_since(
        &self,
        audience: &Audience,
        client: &ClientId,
        position: Position,
    ) -> bool {
        let is_in = |span: &Span| span.after < position && span.through.is_none();
        self.any(audience, client, is_in)
    }

    /// Whether a client is named, or was in a group at a time that `holds` accepts.
    fn any(&self, audience: &Audience, client: &ClientId, holds: impl Fn(&Span) -> bool) -> bool {
        audience.named_clients().contains(client)
            || audience.named_groups().iter().any(|group| {
                let state = self.state();
                let spans = state.get(group).and_then(|m| m.get(client));
                spans.is_some_and(|spans| spans.iter().any(&holds))
            })
    }

    /// Who an event for this audience is for if it is published now.
    pub(crate) fn recipients(&self, audience: &Audience) -> HashSet<ClientId> {
        let mut recipients: HashSet<_> = audience.named_clients().iter().cloned().collect();
        let state = self.state();
        for members in audience.named_groups().iter().filter_map(|g| state.get(g)) {
            recipients.extend(current(members).cloned());
        }
        recipients
    }

    /// Whether a client is in a group now.
    pub(crate) fn is_member(&self, group: &GroupName, client: &ClientId) -> bool {
        let state = self.state();
        let spans = state.get(group).and_then(|members| members.get(client));
        spans.is_some_and(|spans| is_current(spans))
    }

    /// The groups that have members now, and how many.
    pub(crate) fn sizes(&self) -> BTreeMap<GroupName, usize> {
        let state = self.state();
        let sizes = state
            .iter()
            .map(|(g, members)| (g.clone(), current(members).count()));
        sizes.filter(|(_, size)| *size > 0).collect()
    }

    /// The members of a group now, in order; none if there are none.
    pub(crate) fn members(&self, group: &GroupName) -> Vec<ClientId> {
        let state = self.state();
        let members = state.get(group).into_iter().flat_map(current);
        let mut members: Vec<_> = members.cloned().collect();
        members.sort();
        members
    }

    /// The groups that a client is in now, in order.
    pub(crate) fn of(&self, client: &ClientId) -> Vec<GroupName> {
        let state = self.state();
        let groups = state
            .iter()
            .filter(|(_, members)| members.get(client).is_some_and(|spans| is_current(spans)));
        let mut groups: Vec<_> = groups.map(|(group, _)| group.clone()).collect();
        groups.sort();
        groups
    }

    /// How many memberships there are, current and former.
    pub(crate) fn memberships(&self) -> usize {
        self.memberships.load(Ordering::Relaxed)
    }

    fn state(&self) -> RwLockReadGuard<'_, HashMap<GroupName, HashMap<ClientId, Vec<Span>>>> {
        self.state.read().expect("no holder panics")
    }
}

fn count(state: &HashMap<GroupName, HashMap<ClientId, Vec<Span>>>) -> usize {
    let spans = state.values().flat_map(HashMap::values);
    spans.map(Vec::len).sum()
}

fn is_current(spans: &[Span]) -> bool {
    spans.last().is_some_and(|span| span.through.is_none())
}

/// Those who are members now.
fn current(members: &HashMap<ClientId, Vec<Span>>) -> impl Iterator<Item = &ClientId> {
    let members = members.iter();
    members
        .filter(|(_, spans)| is_current(spans))
        .map(|(client, _)| client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_is_what_it_was_at_the_event() {
        let groups = Groups::default();
        let (ops, alice): (GroupName, ClientId) =
            ("ops".parse().unwrap(), "alice".parse().unwrap());
        let join = Change::JoinGroup {
            group: ops.clone(),
            client: alice.clone(),
        };
        let leave = Change::LeaveGroup {
            group: ops.clone(),
            client: alice.clone(),
        };
        groups.apply(&join, Position(3));
        groups.apply(&join, Position(4));
        groups.apply(&leave, Position(5));
        groups.apply(&leave, Position(6));
        groups.apply(&join, Position(8));
        let audience = Audience::groups([ops.clone()]);
        let seen = |groups: &Groups| -> Vec<u64> {
            let is_for = |p: &u64| groups.includes(&audience, &alice, Position(*p));
            (1..12).filter(is_for).collect()
        };
        assert_eq!(seen(&groups), [4, 5, 9, 10, 11]);
        let is_in_since = |p| groups.includes_since(&audience, &alice, Position(p));
        assert!(!is_in_since(4) && !is_in_since(8) && is_in_since(9));
        assert!(groups.is_member(&ops, &alice));
        groups.prune(Position(5));
        assert_eq!(seen(&groups), [9, 10, 11]);
        groups.apply(&leave, Position(12));
        assert!(groups.sizes().is_empty() && groups.of(&alice).is_empty());
        groups.prune(Position(12));
        assert_eq!(groups.memberships(), 0);
    }
}
