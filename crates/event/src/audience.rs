use std::collections::BTreeSet;

use serde_json::Value;

use crate::fields::{array, string};
use crate::{ClientId, Fields, Invalid, JsonObject};

/// The most names that an audience holds.
const MAX_NAMES: usize = 1_000;

/// The clients that an event is for. An event without an audience is for
/// everyone who may read its topic.
///
/// JSON: `{"clients": ["alice", "bob"]}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    clients: BTreeSet<ClientId>,
}

impl Audience {
    /// An audience of these clients.
    pub fn clients(clients: impl IntoIterator<Item = ClientId>) -> Self {
        Self {
            clients: clients.into_iter().collect(),
        }
    }

    /// Reads `{"clients": [1 to 1000 client ids]}`.
    pub fn parse(object: JsonObject) -> Result<Self, Invalid> {
        let mut fields = Fields::new(object);
        let clients = fields.required("clients", client_ids);
        fields.finish()?;
        Ok(Self::clients(clients.unwrap_or_default()))
    }

    /// Whether a subscriber that is `client`, or nobody in particular, is meant.
    pub fn includes(&self, client: Option<&ClientId>) -> bool {
        client.is_some_and(|client| self.clients.contains(client))
    }

    /// The clients in it.
    pub fn iter(&self) -> impl Iterator<Item = &ClientId> {
        self.clients.iter()
    }

    /// How many bytes the names take.
    pub(crate) fn size(&self) -> usize {
        self.clients
            .iter()
            .map(|client| client.as_str().len())
            .sum()
    }

    /// The JSON that [`Audience::parse`] reads.
    pub fn to_json(&self) -> JsonObject {
        let clients = self.clients.iter().map(|c| c.as_str().into()).collect();
        JsonObject::from_iter([("clients".to_owned(), Value::Array(clients))])
    }
}

fn client_ids(value: Value) -> Result<Vec<ClientId>, Invalid> {
    let expected = || Invalid::value("an array of 1 to 1000 client ids");
    let names = array(value)?;
    if names.is_empty() || names.len() > MAX_NAMES {
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
    fn an_audience_includes_its_clients_only() {
        let audience = parse(json!({"clients": ["alice", "bob"]})).unwrap();
        let is_for = |name: &str| audience.includes(Some(&name.parse().unwrap()));
        assert!(is_for("alice") && is_for("bob"));
        assert!(!is_for("mallory"));
        assert!(!audience.includes(None));
        assert_eq!(
            Value::Object(audience.to_json()),
            json!({"clients": ["alice", "bob"]})
        );
    }

    #[test]
    fn a_wrong_audience_is_refused_by_field() {
        let too_many: Vec<String> = (0..1001).map(|n| format!("c{n}")).collect();
        for wrong in [
            json!({}),
            json!({"clients": []}),
            json!({"clients": "alice"}),
            json!({"clients": ["a b"]}),
            json!({"clients": [1]}),
            json!({"clients": too_many}),
        ] {
            assert_eq!(parse(wrong).unwrap_err().errors[0].field, "clients");
        }
        let unknown = parse(json!({"clients": ["a"], "teams": []})).unwrap_err();
        assert_eq!(unknown.errors[0].field, "teams");
    }
}
