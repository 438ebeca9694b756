use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use notification_access::Principal;
use notification_event::Declaration;
use notification_hub::Hub;
use notification_mcp::{Identity, OwnTool};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::tool::own_tool;
use super::{Publisher, Tool};
use crate::server::Embedded;
use crate::{Config, DataDir, Server, StartError};

/// A server that is put together, and not started.
#[derive(Debug)]
pub struct McpServer {
    config: Config,
    embedded: Embedded,
    event_types: Vec<Declaration>,
}

/// Puts a server together.
///
/// ```no_run
/// # async fn example(my_tool: impl notification_server::Tool) -> Result<(), Box<dyn std::error::Error>> {
/// use notification_server::McpServer;
///
/// let server = McpServer::builder()
///     .name("my-server")
///     .version("1.0.0")
///     .title("My server")
///     .tool(my_tool)
///     .bind_address("127.0.0.1:8005".parse()?)
///     .sse(true)
///     .build()?;
/// server.run().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct McpServerBuilder {
    name: String,
    version: String,
    title: Option<String>,
    config: Config,
    tools: Vec<OwnTool>,
    event_types: Vec<Declaration>,
}

/// Why a server cannot be put together like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Two tools have this name.
    #[error("two tools are called {0}")]
    Twice(String),
    /// Models could not call it.
    #[error("{0:?} is no name of a tool: expected 1 to 64 letters, digits, _ and -")]
    ToolName(String),
    /// It has to be called something.
    #[error("the server has no {0}")]
    Empty(&'static str),
}

/// A server that runs, until it is [stopped](Self::stop) or dropped.
#[derive(Debug)]
pub struct RunningServer {
    url: String,
    address: SocketAddr,
    publisher: Publisher,
    stop: CancellationToken,
    running: Option<JoinHandle<io::Result<()>>>,
}

impl McpServer {
    /// One on `127.0.0.1:8005` whose log is in memory.
    #[must_use]
    pub fn builder() -> McpServerBuilder {
        let config = Config {
            data_dir: DataDir::Memory,
            ..Config::default()
        };
        McpServerBuilder {
            name: "notification-server".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            title: None,
            config,
            tools: Vec::new(),
            event_types: Vec::new(),
        }
    }

    /// Serves until Ctrl-C, and then stops in order.
    ///
    /// # Errors
    ///
    /// If it cannot start.
    pub async fn run(self) -> Result<(), StartError> {
        let mut server = self.start().await?;
        let interrupted = tokio::signal::ctrl_c();
        let running = server.running.as_mut().expect("it was not stopped");
        tokio::select! {
            ended = running => {
                server.running = None;
                return finished(ended);
            }
            _ = interrupted => {}
        }
        server.stop().await
    }

    /// Starts it. It answers from now on.
    ///
    /// # Errors
    ///
    /// If it cannot start.
    pub async fn start(self) -> Result<RunningServer, StartError> {
        let server = Server::start_with(self.config, self.embedded).await?;
        let hub = server.hub().clone();
        for declaration in self.event_types {
            let declared = hub.declare(declaration, false).await;
            declared.map_err(|error| StartError::EventType(error.to_string()))?;
        }
        let caller = hub.caller(Arc::new(Principal::local()), None);
        let stop = CancellationToken::new();
        let (url, address) = (server.url().to_owned(), server.address());
        let running = tokio::spawn(server.run(stop.clone().cancelled_owned()));
        Ok(RunningServer {
            url,
            address,
            publisher: Publisher::new(caller, None),
            stop,
            running: Some(running),
        })
    }
}

impl McpServerBuilder {
    /// What MCP clients know it by.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Its version, as MCP clients see it.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// What people know it by; its name, if left out.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// A tool; instead of one of the server's own of the same name.
    #[must_use]
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.tools.push(own_tool(tool));
        self
    }

    /// An event type.
    #[must_use]
    pub fn event_type(mut self, declaration: Declaration) -> Self {
        self.event_types.push(declaration);
        self
    }

    /// Where it listens. Port 0 is any that is free.
    #[must_use]
    pub fn bind_address(mut self, address: SocketAddr) -> Self {
        self.config.bind = address;
        self
    }

    /// Whether streams of events are served on `GET /mcp` and `GET /v1/stream`, as
    /// they are if nothing is said. Webhooks and MCP clients get theirs all the same.
    #[must_use]
    pub fn sse(mut self, enabled: bool) -> Self {
        self.config.stream.enabled = enabled;
        self
    }

    /// Where the log lives, so that it outlives the program.
    #[must_use]
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.config.data_dir = DataDir::Path(directory.into());
        self
    }

    /// All other settings, and those that were made before.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Looks whether it makes sense.
    pub fn build(self) -> Result<McpServer, BuildError> {
        let mut names = BTreeSet::new();
        for tool in &self.tools {
            let name = &tool.name;
            let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            if name.is_empty() || name.len() > 64 || !name.chars().all(is_known) {
                return Err(BuildError::ToolName(name.clone()));
            }
            if !names.insert(name) {
                return Err(BuildError::Twice(name.clone()));
            }
        }
        for (what, text) in [("name", &self.name), ("version", &self.version)] {
            if text.is_empty() {
                return Err(BuildError::Empty(what));
            }
        }
        let title = self.title.as_deref().unwrap_or(&self.name);
        Ok(McpServer {
            embedded: Embedded {
                identity: Identity::new(&self.name, &self.version, title),
                tools: self.tools,
            },
            config: self.config,
            event_types: self.event_types,
        })
    }
}

impl RunningServer {
    /// Where clients reach it: `http://127.0.0.1:8005`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What publishes in the name of this program, which may do everything.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// The hub, to subscribe and for all else.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        self.publisher.hub()
    }

    /// Stops it: streams are told, what is in flight is finished, and the log is
    /// closed, so that another server can open it.
    ///
    /// # Errors
    ///
    /// If it had ended by itself, and why.
    pub async fn stop(mut self) -> Result<(), StartError> {
        self.stop.cancel();
        match self.running.take() {
            Some(running) => finished(running.await),
            None => Ok(()),
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn finished(ended: Result<io::Result<()>, tokio::task::JoinError>) -> Result<(), StartError> {
    let ended = ended.map_err(io::Error::other).and_then(|ended| ended);
    ended.map_err(StartError::Serve)
}
