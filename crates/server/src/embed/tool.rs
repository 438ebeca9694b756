use std::ops::Deref;
use std::sync::Arc;

use notification_mcp::{OwnCall, OwnTool};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Publisher;

/// Something that models can call by name.
///
/// ```
/// use notification_server::{Call, Tool, ToolFailure, ToolResult};
///
/// /// Fields are described to models by their comments.
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Greeting {
///     /// Who is greeted
///     name: String,
/// }
///
/// struct Greet;
///
/// impl Tool for Greet {
///     type Arguments = Greeting;
///
///     fn name(&self) -> &str {
///         "greet"
///     }
///
///     fn description(&self) -> &str {
///         "Greets somebody, and tells everyone"
///     }
///
///     async fn call(&self, arguments: Greeting, call: Call) -> Result<ToolResult, ToolFailure> {
///         let message = format!("Hello, {}!", arguments.name);
///         call.notify(&message).await?;
///         Ok(ToolResult::text(message))
///     }
/// }
/// ```
pub trait Tool: Send + Sync + 'static {
    /// What it takes. Arguments that do not fit never get to it: the model is told
    /// what is wrong with them.
    type Arguments: DeserializeOwned + JsonSchema + Send + 'static;

    /// What models call it by: letters, digits, `_` and `-`.
    fn name(&self) -> &str;

    /// What it does, for models.
    fn description(&self) -> &str;

    /// Does it. It goes on if the caller hangs up; [`Call::cancelled`] says so.
    fn call(
        &self,
        arguments: Self::Arguments,
        call: Call,
    ) -> impl Future<Output = Result<ToolResult, ToolFailure>> + Send;
}

/// What a model is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult(Value);

impl ToolResult {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self(Value::String(text.into()))
    }

    /// An object, as structured content.
    #[must_use]
    pub fn json(value: Value) -> Self {
        Self(value)
    }
}

/// Why a tool did not do what it was asked, in words for the model that asked. Any
/// error becomes one with `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolFailure(String);

impl ToolFailure {
    /// In these words.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl<E: std::error::Error> From<E> for ToolFailure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// One call of a tool. It publishes in the name of whoever calls: what that is
/// allowed to is what the tool is.
#[derive(Clone, Debug)]
pub struct Call {
    call: OwnCall,
    publisher: Publisher,
}

impl Call {
    /// Tells the caller, if they want to hear it, that `done` of `total` is done
    /// (MCP's `notifications/progress`). What others see of a job is said with
    /// [`send_data`](Publisher::send_data).
    pub async fn progress(&self, done: u64, total: u64, message: &str) {
        self.call.progress(done, total, message).await;
    }

    /// Cancelled once the caller no longer wants the answer.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.call.cancelled
    }

    /// What publishes in the name of whoever calls.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }
}

impl Deref for Call {
    type Target = Publisher;

    fn deref(&self) -> &Publisher {
        &self.publisher
    }
}

/// A tool as the endpoint calls it.
pub(super) fn own_tool<T: Tool>(tool: T) -> OwnTool {
    let mut schema = schemars::schema_for!(T::Arguments).to_value();
    let mut input_schema = match schema.take() {
        Value::Object(schema) => schema,
        // `true`, of what takes anything.
        _ => serde_json::Map::new(),
    };
    // What it is called among types of Rust says nothing to models.
    input_schema.remove("title");
    // MCP wants an object; `()` is one without properties.
    if input_schema.get("type").is_none_or(|it| it == "null") {
        input_schema.insert("type".to_owned(), "object".into());
    }
    let tool = Arc::new(tool);
    OwnTool {
        name: tool.name().to_owned(),
        description: tool.description().to_owned(),
        input_schema,
        run: Arc::new(move |call, arguments| {
            let tool = tool.clone();
            Box::pin(async move {
                let arguments = read(Value::Object(arguments))?;
                let name = tool.name();
                let publisher = Publisher::new(call.caller.clone(), Some(name));
                let done = tool.call(arguments, Call { call, publisher }).await;
                done.map(|result| result.0).map_err(|failure| failure.0)
            })
        }),
    }
}

/// Reads arguments that fit the schema, which may say less than the type.
fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, String> {
    let is_empty = arguments.as_object().is_some_and(serde_json::Map::is_empty);
    let nothing = || serde_json::from_value(Value::Null);
    let read = serde_json::from_value(arguments);
    let read = read.or_else(|error| match is_empty {
        true => nothing().map_err(|_| error),
        false => Err(error),
    });
    read.map_err(|error| format!("nothing was done: {error}"))
}
