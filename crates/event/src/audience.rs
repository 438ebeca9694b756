use std::collections::BTreeSet;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::fields::{array, string};
use crate::schema::{object, reference};
use crate::{ClientId, Fields, GroupName, Invalid, JsonObject, ParseError};

/// The most names that an audience holds, clients and groups together.
const MAX_NAMES: usize = 1_000;

/// Who an event is for: these clients, and whoever was in one of these groups
/// when it was published. An event without an audience is for everyone who may
/// read its topic.
///
/// JSON: `{"clients": ["alice", "bob"], "groups": ["ops"]}`, either of which may be absent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Audience {
    clients: BTreeSet<ClientId>,
    groups: BTreeSet<GroupName>,
}

impl Audience {
    /// An audience of these clients.
    pub fn clients(clients: impl IntoIterator<Item = ClientId>) -> Self {
        Self {
            clients: clients.into_iter().collect(),
            groups: BTreeSet::new(),
        }
    }

    /// An audience of these groups' members.
    pub fn groups(groups: impl IntoIterator<Item = GroupName>) -> Self {
        Self {
            clients: BTreeSet::new(),
            groups: groups.into_iter().collect(),
        }
    }

    /// Reads `{"clients": [client ids], "groups": [group names]}`: 1 to 1000 names in all.
    pub fn parse(object: JsonObject) -> Result<Self, Invalid> {
        let mut fields = Fields::new(object);
        let clients = fields.optional("clients", |value| names(value, "client ids"));
        let groups = fields.optional("groups", |value| names(value, "group names"));
        fields.finish()?;
        let audience = Self {
            clients: clients.unwrap_or_default(),
            groups: groups.unwrap_or_default(),
        };
        audience.checked()
    }

    /// The JSON Schema of what [`Audience::parse`] reads.
    pub fn schema() -> Value {
        let names = |of| json!({"type": "array", "items": reference(of), "maxItems": MAX_NAMES});
        let some =
            |list: &str| json!({"required": [list], "properties": {(list): {"minItems": 1}}});
        let lists = json!({"clients": names("ClientId"), "groups": names("GroupName")});
        let mut schema = object(lists, &[]);
        schema["anyOf"] = json!([some("clients"), some("groups")]);
        schema
    }

    fn checked(self) -> Result<Self, Invalid> {
        match self.clients.len() + self.groups.len() {
            1..=MAX_NAMES => Ok(self),
            _ => Err(Invalid::value(format!(
                "1 to {MAX_NAMES} names of clients and groups in all"
            ))),
        }
    }

    /// The clients that are named.
    pub fn named_clients(&self) -> &BTreeSet<ClientId> {
        &self.clients
    }

    /// The groups that are named.
    pub fn named_groups(&self) -> &BTreeSet<GroupName> {
        &self.groups
    }

    /// How many bytes the names take.
    pub(crate) fn size(&self) -> usize {
        let clients = self.clients.iter().map(ClientId::as_str);
        let names = clients.chain(self.groups.iter().map(GroupName::as_str));
        names.map(str::len).sum()
    }

    /// The JSON that [`Audience::parse`] reads.
    pub fn to_json(&self) -> JsonObject {
        let clients: Vec<Value> = self.clients.iter().map(|c| c.as_str().into()).collect();
        let groups: Vec<Value> = self.groups.iter().map(|g| g.as_str().into()).collect();
        let lists = [("clients", clients), ("groups", groups)];
        let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
        lists
            .map(|(name, names)| (name.to_owned(), Value::Array(names)))
            .collect()
    }
}

/// As in a header: `clients=alice,bob; groups=ops`.
impl FromStr for Audience {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let mut object = JsonObject::new();
            for part in text.split(';') {
                let (list, names) = part.split_once('=')?;
                let names: Vec<Value> = names.split(',').map(|n| n.trim().into()).collect();
                let former = object.insert(list.trim().to_owned(), names.into());
                former.is_none().then_some(())?;
            }
            Self::parse(object).ok()
        };
        parse().ok_or(ParseError {
            what: "audience",
            expected: "clients=NAME,… or groups=NAME,… or both, separated by ; and 1 to 1000 names in all",
        })
    }
}

fn names<T: FromStr<Err = ParseError> + Ord>(
    value: Value,
    what: &str,
) -> Result<BTreeSet<T>, Invalid> {
    let expected = || Invalid::value(format!("an array of up to {MAX_NAMES} {what}"));
    let names = array(value).map_err(|_| expected())?;
    if names.len() > MAX_NAMES {
        return Err(expected());
    }
    names
        .into_iter()
        .map(|name| string(name)?.parse().map_err(|_| expected()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<Audience, Invalid> {
        Audience::parse(value.as_object().unwrap().clone())
    }

    #[test]
    fn an_audience_is_read_as_it_was_written() {
        for json in [
            json!({"clients": ["alice", "bob"]}),
            json!({"groups": ["ops"]}),
            json!({"clients": ["alice"], "groups": ["ops", "web"]}),
        ] {
            assert_eq!(Value::Object(parse(json.clone()).unwrap().to_json()), json);
        }
    }

    #[test]
    fn a_wrong_audience_is_refused_by_field() {
        let too_many: Vec<String> = (0..1001).map(|n| format!("c{n}")).collect();
        let half: Vec<String> = (0..501).map(|n| format!("c{n}")).collect();
        let check = |wrong: Value, field: &str| {
            assert_eq!(parse(wrong).unwrap_err().errors[0].field, field);
        };
        check(json!({}), "");
        check(json!({"clients": []}), "");
        check(json!({"clients": half, "groups": half}), "");
        check(json!({"clients": "alice"}), "clients");
        check(json!({"clients": ["a b"]}), "clients");
        check(json!({"clients": [1]}), "clients");
        check(json!({"groups": too_many}), "groups");
        check(json!({"clients": ["a"], "teams": []}), "teams");
    }

    #[test]
    fn a_header_says_it_on_one_line() {
        let check = |text: &str, expected: Option<Value>| {
            let parsed = text.parse::<Audience>().ok();
            assert_eq!(
                parsed.map(|a| Value::Object(a.to_json())),
                expected,
                "{text}"
            );
        };
        check("groups=ops", Some(json!({"groups": ["ops"]})));
        check(
            "clients=alice, bob; groups=ops",
            Some(json!({"clients": ["alice", "bob"], "groups": ["ops"]})),
        );
        for wrong in [
            "",
            "ops",
            "clients=",
            "teams=a",
            "clients=a;clients=b",
            "clients=a b",
        ] {
            check(wrong, None);
        }
    }
}
