//! The official MCP client of Rust, as which it speaks the newest revision and
//! those that begin with `initialize`: over a process that it starts, and over HTTP.
#![expect(deprecated, reason = "older revisions have what the newest has not")]

mod common;

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use common::{BINARY, notification, server};
use notification_testkit::{DEADLINE, ServerProcess};
use rmcp::model::{
    CallToolRequestParams, ClientConfig, LoggingMessageNotificationParam,
    ProgressNotificationParam, ProtocolVersion, ReadResourceRequestParams,
    ResourceUpdatedNotificationParam, ServerNotification, SubscriptionFilter,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt, NotificationContext, RunningService, SubscriptionEnd,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient};
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixListener};
use tokio::process::{Child, Command};

const TOPIC: &str = "notification://topics/default";

/// Arguments with which each tool does something, in this order.
fn calls() -> [(&'static str, Value); 11] {
    [
        ("send_notification", json!({"message": "from a tool"})),
        (
            "publish_event",
            json!({"name": "tool.tried", "event_id": "tried", "require_ack": true}),
        ),
        ("get_recent_events", json!({"topic": "**", "limit": 5})),
        (
            "acknowledge",
            json!({"client_id": "tester", "event_ids": ["tried"]}),
        ),
        ("get_receipts", json!({"event_id": "tried"})),
        ("explain_delivery", json!({"event_id": "tried"})),
        (
            "report_progress",
            json!({"task_id": "job", "task_name": "Job", "progress": 10}),
        ),
        ("get_task", json!({"task_id": "job"})),
        ("list_tasks", json!({})),
        ("connection_status", json!({})),
        (
            "simulate_progress",
            json!({"task_name": "Short", "duration_seconds": 1, "step_count": 4}),
        ),
    ]
}

/// What the client was told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Value>>>);

impl Heard {
    fn note(&self, what: Value) {
        self.0.lock().unwrap().push(what);
    }

    async fn wait_for(&self, what: &str, is_it: impl Fn(&Value) -> bool) {
        let heard = async {
            while !self.0.lock().unwrap().iter().any(&is_it) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let heard = tokio::time::timeout(DEADLINE, heard).await;
        assert!(heard.is_ok(), "{what}: {:?}", self.0.lock().unwrap());
    }
}

impl ClientHandler for Heard {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::default()
    }

    async fn on_logging_message(
        &self,
        said: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.note(said.data);
    }

    async fn on_progress(
        &self,
        said: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.note(json!({"progress": said.progress, "total": said.total}));
    }

    async fn on_resource_updated(
        &self,
        said: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.note(json!({"updated": said.uri}));
    }
}

/// Passes connections on, and cuts all of them when it is told to.
struct Cutter {
    directory: tempfile::TempDir,
    open: Arc<Mutex<tokio::task::JoinSet<()>>>,
}

impl Cutter {
    /// Before this server. The client speaks HTTP over the socket of a file.
    fn start(server: &ServerProcess) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let open = Arc::new(Mutex::new(tokio::task::JoinSet::new()));
        let (passing, address) = (open.clone(), server.address());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let pass = async move {
                    if let Ok(mut far) = TcpStream::connect(address).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                };
                passing.lock().unwrap().spawn(pass);
            }
        });
        Self { directory, open }
    }

    fn cut(&self) {
        self.open.lock().unwrap().abort_all();
    }

    async fn connect(&self, server: &ServerProcess) -> (RunningService<RoleClient, Heard>, Heard) {
        let path = self.directory.path().join("socket");
        let mut config = StreamableHttpClientTransportConfig::with_uri(server.url("/mcp"));
        let mut patience = ExponentialBackoff::default();
        patience.base_duration = std::time::Duration::from_millis(50);
        config.retry_config = Arc::new(patience);
        let transport = StreamableHttpClientTransport::from_unix_socket_with_config(
            path.to_str().unwrap(),
            config,
        );
        let heard = Heard::default();
        let client = heard.clone();
        let client = client.serve_with_lifecycle(transport, ClientLifecycleMode::Initialize);
        (client.await.unwrap(), heard)
    }
}

async fn connect(
    server: &ServerProcess,
    lifecycle: ClientLifecycleMode,
) -> (RunningService<RoleClient, Heard>, Heard, Child) {
    let mut child = Command::new(BINARY)
        .args(["stdio", "--url", &server.url("/mcp")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let transport = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
    let heard = Heard::default();
    let client = heard.clone().serve_with_lifecycle(transport, lifecycle);
    (client.await.unwrap(), heard, child)
}

/// Lists the tools, calls each, and reads what they have made.
async fn use_everything(client: &RunningService<RoleClient, Heard>) {
    let tools = client.list_all_tools().await.unwrap();
    let mut names: Vec<_> = tools.iter().map(|tool| &*tool.name).collect();
    let mut called = calls().map(|(name, _)| name);
    names.sort_unstable();
    called.sort_unstable();
    assert_eq!(names, called);
    for (name, arguments) in calls() {
        let Value::Object(arguments) = arguments else {
            unreachable!("arguments are objects");
        };
        let call = CallToolRequestParams::new(name).with_arguments(arguments);
        let result = client.call_tool(call).await.unwrap();
        assert_ne!(result.is_error, Some(true), "{name}: {result:?}");
        assert!(result.structured_content.is_some(), "{name}");
    }
    let resources = client.list_all_resources().await.unwrap();
    assert!(resources.iter().any(|resource| resource.uri == TOPIC));
    let read = ReadResourceRequestParams::new(TOPIC);
    let read = client.read_resource(read).await.unwrap();
    let read = serde_json::to_string(&read).unwrap();
    assert!(read.contains("from a tool"), "{read}");
    assert_eq!(client.list_all_prompts().await.unwrap().len(), 2);
}

fn publish(server: &ServerProcess, message: &str) {
    let answer = server.post("/v1/events", &notification(message));
    assert_eq!(answer.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_session_it_calls_and_hears() {
    let server = server(&[]);
    let (client, heard, mut child) = connect(&server, ClientLifecycleMode::Initialize).await;
    use_everything(&client).await;
    heard
        .wait_for("progress", |said| said["progress"] == 3.0)
        .await;
    let subscribed = client.subscribe(rmcp::model::SubscribeRequestParams::new(TOPIC));
    subscribed.await.unwrap();
    publish(&server, "to everybody");
    heard
        .wait_for("a broadcast", |said| said["message"] == "to everybody")
        .await;
    heard
        .wait_for("a change", |said| said["updated"] == TOPIC)
        .await;
    client.cancel().await.unwrap();
    let ended = tokio::time::timeout(DEADLINE, child.wait()).await;
    assert!(ended.unwrap().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_it_comes_back_and_misses_and_repeats_nothing() {
    let server = server(&[]);
    let cutter = Cutter::start(&server);
    let (client, heard) = cutter.connect(&server).await;
    use_everything(&client).await;
    for number in 0..12 {
        if number % 4 == 3 {
            cutter.cut();
        }
        publish(&server, &format!("m{number}"));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    heard
        .wait_for("the last one", |said| said["message"] == "m11")
        .await;
    let all: Vec<_> = heard.0.lock().unwrap().clone();
    let messages = all.iter().filter_map(|said| said["message"].as_str());
    let messages: Vec<_> = messages.filter(|text| text.starts_with('m')).collect();
    let expected: Vec<_> = (0..12).map(|number| format!("m{number}")).collect();
    assert_eq!(messages, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_it_calls_and_listens() {
    let mut server = server(&[]);
    let newest = ClientLifecycleMode::Discover {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
    };
    let (client, heard, _child) = connect(&server, newest).await;
    use_everything(&client).await;
    heard
        .wait_for("progress", |said| said["progress"] == 3.0)
        .await;
    let wanted = SubscriptionFilter::builder()
        .resource_subscriptions([TOPIC])
        .build();
    for round in ["first", "again"] {
        let mut listening = client.listen(wanted.clone()).await.unwrap();
        publish(&server, round);
        let told = tokio::time::timeout(DEADLINE, listening.next()).await;
        let told = told.unwrap().unwrap();
        let Some(ServerNotification::ResourceUpdatedNotification(told)) = told else {
            panic!("{told:?}");
        };
        assert_eq!(told.params.uri, TOPIC);
    }
    let mut listening = client.listen(wanted).await.unwrap();
    tokio::task::spawn_blocking(move || server.stop())
        .await
        .unwrap();
    let end = tokio::time::timeout(DEADLINE, listening.next()).await;
    assert!(end.unwrap().unwrap().is_none());
    assert!(matches!(
        listening.end(),
        Some(SubscriptionEnd::Graceful(_))
    ));
}
