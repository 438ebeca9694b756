use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tempfile::TempDir;

use crate::{DEADLINE, Response, TlsConnection, request, signal};

/// The server's binary, running on a free port of the loopback interface.
/// Ends, by its process id, when this is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    /// Whether it speaks TLS.
    is_secure: bool,
    binary: PathBuf,
    arguments: Vec<String>,
    data_dir: PathBuf,
    /// What it wrote to standard error, once it has ended.
    stderr: Option<JoinHandle<String>>,
    own_dir: Option<TempDir>,
}

impl ServerProcess {
    /// Starts `binary` with a data directory of its own, which goes when this does.
    ///
    /// # Panics
    ///
    /// If it does not begin to listen; says what it wrote to standard error.
    pub fn start(binary: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut server = Self::start_in(binary, dir.path(), arguments);
        server.own_dir = Some(dir);
        server
    }

    /// Starts `binary` on a data directory that stays.
    ///
    /// # Panics
    ///
    /// If it does not begin to listen; says what it wrote to standard error.
    pub fn start_in(binary: impl AsRef<Path>, data_dir: &Path, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|a| (*a).to_owned()).collect();
        let free_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::spawn(
            binary.as_ref().to_owned(),
            data_dir.to_owned(),
            arguments,
            free_port,
        )
    }

    fn spawn(binary: PathBuf, data_dir: PathBuf, arguments: Vec<String>, bind: SocketAddr) -> Self {
        let mut child = Command::new(&binary)
            .args(["--bind", &bind.to_string()])
            .arg("--data-dir")
            .arg(&data_dir)
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server's binary can be run");
        let stderr = child.stderr.take().expect("standard error is piped");
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(stderr).read_to_string(&mut text);
            text
        });
        let stdout = child.stdout.take().expect("standard output is piped");
        let (address, listening) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(found) = listening_address(&line) {
                    let _ = address.send(found);
                }
            }
        });
        match listening.recv_timeout(DEADLINE) {
            Ok((address, is_secure)) => Self {
                child,
                address,
                is_secure,
                binary,
                arguments,
                data_dir,
                stderr: Some(stderr),
                own_dir: None,
            },
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!(
                    "the server did not start: {}",
                    stderr.join().unwrap_or_default()
                );
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or `https`, and `path`.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its log lives.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], "")
    }

    /// `POST path` with JSON.
    pub fn post(&self, path: &str, json: &serde_json::Value) -> Response {
        let headers = [("Content-Type", "application/json")];
        self.request("POST", path, &headers, &json.to_string())
    }

    /// One request on a connection of its own.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        match self.is_secure {
            true => TlsConnection::open(self.address).request(method, path, headers, body),
            false => request(self.address, method, path, headers, body),
        }
    }

    /// A figure from `/metrics`, by its name and labels as they are printed; 0 if it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        self.get("/metrics").metric(name)
    }

    /// Asks it to end (SIGTERM) and waits until it has. Returns how, and what
    /// it wrote to standard error.
    pub fn stop(&mut self) -> (ExitStatus, String) {
        signal(self.pid(), libc::SIGTERM);
        self.wait()
    }

    /// Ends it at once (SIGKILL) and waits until it has.
    pub fn kill(&mut self) {
        signal(self.pid(), libc::SIGKILL);
        self.wait();
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + DEADLINE;
        while self
            .child
            .try_wait()
            .expect("a child of this process")
            .is_none()
        {
            assert!(Instant::now() < deadline, "the server does not end");
            thread::sleep(std::time::Duration::from_millis(5));
        }
        let status = self.child.wait().expect("a child of this process");
        let stderr = self
            .stderr
            .take()
            .map(|reader| reader.join().unwrap_or_default());
        (status, stderr.unwrap_or_default())
    }

    /// Starts it again, after it has ended, on the same port and data directory.
    pub fn restart(&mut self) {
        let again = Self::spawn(
            self.binary.clone(),
            self.data_dir.clone(),
            self.arguments.clone(),
            self.address,
        );
        let own_dir = self.own_dir.take();
        *self = again;
        self.own_dir = own_dir;
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where it listens, and whether it speaks TLS there.
fn listening_address(line: &str) -> Option<(SocketAddr, bool)> {
    let url = line.trim().strip_prefix("Listening")?.trim();
    let (scheme, rest) = url.split_once("://")?;
    let address = rest.strip_suffix("/mcp")?.parse().ok()?;
    Some((address, scheme == "https"))
}
