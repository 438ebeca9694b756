use crate::fields::{Fields, object_of_at_most};
use crate::{EventName, JsonObject, Notification};

/// An application's own event: `{"type": "event", "name": "incident.created", "data": {…}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// What happened.
    pub name: EventName,
    /// Its payload, at most 64 KiB of JSON.
    pub data: JsonObject,
}

impl Application {
    pub(crate) fn take(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", Fields::parsed);
        let data = fields.optional("data", object_of_at_most(Notification::MAX_DATA));
        Some(Self {
            name: name?,
            data: data.unwrap_or_default(),
        })
    }
}
