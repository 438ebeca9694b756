use std::sync::{Arc, Mutex};

use notification_access::{Credential, Denied};
use notification_hub::Caller;

/// Where a call leaves word that a grant was missing. It travels with the
/// request, through `rmcp`, and the answer's HTTP status is made of it: clients
/// that authorize themselves by OAuth ask their user for more when they are
/// answered 403 (MCP, "Authorization", "Scope Challenge Handling").
#[derive(Clone, Debug, Default)]
pub(crate) struct DeniedSlot(Arc<Mutex<Option<Denied>>>);

impl DeniedSlot {
    pub(crate) fn fill(&self, denied: Option<&Denied>) {
        *self.0.lock().expect("no holder panics") = denied.cloned();
    }

    /// What is to be challenged. A key has the grants it has: whoever comes with
    /// one is told by the tool's result, which a model reads.
    pub(crate) fn challenge(&self, caller: &Caller) -> Option<Denied> {
        let denied = self.0.lock().expect("no holder panics").take()?;
        let is_token = matches!(caller.principal().credential, Credential::Token(_));
        is_token.then_some(denied)
    }
}
