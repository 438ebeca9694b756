use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, Response, StatusCode};
use notification_mcp::{Body, MAX_MESSAGE};
use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::failure::Failure;
use super::lines::{Input, Line, Output};
use super::message::{Kind, Message};
use super::own::Own;
use super::relay::{get, post_json};
use super::remote::Remote;
use super::requests::{Cancelling, Requests, Running};
use super::server::Server;
use super::session::{Session, changes_session};
use crate::{Config, StartError};

/// How many notifications of a client may be on their way. The next waits, and
/// what the client writes after it.
const MAX_NOTIFICATIONS: usize = 100;

/// How long the end of a session may take.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// MCP over lines, answered by one server.
pub struct Stdio {
    server: Server,
    /// How long requests that run have at the end.
    drain: Duration,
}

impl Stdio {
    /// Answers with a server in this process, which listens nowhere. Fails with
    /// [`OpenError::Locked`](notification_log::OpenError::Locked) while another
    /// process has the data directory.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        Ok(Self {
            server: Server::Own(Box::new(Own::open(config).await?)),
            drain: config.shutdown.drain,
        })
    }

    /// Answers with the server whose endpoint is at `url`, presenting `key` to it
    /// if there is one. Whether it runs, requests will show.
    pub fn connect(
        config: &Config,
        url: &str,
        key: Option<&str>,
    ) -> Result<Self, notification_client::Error> {
        Ok(Self {
            server: Server::Remote(Box::new(Remote::new(url, key)?)),
            drain: config.shutdown.drain,
        })
    }

    /// Answers until the input ends, nobody reads the output, or `shutdown`; then
    /// finishes what runs, within bounds, and ends the session. Clients that have
    /// ended the input and do not want to wait ask for `shutdown`, too.
    pub async fn run(self, input: Input, output: Output, shutdown: impl Future<Output = ()>) {
        let bridge = Arc::new(Bridge::new(self.server, output));
        let mut shutdown = std::pin::pin!(shutdown);
        tokio::select! {
            () = bridge.take_lines(input) => {
                tokio::select! {
                    () = bridge.drain(self.drain) => {}
                    () = bridge.output.closed() => {}
                    () = shutdown => {}
                }
            }
            () = bridge.output.closed() => {}
            () = shutdown.as_mut() => bridge.drain(self.drain).await,
        }
        bridge.end().await;
    }
}

/// What the tasks of one client share.
pub(super) struct Bridge {
    pub(super) server: Server,
    pub(super) output: Output,
    requests: Requests,
    notifications: Arc<Semaphore>,
    /// Held while a session begins, so that what belongs to it waits.
    session: Arc<Mutex<Option<Session>>>,
    /// The session was begun again.
    pub(super) renewed: Notify,
    is_listening: AtomicBool,
    /// Requests and notifications on their way, which have time to finish at the end.
    running: TaskTracker,
    /// What goes on until it is stopped.
    listening: TaskTracker,
    /// Everything is to end.
    stop: CancellationToken,
}

impl Bridge {
    fn new(server: Server, output: Output) -> Self {
        Self {
            server,
            output,
            requests: Requests::default(),
            notifications: Arc::new(Semaphore::new(MAX_NOTIFICATIONS)),
            session: Arc::default(),
            renewed: Notify::new(),
            is_listening: AtomicBool::new(false),
            running: TaskTracker::new(),
            listening: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    async fn take_lines(self: &Arc<Self>, mut input: Input) {
        while let Some(line) = input.next().await {
            let message = match line {
                Line::Text(text) if text.trim_ascii().is_empty() => continue,
                Line::Text(text) => Message::read(text),
                Line::TooLong => Err(Failure::invalid(format!(
                    "the line is longer than {MAX_MESSAGE} bytes"
                ))),
            };
            match message {
                Ok(message) if message.kind == Kind::Request => self.take_request(message).await,
                Ok(message) => self.take_notification(message).await,
                Err(failure) => self.output.send(failure.answer(&Value::Null)).await,
            }
        }
    }

    async fn take_request(self: &Arc<Self>, message: Message) {
        let running = match self.requests.begin(&message) {
            Ok(running) => running,
            Err(failure) => return self.output.send(failure.answer(&message.id)).await,
        };
        let begins = message.method == "initialize" && !message.is_modern();
        let session = match begins {
            true => Some(self.session.clone().lock_owned().await),
            false => None,
        };
        let bridge = self.clone();
        let tasks = match message.is_endless() {
            true => &self.listening,
            false => &self.running,
        };
        tasks.spawn(async move {
            let answered = tokio::select! {
                answered = bridge.answer(&message, &running, session) => answered,
                () = running.hung_up() => return,
                () = bridge.stop.cancelled() => Err(Failure::no_answer(
                    "ended before the answer; what was asked for may have been done",
                )),
            };
            match answered {
                Err(failure) if !running.is_cancelled() => {
                    running.has_ended();
                    bridge.output.send(failure.answer(&message.id)).await;
                }
                _ => {}
            }
        });
    }

    async fn take_notification(self: &Arc<Self>, message: Message) {
        let permit = self.notifications.clone().acquire_owned().await;
        let known = match message.cancels.as_ref().map(|id| self.requests.cancel(id)) {
            Some(Cancelling::Done) => return,
            Some(Cancelling::TellAfter(known)) => Some(known),
            Some(Cancelling::Tell) | None => None,
        };
        let bridge = self.clone();
        let telling = async move {
            let _permit = permit;
            if let Some(known) = known {
                known.cancelled().await;
            }
            bridge.tell(message).await;
        };
        let stop = self.stop.clone();
        self.running.spawn(stop.run_until_cancelled_owned(telling));
    }

    /// Sends a request, and puts out what it is answered with.
    async fn answer(
        &self,
        message: &Message,
        running: &Running,
        begins: Option<OwnedMutexGuard<Option<Session>>>,
    ) -> Result<(), Failure> {
        if let Some(session) = begins
            && session.is_none()
        {
            return self.begin(message, running, session).await;
        }
        let (response, session) = self.send(message).await?;
        running.has_begun();
        if session.is_some() && changes_session(&message.method) {
            return self.change(response, message, running).await;
        }
        self.relay(response, message, session.as_ref(), running)
            .await
    }

    /// Puts out the answer to what changes the session, and remembers the change
    /// if it was made.
    async fn change(
        &self,
        response: Response<Body>,
        message: &Message,
        running: &Running,
    ) -> Result<(), Failure> {
        let answer = self.whole(response, &message.id).await?;
        let is_made = serde_json::from_slice(&answer)
            .is_ok_and(|answer: Value| answer.get("result").is_some());
        if is_made {
            self.remember(|session| session.took(message)).await;
        }
        running.has_ended();
        self.output.send(answer).await;
        Ok(())
    }

    /// Sends what is not answered.
    async fn tell(self: Arc<Self>, message: Message) {
        match self.send(&message).await {
            Ok((response, _)) if !response.status().is_success() => {
                let status = response.status();
                tracing::warn!(method = message.method, %status, "the server did not take a notification");
            }
            Ok(_) => {}
            Err(failure) => {
                tracing::warn!(method = message.method, %failure, "a notification is lost");
            }
        }
        if message.method == "notifications/initialized" {
            self.remember(|session| session.is_ready = true).await;
            if self.session().await.is_some() && !self.is_listening.swap(true, Ordering::Relaxed) {
                let stop = self.stop.clone();
                let listening = stop.run_until_cancelled_owned(self.clone().listen());
                self.listening.spawn(listening);
            }
        }
    }

    /// Sends a message, if need be in a session that is begun again. The session
    /// that it was sent in.
    async fn send(&self, message: &Message) -> Result<(Response<Body>, Option<Session>), Failure> {
        let session = match message.is_modern() {
            true => None,
            false => self.session().await,
        };
        let request = Self::post(message, session.as_ref())?;
        let response = self.server.send(request).await?;
        match session {
            Some(session) if response.status() == StatusCode::NOT_FOUND => {
                let session = self.renew(&session).await?;
                let request = Self::post(message, Some(&session))?;
                Ok((self.server.send(request).await?, Some(session)))
            }
            session => Ok((response, session)),
        }
    }

    /// The session, once it has begun; none if the client has begun none.
    pub(super) async fn session(&self) -> Option<Session> {
        self.session.lock().await.clone()
    }

    async fn remember(&self, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.session.lock().await.as_mut() {
            change(session);
        }
    }

    /// Begins a session.
    async fn begin(
        &self,
        message: &Message,
        running: &Running,
        mut slot: OwnedMutexGuard<Option<Session>>,
    ) -> Result<(), Failure> {
        let response = self.server.send(Self::post(message, None)?).await?;
        let headers = response.headers().clone();
        let answer = self.whole(response, &message.id).await?;
        *slot = Session::begun(message.json.clone(), &headers, &answer);
        drop(slot);
        running.has_ended();
        self.output.send(answer).await;
        Ok(())
    }

    /// Begins a session again that the server has forgotten, as its client began
    /// it and made it.
    pub(super) async fn renew(&self, old: &Session) -> Result<Session, Failure> {
        let mut slot = self.session.lock().await;
        if let Some(session) = slot.as_ref().filter(|new| new.number != old.number) {
            return Ok(session.clone());
        }
        let old = slot.as_ref().unwrap_or(old);
        let response = self.server.send(post_json(old.initialize.clone())).await?;
        let headers = response.headers().clone();
        let answer = self.whole(response, &Value::Null).await?;
        let new = Session::begun(old.initialize.clone(), &headers, &answer).ok_or_else(|| {
            let name = self.server.name();
            Failure::no_answer(format!(
                "{name} has forgotten the session, and begins no other"
            ))
        })?;
        let new = old.again(new);
        let ready =
            Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let ready = new.is_ready.then_some(ready);
        let subscriptions = new.subscriptions.values().cloned();
        let made_it = [ready, new.level.clone()].into_iter().flatten();
        for json in made_it.chain(subscriptions) {
            let mut request = post_json(json);
            new.add_headers(request.headers_mut());
            self.server.send(request).await?;
        }
        self.say_that_everything_may_have_changed(&new).await;
        tracing::info!("the server had forgotten the session; begun again");
        *slot = Some(new.clone());
        self.renewed.notify_one();
        Ok(new)
    }

    /// What changed while there was no session was told to nobody.
    async fn say_that_everything_may_have_changed(&self, session: &Session) {
        let method = "notifications/resources/updated";
        let updated = session
            .subscriptions
            .keys()
            .map(|uri| json!({ "jsonrpc": "2.0", "method": method, "params": { "uri": uri } }));
        let method = "notifications/resources/list_changed";
        let listed = json!({ "jsonrpc": "2.0", "method": method });
        for message in updated.chain([listed]) {
            self.output.send(message.to_string().into()).await;
        }
    }

    /// Lets what runs finish, for so long at most.
    async fn drain(&self, patience: Duration) {
        self.running.close();
        let drained = tokio::time::timeout(patience, self.running.wait()).await;
        if drained.is_err() {
            tracing::warn!("ended before every request was answered");
        }
    }

    /// Ends what runs still, and the session.
    async fn end(&self) {
        self.running.close();
        self.listening.close();
        self.stop.cancel();
        let ended = async {
            self.listening.wait().await;
            if let Some(session) = self.session().await {
                let mut request = get(&session, None);
                *request.method_mut() = Method::DELETE;
                if let Err(failure) = self.server.send(request).await {
                    tracing::debug!(%failure, "the session was not ended");
                }
            }
            self.running.wait().await;
        };
        if tokio::time::timeout(END_TIMEOUT, ended).await.is_err() {
            tracing::warn!("the session was not ended in time");
        }
        self.server.stop().await;
    }
}
