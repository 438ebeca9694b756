use serde_json::{Value, json};

use crate::EventName;
use crate::fields::Fields;
use crate::schema::reference;

/// An application's own event: `{"type": "event", "name": "incident.created", "data": {…}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// What happened.
    pub name: EventName,
}

impl Application {
    /// The JSON Schemas of its fields.
    pub(crate) fn properties() -> Value {
        json!({"name": reference("EventName")})
    }

    pub(crate) fn take(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", Fields::parsed);
        Some(Self { name: name? })
    }
}
