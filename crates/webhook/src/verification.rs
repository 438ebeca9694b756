//! Whether whoever is at an address wants to be sent anything (SEP-3415, "Endpoint
//! verification"): it repeats a challenge, or a document at its place says so.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use notification_access::Principal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Answer, Failure};
use crate::metrics::OutcomeLabel;
use crate::sender::now;
use crate::shared::Shared;
use crate::webhook::Webhook;
use crate::{Endpoint, Outcome, Secret, VerifyError, sender};

/// How many endpoints are remembered to have proved themselves.
const MAX_VERIFIED: usize = 100_000;

/// That `webhook`, which need not be there yet, may be sent to.
pub(crate) async fn verify(
    shared: &Arc<Shared>,
    webhook: &Webhook,
    endpoint: &Endpoint,
    secret: &Secret,
) -> Result<(), VerifyError> {
    let owner = &webhook.owner;
    if is_allowed(shared, endpoint) || is_verified(shared, owner, endpoint) {
        return Ok(());
    }
    let destination = shared.destinations.get(&endpoint.origin());
    let admitted = destination.admit_verification();
    admitted.map_err(|retry_after| VerifyError::TooMany { retry_after })?;
    let _permit = destination.admit().await;
    let mut verified = challenge(shared, webhook, endpoint, secret).await;
    if verified.is_err() && is_documented(shared, endpoint).await {
        verified = Ok(());
    }
    let outcome = verified.as_ref().err().map_or("verified", |reason| *reason);
    let label = OutcomeLabel { outcome };
    shared.metrics.verifications.get_or_create(&label).inc();
    tracing::info!(webhook = %webhook.id, outcome, "endpoint asked whether it wants to be sent to");
    verified.map_err(|reason| VerifyError::Failed { reason })?;
    remember(shared, owner, endpoint);
    Ok(())
}

/// Takes note that an endpoint has proved itself.
pub(crate) fn remember(shared: &Shared, owner: &Principal, endpoint: &Endpoint) {
    let mut verified = shared.verified.lock().expect("no holder panics");
    if verified.len() >= MAX_VERIFIED {
        // They prove themselves again.
        verified.clear();
    }
    verified.insert((owner.name.clone(), endpoint.as_str().to_owned()), now());
}

fn is_verified(shared: &Shared, owner: &Principal, endpoint: &Endpoint) -> bool {
    let verified = shared.verified.lock().expect("no holder panics");
    verified.contains_key(&(owner.name.clone(), endpoint.as_str().to_owned()))
}

fn is_allowed(shared: &Shared, endpoint: &Endpoint) -> bool {
    let allowed = shared.config.allowed_receivers.iter();
    // Both begin with an origin that ends, as each has a path.
    let mut allowed = allowed.filter(|prefix| !prefix.is_empty());
    allowed.any(|prefix| endpoint.as_str().starts_with(prefix.as_str()))
}

async fn challenge(
    shared: &Arc<Shared>,
    webhook: &Webhook,
    endpoint: &Endpoint,
    secret: &Secret,
) -> Result<(), &'static str> {
    let challenge = Uuid::new_v4().simple().to_string();
    let body = json!({ "type": "verification", "challenge": challenge }).to_string();
    let id = format!("msg_verification_{}", Uuid::new_v4().simple());
    let mut secrets = std::iter::once(secret);
    let headers = sender::sign(shared, webhook, &mut secrets, &id, now(), body.as_bytes());
    let sent = shared
        .client
        .post(endpoint, headers, body.into(), true)
        .await;
    match Outcome::of(&sent) {
        Outcome::Delivered => {}
        outcome => return Err(outcome.category()),
    }
    match repeats(&sent, &challenge) {
        true => Ok(()),
        false => Err("challenge_failed"),
    }
}

fn repeats(sent: &Result<Answer, Failure>, challenge: &str) -> bool {
    let answer = sent.as_ref().ok().and_then(|sent| sent.body.as_ref());
    let answer = answer.and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let repeated = answer
        .as_ref()
        .and_then(|answer| answer["challenge"].as_str());
    let repeated = repeated.unwrap_or_default().as_bytes();
    verify_slices_are_equal(repeated, challenge.as_bytes()).is_ok()
}

/// Whether a document at its place names it: `{"receivers": ["/prefix/"]}`.
async fn is_documented(shared: &Shared, endpoint: &Endpoint) -> bool {
    let document = endpoint.receivers_document();
    let Ok(answer) = shared.client.get(endpoint, document).await else {
        return false;
    };
    let body = answer.body.filter(|_| answer.status.is_success());
    let document = body.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
    let receivers = document.as_ref().and_then(|it| it["receivers"].as_array());
    let mut prefixes = receivers.into_iter().flatten().filter_map(Value::as_str);
    prefixes.any(|prefix| prefix.starts_with('/') && endpoint.path().starts_with(prefix))
}
