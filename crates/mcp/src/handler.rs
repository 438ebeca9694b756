use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;

use http::request::Parts;
use notification_hub::Caller;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams,
    CompleteResult, CustomRequest, CustomResult, DiscoverResult, ErrorData, GetPromptRequestParams,
    GetPromptResponse, GetTaskParams, GetTaskResult, InitializeRequestParams, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, MetaObject,
    PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, ServerCapabilities, ServerConfig, Tool, UpdateTaskParams,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde::Deserialize;
use serde_json::Value;

use crate::Identity;
use crate::completion;
use crate::denied::DeniedSlot;
use crate::progress::Progress;
use crate::prompt::{self, Prompt};
use crate::resource;
use crate::shorten::shorten;
use crate::task_handle::{self, Handover};
use crate::tool::Call;
use crate::toolbox::Toolbox;

/// The methods that are answered, where `initialize` comes first.
pub(crate) const METHODS: [&str; 10] = [
    "initialize",
    "ping",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
    "completion/complete",
];

/// The revisions that `initialize` agrees to. Older ones have another transport.
pub(crate) static SUPPORTED_VERSIONS: [ProtocolVersion; 3] = [
    ProtocolVersion::V_2025_03_26,
    ProtocolVersion::V_2025_06_18,
    ProtocolVersion::V_2025_11_25,
];

/// The methods that are answered in revision 2026-07-28.
pub(crate) const MODERN_METHODS: [&str; 18] = [
    "server/discover",
    "subscriptions/listen",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
    "events/list",
    "events/poll",
    "events/stream",
    "events/subscribe",
    "events/unsubscribe",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
    "completion/complete",
];

/// The revisions that requests may name. `server/discover` lists these and no
/// older ones: a client that chose one of those would name it, too.
pub(crate) static MODERN_VERSIONS: [ProtocolVersion; 1] = [ProtocolVersion::V_2026_07_28];

/// How long clients may keep what is the same until the server is another, in
/// milliseconds. It may be another after a restart, of which nobody is told.
const TTL_MS: u64 = 5 * 60 * 1000;

/// What `rmcp` calls for each request. One is cloned for each, so it is only a pointer.
#[derive(Clone)]
pub(crate) struct Handler {
    tools: Arc<Toolbox>,
    identity: Identity,
    /// Whether its requests are those of [`MODERN_VERSIONS`].
    is_modern: bool,
}

impl Handler {
    pub(crate) fn new(tools: Toolbox, identity: Identity) -> Self {
        Self {
            tools: Arc::new(tools),
            identity,
            is_modern: false,
        }
    }

    /// The same, for requests that name their version.
    pub(crate) fn modern(&self) -> Self {
        Self {
            is_modern: true,
            ..self.clone()
        }
    }

    /// Says in a result who it is from, where that is usual (revision 2026-07-28,
    /// "Per-response protocol fields").
    fn sign(&self, meta: &mut Option<MetaObject>) {
        if self.is_modern {
            let key = "io.modelcontextprotocol/serverInfo".to_owned();
            let identity = self.identity.to_json();
            meta.get_or_insert_default().insert(key, identity);
        }
    }
}

/// Why `params` do not fit `method`, if they do not. `rmcp` would take such a
/// request for one of an unknown method, or for one without params.
pub(crate) fn misfit(method: &str, params: &Value) -> Option<String> {
    let reason = match method {
        "initialize" => unreadable::<InitializeRequestParams>(params),
        "tools/call" => unreadable::<CallToolRequestParams>(params),
        "resources/read" => unreadable::<ReadResourceRequestParams>(params),
        "completion/complete" => unreadable::<CompleteRequestParams>(params),
        "prompts/get" => unreadable::<GetPromptRequestParams>(params),
        "tasks/get" => unreadable::<GetTaskParams>(params),
        "tasks/update" => unreadable::<UpdateTaskParams>(params),
        "tasks/cancel" => unreadable::<CancelTaskParams>(params),
        "tools/list" | "resources/list" | "resources/templates/list" | "prompts/list"
            if !params.is_null() =>
        {
            unreadable::<PaginatedRequestParams>(params)
        }
        _ => None,
    }?;
    Some(format!("invalid params for {method}: {reason}"))
}

fn unreadable<'a, P: Deserialize<'a>>(params: &'a Value) -> Option<String> {
    match params {
        Value::Null => Some("they are missing".to_owned()),
        params => P::deserialize(params).err().map(|error| error.to_string()),
    }
}

/// Who asks, and where word is left for them that a grant was missing.
fn who_asks(context: &RequestContext<RoleServer>) -> Result<(Caller, DeniedSlot), ErrorData> {
    let request = context.extensions.get::<Parts>();
    let extensions = request.map(|parts| &parts.extensions);
    let caller = extensions.and_then(|e| e.get::<Caller>()).cloned();
    let denied = extensions.and_then(|e| e.get::<DeniedSlot>()).cloned();
    caller.zip(denied).ok_or_else(|| {
        let message = "it is not known who calls";
        ErrorData::internal_error(message, None)
    })
}

/// Refuses to give another page of a list than the first.
fn the_only(page: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    match page.and_then(|page| page.cursor) {
        None => Ok(()),
        Some(cursor) => {
            let cursor = shorten(&cursor);
            let message = format!("cursor: expected none, as the list has one page, got {cursor}");
            Err(ErrorData::invalid_params(message, None))
        }
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_prompts()
            .enable_completions();
        let capabilities = match self.is_modern {
            true => capabilities
                .enable_resources_subscribe()
                .enable_resources_list_changed()
                .enable_tasks()
                .build(),
            // Who has no session is told of nothing.
            false => capabilities.build(),
        };
        ServerConfig::new(capabilities)
            .with_server_info(self.identity.implementation())
            .with_instructions(
                "Publishes notifications and task progress to everyone who is connected. \
                 Tell people something with send_notification, programs with publish_event, and \
                 how far a long job is with report_progress; get_recent_events says what was \
                 published, get_receipts who has seen what, explain_delivery why somebody has not, and \
                 connection_status who is listening and how to listen.",
            )
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        match self.is_modern {
            true => Cow::Borrowed(&MODERN_VERSIONS),
            false => Cow::Borrowed(&SUPPORTED_VERSIONS),
        }
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        let result = DiscoverResult::from_server_info(versions, self.get_info());
        Ok(result
            .with_ttl_ms(TTL_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        the_only(page)?;
        let mut result = ListToolsResult::with_all_items(self.tools.descriptors());
        if self.is_modern {
            // Everybody is shown the same tools; who may use them is asked later.
            result = result
                .with_ttl_ms(TTL_MS)
                .with_cache_scope(CacheScope::Public);
        }
        self.sign(&mut result.meta);
        Ok(result)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.descriptor(name).cloned()
    }

    async fn call_tool(
        &self,
        named: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (caller, denied) = who_asks(&context)?;
        let arguments = named.arguments.unwrap_or_default();
        let capabilities = context.client_capabilities();
        let takes_tasks = self.is_modern && capabilities.is_some_and(|it| it.supports_tasks());
        let (handover, handed) = match takes_tasks {
            true => Handover::new(),
            false => Handover::refused(),
        };
        let call = Call {
            caller: caller.clone(),
            progress: Arc::new(Progress::of(&context)),
            cancelled: context.ct.clone(),
            handover,
        };
        let called = self.tools.call(&named.name, arguments, call, &denied);
        let mut called = pin!(called);
        tokio::select! {
            biased;
            Ok(task) = handed => {
                let mut result = task_handle::created(&caller, &task).await?;
                self.sign(&mut result.meta);
                Ok(CallToolResponse::Task(result))
            }
            result = &mut called => {
                let mut result = result?;
                self.sign(&mut result.meta);
                Ok(result.into())
            }
        }
    }

    async fn get_task(
        &self,
        named: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let (caller, _) = who_asks(&context)?;
        let task = task_handle::get(&caller, &named.task_id).await?;
        let mut result = GetTaskResult::new(task);
        self.sign(&mut result.meta);
        Ok(result)
    }

    /// No task asks for anything, so whatever is answered answers nothing, and
    /// that is to be ignored.
    async fn update_task(
        &self,
        named: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let (caller, _) = who_asks(&context)?;
        task_handle::get(&caller, &named.task_id).await.map(drop)
    }

    async fn cancel_task(
        &self,
        named: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let (caller, _) = who_asks(&context)?;
        task_handle::cancel(&caller, &named.task_id).await
    }

    async fn list_resources(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let cursor = page.and_then(|page| page.cursor);
        let (caller, _) = who_asks(&context)?;
        let (resources, next) = resource::list(&caller, cursor.as_deref())?;
        let mut result = ListResourcesResult::with_all_items(resources);
        result.next_cursor = next;
        self.sign(&mut result.meta);
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        page: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        the_only(page)?;
        let mut result = ListResourceTemplatesResult::with_all_items(resource::templates());
        if self.is_modern {
            result = result
                .with_ttl_ms(TTL_MS)
                .with_cache_scope(CacheScope::Public);
        }
        self.sign(&mut result.meta);
        Ok(result)
    }

    async fn read_resource(
        &self,
        named: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let (caller, _) = who_asks(&context)?;
        let contents = resource::read(&caller, &named.uri).await?;
        let mut result = ReadResourceResult::new(vec![contents]);
        self.sign(&mut result.meta);
        Ok(result.into())
    }

    async fn list_prompts(
        &self,
        page: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        the_only(page)?;
        let prompts = Prompt::ALL.iter().map(Prompt::descriptor);
        let mut result = ListPromptsResult::with_all_items(prompts.collect());
        if self.is_modern {
            result = result
                .with_ttl_ms(TTL_MS)
                .with_cache_scope(CacheScope::Public);
        }
        self.sign(&mut result.meta);
        Ok(result)
    }

    async fn get_prompt(
        &self,
        named: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let (caller, denied) = who_asks(&context)?;
        let arguments = named.arguments.unwrap_or_default();
        let mut result = prompt::get(&caller, &named.name, arguments, &denied).await?;
        self.sign(&mut result.meta);
        Ok(result.into())
    }

    async fn complete(
        &self,
        asked: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let (caller, _) = who_asks(&context)?;
        let mut result = CompleteResult::new(completion::complete(&caller, &asked)?);
        self.sign(&mut result.meta);
        Ok(result)
    }

    /// `rmcp` hands over what it could not read as a request it knows. The
    /// method is known by now, so it is the params.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let message = format!("invalid params for {}", request.method);
        Err(ErrorData::invalid_params(message, None))
    }
}
