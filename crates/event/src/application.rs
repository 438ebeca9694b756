use crate::EventName;
use crate::fields::Fields;

/// An application's own event: `{"type": "event", "name": "incident.created", "data": {…}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// What happened.
    pub name: EventName,
}

impl Application {
    pub(crate) fn take(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", Fields::parsed);
        Some(Self { name: name? })
    }
}
