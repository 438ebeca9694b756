#![allow(dead_code, reason = "not every test uses all of it")]

use std::io::Write;
use std::net::TcpStream;

use notification_testkit::{EventStream, Response, ServerProcess, request};
use serde_json::{Value, json};

pub(crate) const BOTH: (&str, &str) = ("Accept", "application/json, text/event-stream");
pub(crate) const STREAM: (&str, &str) = ("Accept", "text/event-stream");
pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A client in a session.
pub(crate) struct Client<'a> {
    pub(crate) server: &'a ServerProcess,
    pub(crate) authorization: Option<String>,
    pub(crate) id: String,
    pub(crate) version: &'static str,
}

pub(crate) fn initialize(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"}}})
}

impl<'a> Client<'a> {
    pub(crate) fn connect(server: &'a ServerProcess, version: &'static str) -> Self {
        Self::connect_as(server, version, None)
    }

    pub(crate) fn connect_as(
        server: &'a ServerProcess,
        version: &'static str,
        authorization: Option<String>,
    ) -> Self {
        let mut client = Self {
            server,
            authorization,
            id: String::new(),
            version,
        };
        let begun = client.post(&initialize(version));
        assert_eq!(begun.status, 200, "{begun:?}");
        let result = &begun.json()["result"];
        assert_eq!(result["protocolVersion"], version);
        assert_eq!(result["capabilities"]["logging"], json!({}));
        client.id = begun.header("mcp-session-id").unwrap().to_owned();
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(client.post(&initialized).status, 202);
        client
    }

    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = vec![JSON];
        if !self.id.is_empty() {
            headers.push(("Mcp-Session-Id", &self.id));
            headers.push(("MCP-Protocol-Version", self.version));
        }
        if let Some(authorization) = &self.authorization {
            headers.push(("Authorization", authorization));
        }
        headers
    }

    pub(crate) fn post(&self, message: &Value) -> Response {
        let headers = [self.headers(), vec![BOTH]].concat();
        let address = self.server.address();
        request(address, "POST", "/mcp", &headers, &message.to_string())
    }

    pub(crate) fn ask(&self, method: &str, params: Value) -> Response {
        self.post(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    }

    /// The result of a tool.
    pub(crate) fn call(&self, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        self.ask("tools/call", params).message()["result"].clone()
    }

    /// A tool that takes its time, whose answer is a stream.
    pub(crate) fn call_for_long(&self, id: u64, seconds: u64, token: Option<&str>) -> EventStream {
        let mut params = json!({"name": "simulate_progress", "arguments": {
            "task_name": "T", "duration_seconds": seconds, "step_count": 2}});
        if let Some(token) = token {
            params["_meta"] = json!({"progressToken": token});
        }
        self.open("tools/call", id, params)
    }

    /// A request whose answer is a stream.
    pub(crate) fn open(&self, method: &str, id: u64, params: Value) -> EventStream {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let body = call.to_string();
        let mut socket = TcpStream::connect(self.server.address()).unwrap();
        let mut head = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in [self.headers(), vec![BOTH]].concat() {
            head += &format!("{name}: {value}\r\n");
        }
        write!(socket, "{head}\r\n{body}").unwrap();
        EventStream::answered_on(socket)
    }

    pub(crate) fn stream(&self) -> EventStream {
        self.try_stream(&[]).unwrap()
    }

    pub(crate) fn resume(&self, after: &str) -> EventStream {
        self.try_stream(&[("Last-Event-ID", after)]).unwrap()
    }

    pub(crate) fn try_stream(&self, more: &[(&str, &str)]) -> Result<EventStream, Response> {
        let headers = [self.headers(), vec![STREAM], more.to_vec()].concat();
        EventStream::try_open(self.server.address(), "/mcp", &headers)
    }

    pub(crate) fn delete(&self) -> u16 {
        let address = self.server.address();
        request(address, "DELETE", "/mcp", &self.headers(), "").status
    }
}
