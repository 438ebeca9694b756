#![allow(dead_code, reason = "not every test uses all of it")]

use serde_json::{Value, json};

pub(crate) const VERSION: &str = "2026-07-28";

/// A request of MCP's revision 2026-07-28, as its clients send it.
#[derive(Clone, Debug)]
pub(crate) struct Modern {
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Value,
}

impl Modern {
    pub(crate) fn new(method: &str, mut params: Value) -> Self {
        let mut headers = vec![
            ("Content-Type", "application/json".to_owned()),
            ("Accept", "application/json, text/event-stream".to_owned()),
            ("MCP-Protocol-Version", VERSION.to_owned()),
            ("Mcp-Method", method.to_owned()),
        ];
        if let Some(name) = params["name"].as_str().or(params["uri"].as_str()) {
            headers.push(("Mcp-Name", name.to_owned()));
        }
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        Self { headers, body }
    }

    /// The call of a tool.
    pub(crate) fn call(tool: &str, arguments: &Value) -> Self {
        Self::new("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Wants to hear how far it is.
    pub(crate) fn with_progress(mut self) -> Self {
        self.body["params"]["_meta"]["progressToken"] = json!("progress");
        self
    }

    /// With another value of a header.
    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        let headers = self.headers.iter();
        headers.map(|(name, value)| (*name, &**value)).collect()
    }
}
