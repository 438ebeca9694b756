use std::sync::Arc;

use rmcp::model::Implementation;
use serde_json::Value;

/// What the server calls itself to MCP clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Identity(Arc<Implementation>);

impl Identity {
    /// By a name for programs, a version and a title for people.
    #[must_use]
    pub fn new(name: &str, version: &str, title: &str) -> Self {
        Self(Arc::new(
            Implementation::new(name, version).with_title(title),
        ))
    }

    pub(crate) fn implementation(&self) -> Implementation {
        (*self.0).clone()
    }

    pub(crate) fn to_json(&self) -> Value {
        serde_json::to_value(&*self.0).expect("JSON values are JSON")
    }
}

impl Default for Identity {
    fn default() -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self::new(
            "notification-server",
            version,
            "Real-time Notification Server",
        )
    }
}
