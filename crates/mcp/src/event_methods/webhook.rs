use std::time::SystemTime;

use notification_access::Refused;
use notification_event::{Delivery, EventName, Fields, Timestamp};
use notification_hub::Caller;
use notification_webhook::{DeliveryStatus, NewSubscription, VerifyError, WebhookError, Webhooks};
use rmcp::model::ErrorData;
use serde_json::{Value, json};

use super::errors::{ErrorCodes, misfit};
use super::wanted::{self, Wanted, refused, unavailable};

/// `events/subscribe`: has events be posted to an address, or goes on with that
/// (SEP-3415, "Webhook-Based Delivery").
pub(super) async fn subscribe(
    caller: &Caller,
    webhooks: &Webhooks,
    params: &Value,
    codes: ErrorCodes,
) -> Result<Value, ErrorData> {
    authenticated(caller, webhooks, codes)?;
    let wanted = Wanted::read(caller, params, Delivery::Webhook, codes)?;
    let (start, not_before) = (wanted.start(), wanted.not_before());
    let beginning = caller.hub().find(start, not_before).await;
    let mut beginning = beginning.map_err(|error| unavailable(&error))?;
    beginning.truncated |= wanted.is_foreign;
    let endpoint = wanted.endpoint.expect("it is required of a webhook");
    let subscription = NewSubscription {
        url: endpoint.url,
        secret: endpoint.secret,
        name: wanted.declared.declaration.name.clone(),
        arguments: wanted.selector.arguments(),
        beginning,
        life: wanted.life,
    };
    let granted = webhooks.subscribe(caller, subscription).await;
    let granted = granted.map_err(|error| error_of(error, codes))?;
    let mut result = json!({
        "id": granted.id,
        "refreshBefore": granted.refresh_before,
        "cursor": granted.cursor,
        "truncated": granted.truncated,
    });
    if let Some(status) = &granted.status {
        result["deliveryStatus"] = delivery_status(status);
    }
    Ok(result)
}

/// `events/unsubscribe`: nothing more is posted. That nothing was is no error.
pub(super) async fn unsubscribe(
    caller: &Caller,
    webhooks: &Webhooks,
    params: &Value,
    codes: ErrorCodes,
) -> Result<Value, ErrorData> {
    authenticated(caller, webhooks, codes)?;
    let mut params = params.as_object().cloned().unwrap_or_default();
    params.shift_remove("_meta");
    let mut fields = Fields::new(params);
    let name = fields.required("name", Fields::parsed::<EventName>);
    let arguments = fields.optional("arguments", wanted::arguments);
    let url = fields.required("delivery", |value| {
        let mut fields = Fields::new(wanted::arguments(value)?);
        wanted::mode(&mut fields, false);
        let url = fields.required("url", wanted::text);
        fields.finish()?;
        Ok(url.unwrap_or_default())
    });
    fields.finish().map_err(|invalid| misfit(&invalid))?;
    if let (Some(name), Some(url)) = (name, url) {
        let arguments = arguments.unwrap_or_default();
        let ended = webhooks.unsubscribe(caller, &url, &name, arguments).await;
        ended.map_err(|error| error_of(error, codes))?;
    }
    Ok(json!({}))
}

/// Subscriptions are somebody's (SEP-3415, "Subscription identity").
fn authenticated(caller: &Caller, webhooks: &Webhooks, codes: ErrorCodes) -> Result<(), ErrorData> {
    if !caller.principal().is_local() || webhooks.allows_loopback() {
        return Ok(());
    }
    let message = "webhooks are for those who say who they are: create a key with \
                   `notification-server key create` and connect with it";
    Err(codes.may_not(message.to_owned()))
}

/// How deliveries do (SEP-3415, "Webhook delivery status").
fn delivery_status(of: &DeliveryStatus) -> Value {
    let mut status = json!({ "active": of.is_active });
    for (name, time) in [
        ("lastDeliveryAt", of.last_delivery_at),
        ("failedSince", of.failed_since),
    ] {
        if let Some(time) = time {
            status[name] = json!(time);
        }
    }
    if let Some(error) = of.last_error {
        status["lastError"] = error.category().into();
    }
    if let Some(until) = of.throttled_until {
        let now = Timestamp::from(SystemTime::now());
        status["throttled"] = true.into();
        status["retryAfterMs"] = (until.as_millis() - now.as_millis()).max(0).into();
    }
    status
}

fn error_of(error: WebhookError, codes: ErrorCodes) -> ErrorData {
    let message = error.to_string();
    match error {
        WebhookError::Refused(Refused::Limited(limited)) => {
            codes.too_much(&limited.limit, None, message)
        }
        WebhookError::Refused(error) => refused(error.into(), codes),
        WebhookError::Invalid(invalid) => match &*invalid.errors[0].field {
            "url" => misfit(&invalid.within("delivery")),
            _ => misfit(&invalid),
        },
        WebhookError::TooMany { max, .. } => {
            codes.too_much("subscriptions", u64::try_from(max).ok(), message)
        }
        WebhookError::Unverified(VerifyError::Failed { reason }) => {
            codes.unverified(reason, message)
        }
        WebhookError::Unverified(VerifyError::TooMany { .. }) => {
            codes.too_much("verifications", None, message)
        }
        WebhookError::Log(error) => unavailable(&error),
        WebhookError::Publish(error) => unavailable(&error),
        // Of webhooks that are named by their ids.
        WebhookError::Unknown(_) | WebhookError::NotActive(_) | WebhookError::OfClient(_) => {
            ErrorData::internal_error(message, None)
        }
    }
}
