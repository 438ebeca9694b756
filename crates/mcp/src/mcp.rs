use std::sync::Arc;
use std::time::{Duration, Instant};

use notification_hub::Hub;
use notification_webhook::Webhooks;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::endpoint::Calls;
use crate::event_methods::{EventMethods, EventsConfig};
use crate::handler::Handler;
use crate::listen::Listening;
use crate::modern_calls::ModernCalls;
use crate::plain_calls::PlainCalls;
use crate::sessions::{SessionCalls, Sessions, SessionsConfig};
use crate::toolbox::Toolbox;
use crate::tools::{
    AcknowledgeEvents, ConnectionStatus, ExplainDelivery, GetReceipts, GetRecentEvents, GetTask,
    ListTasks, PublishEvent, ReportProgress, SendNotification, SimulateProgress,
};
use crate::watches::Watches;
use crate::{Endpoint, Identity, OwnTool};

/// What the endpoint is told about the server it belongs to.
#[derive(Clone, Debug)]
pub struct McpConfig {
    /// Where clients reach the server: `http://127.0.0.1:8005`. None if it listens
    /// on no address.
    pub base_url: Option<String>,
    /// Whether others than MCP clients are served streams.
    pub has_streams: bool,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
    /// How many sessions there may be, and for how long.
    pub sessions: SessionsConfig,
    /// How events are subscribed to.
    pub events: EventsConfig,
    /// Those who are posted events.
    pub webhooks: Webhooks,
    /// What the server calls itself.
    pub identity: Identity,
    /// Tools of the program that embeds it, besides the server's own.
    pub tools: Vec<OwnTool>,
}

/// How often sessions are looked through for those that nobody uses.
const LOOK_FOR_IDLE: Duration = Duration::from_secs(1);

/// The server as MCP clients see it. Cheap to clone.
#[derive(Clone)]
pub struct Mcp {
    calls: Calls,
    sessions: Arc<Sessions>,
    watches: Arc<Watches>,
    listening: Listening,
    events: EventMethods,
    body_timeout: Duration,
    /// Long-running tools end early.
    stop: CancellationToken,
    /// The tools that run, and the answers that are being made.
    running: TaskTracker,
}

impl Mcp {
    /// Tools that publish and report. What each may is up to who calls it: requests
    /// bring a [`Caller`](notification_hub::Caller) among their extensions.
    pub fn new(config: &McpConfig) -> Self {
        let stop = CancellationToken::new();
        let running = TaskTracker::new();
        let tools = Toolbox::new(running.clone())
            .with(SimulateProgress::new(stop.clone()))
            .with(SendNotification)
            .with(ConnectionStatus::new(
                config.base_url.as_deref(),
                config.has_streams,
            ))
            .with(ReportProgress)
            .with(ListTasks)
            .with(GetTask)
            .with(AcknowledgeEvents)
            .with(GetReceipts)
            .with(PublishEvent)
            .with(GetRecentEvents)
            .with(ExplainDelivery);
        #[cfg(feature = "conformance-fixtures")]
        let tools = crate::fixtures::add_tools(tools);
        let tools = config.tools.iter().cloned().fold(tools, Toolbox::with);
        let handler = Handler::new(tools, config.identity.clone());
        let plain = PlainCalls::new(handler.clone(), running.clone());
        let watches = Arc::<Watches>::default();
        let listening = Listening::new(watches.clone(), config.identity.clone(), stop.clone());
        let sessions = Arc::new(Sessions::new(config.sessions));
        // Some are looked at a little late, and none may be too late.
        let events = EventsConfig {
            heartbeat: config.events.heartbeat * 7 / 8,
            ..config.events
        };
        let events = EventMethods::new(events, config.identity.clone(), config.webhooks.clone());
        let calls = Calls {
            modern: ModernCalls::new(&handler, running.clone(), listening.clone(), events.clone()),
            sessions: SessionCalls::new(
                sessions.clone(),
                handler,
                plain.clone(),
                running.clone(),
                watches.clone(),
                events.clone(),
            ),
            plain,
        };
        Self {
            calls,
            sessions,
            watches,
            listening,
            events,
            body_timeout: config.body_timeout,
            stop,
            running,
        }
    }

    /// The service on `/mcp`, of which `plain_stream` serves the event streams.
    pub fn endpoint<S>(&self, plain_stream: S) -> Endpoint<S> {
        Endpoint::new(plain_stream, self.calls.clone(), self.body_timeout)
    }

    /// Ends sessions of which nothing was heard for too long, and tells how many
    /// there are, and how many streams of `subscriptions/listen`, from time to
    /// time, until it is dropped.
    pub async fn look_after_sessions(&self, tell: impl Fn(usize, usize)) {
        loop {
            self.sessions.look_after(Instant::now());
            tell(self.sessions.count(), self.listening.count());
            tokio::time::sleep(LOOK_FOR_IDLE).await;
        }
    }

    /// Tells clients that subscribe to resources what has changed, until the hub
    /// closes.
    pub async fn tell_of_changes(&self, hub: &Hub) {
        tokio::select! {
            () = self.watches.tell(hub) => {}
            () = self.events.look_after(hub) => {}
        }
    }

    /// Stops: long-running tools publish that they were cancelled, and end.
    /// Returns when no tool runs and every answer has been made; writing the
    /// answers out is up to the connections. The hub has to be open until then.
    ///
    /// A call that comes later is answered all the same, by tools that end at once.
    pub async fn shut_down(&self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
    }
}
