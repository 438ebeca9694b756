use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notification_access::Refused;
use notification_event::{
    Cursor, Delivery, Fields, Filter, Invalid, JsonObject, Selector, Timestamp, whole,
};
use notification_hub::{Caller, Declared, ReadError, Start};
use notification_webhook::{Life, Secret};
use rmcp::model::ErrorData;
use serde_json::Value;

use super::errors::{ErrorCodes, misfit};

/// What a subscription wants: events of a type, chosen by arguments, from somewhere on.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) declared: Arc<Declared>,
    pub(super) selector: Selector,
    /// Where it goes on; none is with what comes.
    pub(super) cursor: Option<Cursor>,
    /// The cursor is not one of this server.
    pub(super) is_foreign: bool,
    max_age: Option<Duration>,
    /// Of a poll.
    pub(super) max_events: Option<u64>,
    /// Of a webhook.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) life: Life,
}

/// Where a webhook goes: `{"mode": "webhook", "url", "secret"}`.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) url: String,
    pub(super) secret: Secret,
}

impl Wanted {
    /// Reads `{"name", "arguments"?, "cursor"?, "maxAgeMs"?}`, `maxEvents` of a poll,
    /// and `delivery` and `ttlMs` of a webhook.
    pub(super) fn read(
        caller: &Caller,
        params: &Value,
        mode: Delivery,
        codes: ErrorCodes,
    ) -> Result<Self, ErrorData> {
        let mut params = params.as_object().cloned().unwrap_or_default();
        params.shift_remove("_meta");
        let mut fields = Fields::new(params);
        let name = fields.required("name", text);
        let arguments = fields.optional("arguments", arguments).unwrap_or_default();
        let cursor = fields.optional("cursor", cursor).flatten();
        let max_age = fields.optional("maxAgeMs", milliseconds).flatten();
        let max_events = match mode {
            Delivery::Poll => fields.optional("maxEvents", at_least_one).flatten(),
            Delivery::Push | Delivery::Webhook => None,
        };
        let (endpoint, life) = match mode {
            Delivery::Webhook => (
                fields.required("delivery", endpoint),
                fields.optional("ttlMs", life),
            ),
            Delivery::Poll | Delivery::Push => (None, None),
        };
        fields.finish().map_err(|invalid| misfit(&invalid))?;
        let name = name.unwrap_or_default();
        let known = name.parse().ok();
        let declared = known.and_then(|name| caller.hub().event_type(&name));
        let declared = declared.ok_or_else(|| codes.no_event(&name))?;
        if !declared.declaration.delivery.contains(&mode) {
            return Err(codes.not_delivered_by(&declared.declaration.name, mode.as_str()));
        }
        let selector = declared.declaration.selector(arguments);
        let selector = selector
            .map_err(|invalid| Invalid::collect([invalid.within("arguments")]).expect_err("one"));
        let parsed = cursor.as_deref().map(str::parse::<Cursor>);
        Ok(Self {
            selector: selector.map_err(|invalid| misfit(&invalid))?,
            is_foreign: matches!(parsed, Some(Err(_))),
            cursor: parsed.and_then(Result::ok),
            declared,
            max_age,
            max_events,
            endpoint,
            life: life.unwrap_or(Life::Unsaid),
        })
    }

    pub(super) fn filter(&self) -> Filter {
        self.declared.filter()
    }

    pub(super) fn start(&self) -> Start {
        self.cursor.map_or(Start::Now, Start::After)
    }

    /// The time before which nothing is wanted.
    pub(super) fn not_before(&self) -> Option<Timestamp> {
        let now = Timestamp::from(SystemTime::now());
        self.max_age.map(|age| now.before(age))
    }
}

/// Why nothing can be had.
pub(super) fn refused(error: ReadError, codes: ErrorCodes) -> ErrorData {
    match error {
        ReadError::Refused(Refused::Limited(limited)) => {
            codes.too_much(&limited.limit, None, limited.to_string())
        }
        ReadError::Refused(refused) => codes.may_not(refused.to_string()),
        ReadError::Log(error) => unavailable(&error),
        ReadError::Publish(error) => unavailable(&error),
    }
}

/// The log cannot be read or written.
pub(super) fn unavailable(error: &dyn std::fmt::Display) -> ErrorData {
    ErrorData::internal_error(format!("the log could not be used: {error}"), None)
}

fn endpoint(value: Value) -> Result<Endpoint, Invalid> {
    let mut fields = Fields::new(arguments(value)?);
    mode(&mut fields, true);
    let url = fields.required("url", text);
    let secret = fields.required("secret", Fields::parsed);
    fields.finish()?;
    let endpoint = url
        .zip(secret)
        .map(|(url, secret)| Endpoint { url, secret });
    endpoint.ok_or_else(|| Invalid::value("a url and a secret"))
}

/// Takes the `mode` of a delivery, which is `webhook`.
pub(super) fn mode(fields: &mut Fields, is_required: bool) {
    let webhook = |value: Value| match value.as_str() == Some("webhook") {
        true => Ok(()),
        false => Err(Invalid::value("webhook")),
    };
    match is_required {
        true => fields.required("mode", webhook),
        false => fields.optional("mode", webhook),
    };
}

fn life(value: Value) -> Result<Life, Invalid> {
    let granted = milliseconds(value)?;
    Ok(granted.map_or(Life::Endless, Life::For))
}

pub(super) fn text(value: Value) -> Result<String, Invalid> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Invalid::value("a string")),
    }
}

pub(super) fn arguments(value: Value) -> Result<JsonObject, Invalid> {
    match value {
        Value::Object(arguments) => Ok(arguments),
        Value::Null => Ok(JsonObject::new()),
        _ => Err(Invalid::value("an object")),
    }
}

fn cursor(value: Value) -> Result<Option<String>, Invalid> {
    match value {
        Value::Null => Ok(None),
        Value::String(cursor) => Ok(Some(cursor)),
        _ => Err(Invalid::value("a string or null")),
    }
}

fn milliseconds(value: Value) -> Result<Option<Duration>, Invalid> {
    match value {
        Value::Null => Ok(None),
        value => match whole(&value) {
            Some(milliseconds) => Ok(Some(Duration::from_millis(milliseconds))),
            None => Err(Invalid::value("a number of milliseconds, or null")),
        },
    }
}

fn at_least_one(value: Value) -> Result<Option<u64>, Invalid> {
    match value {
        Value::Null => Ok(None),
        value => match whole(&value).filter(|count| *count > 0) {
            Some(count) => Ok(Some(count)),
            None => Err(Invalid::value("an integer of at least 1, or null")),
        },
    }
}
