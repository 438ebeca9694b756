#![allow(dead_code, reason = "not every test uses all of it")]

use std::io::Write;
use std::net::TcpStream;

use notification_testkit::{DEADLINE, Response, ServerProcess};
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
        let named = ["name", "uri", "taskId"].map(|name| params[name].as_str());
        if let Some(name) = named.into_iter().flatten().next() {
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

    /// Takes the handles of tasks for answers.
    pub(crate) fn with_tasks(mut self) -> Self {
        let capabilities = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        self.body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
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

    pub(crate) fn ask(&self, server: &ServerProcess) -> Response {
        server.request("POST", "/mcp", &self.headers(), &self.body.to_string())
    }

    /// Sends it; of its answer nothing is read yet.
    pub(crate) fn send(&self, server: &ServerProcess) -> TcpStream {
        let body = self.body.to_string();
        let mut text = format!("POST /mcp HTTP/1.1\r\nHost: {}\r\n", server.address());
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let mut connection = TcpStream::connect(server.address()).unwrap();
        connection.set_read_timeout(Some(DEADLINE)).unwrap();
        connection.write_all(text.as_bytes()).unwrap();
        connection
    }
}
