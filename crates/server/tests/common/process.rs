#![allow(dead_code, reason = "not every test uses all of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use notification_testkit::{DEADLINE, eventually, signal};
use serde_json::{Value, json};

use crate::common::BINARY;

/// `notification-server stdio`, as a client starts it. Ends, by its process id,
/// when this is dropped.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    messages: mpsc::Receiver<Value>,
    stderr: Option<JoinHandle<String>>,
    /// What was said between answers.
    pub(crate) heard: Vec<Value>,
}

impl Process {
    pub(crate) fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(BINARY);
        command.arg("stdio").args(arguments);
        Self::spawn(&mut command, environment)
    }

    pub(crate) fn spawn(command: &mut Command, environment: &[(&str, &str)]) -> Self {
        let mut child = command
            .env_remove("NOTIFICATION_URL")
            .env_remove("NOTIFICATION_KEY")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // What is no JSON is a message that no test expects.
                let message = serde_json::from_str(&line).unwrap_or(json!({"no JSON": line}));
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Self {
            stdin: child.stdin.take(),
            child,
            messages,
            stderr: Some(stderr),
            heard: Vec::new(),
        }
    }

    /// Writes a line, if there is somebody who reads it.
    pub(crate) fn write(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        let _ = stdin.write_all(format!("{line}\n").as_bytes());
    }

    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        self.write(&message.to_string());
    }

    /// Sends a request, and does not wait.
    pub(crate) fn ask(&mut self, id: impl Into<Value>, method: &str, params: Value) {
        let id: Value = id.into();
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.write(&message.to_string());
    }

    /// The result of a request, or its error.
    pub(crate) fn request(&mut self, id: i64, method: &str, params: Value) -> Value {
        self.ask(id, method, params);
        self.answer(id)
    }

    pub(crate) fn call(&mut self, id: i64, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        self.request(id, "tools/call", params)["result"]["structuredContent"].clone()
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> Value {
        let next = self.messages.recv_timeout(DEADLINE);
        let Ok(message) = next else {
            let _ = self.child.kill();
            let stderr = self.stderr.take().unwrap().join().unwrap();
            panic!("no message; {:?} was heard; it wrote: {stderr}", self.heard);
        };
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        message
    }

    /// The answer to the request with this id.
    pub(crate) fn answer(&mut self, id: impl Into<Value>) -> Value {
        let id: Value = id.into();
        self.hear(|message| message.get("method").is_none() && message["id"] == id)
    }

    /// Waits for a message among what was heard, and returns it.
    pub(crate) fn hear(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(found) = self.heard.iter().position(&wanted) {
                return self.heard.remove(found);
            }
            let next = self.next();
            self.heard.push(next);
        }
    }

    /// Waits for the log message of an event with this text.
    pub(crate) fn hear_event(&mut self, text: &str) -> Value {
        let is_it = |message: &Value| {
            message["method"] == "notifications/message"
                && message["params"]["data"]["message"] == text
        };
        self.hear(is_it)
    }

    /// Begins as clients of these revisions do.
    pub(crate) fn initialize(&mut self, version: &str) -> Value {
        let client = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client});
        let answer = self.request(0, "initialize", params);
        assert_eq!(answer["result"]["protocolVersion"], version, "{answer}");
        self.notify("notifications/initialized", json!({}));
        answer
    }

    /// Reads one message more, and then no other.
    pub(crate) fn deaf(&mut self) {
        self.messages = mpsc::channel().1;
    }

    /// Nothing more comes.
    pub(crate) fn close(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn terminate(&self) {
        signal(self.child.id(), libc::SIGTERM);
    }

    /// How it ended, and what it wrote to standard error. The rest of what it
    /// said is in `heard`.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        eventually("it has ended", || self.child.try_wait().unwrap().is_some());
        let stderr = self.stderr.take().unwrap().join().unwrap();
        self.heard.extend(self.messages.iter());
        for message in &self.heard {
            assert_eq!(message["jsonrpc"], "2.0", "{message}");
        }
        (self.child.wait().unwrap(), stderr)
    }

    /// Ends the input, and waits until it has ended in order.
    pub(crate) fn finish(mut self) -> (Vec<Value>, String) {
        self.close();
        let (status, stderr) = self.wait();
        assert!(status.success(), "{status}: {stderr}");
        (std::mem::take(&mut self.heard), stderr)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
