use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::http::MAX_BODY;
use crate::problem::Problem;

/// Reads a body whole, if it is not too large, nor too slow.
pub(crate) async fn read(body: Body, timeout: Duration) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body is larger than {MAX_BODY} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let whole = Limited::new(body, MAX_BODY).collect();
    match tokio::time::timeout(timeout, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::bad_request(format!("the body broke off: {error}"))),
        Err(_) => {
            let detail = format!("the body took longer than {} s", timeout.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

/// Reads a body that has to be JSON.
pub(crate) async fn read_json(body: Body, timeout: Duration) -> Result<Value, Problem> {
    let body = read(body, timeout).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_has_to_come_in_time() {
        const TIMEOUT: Duration = Duration::from_secs(30);
        let slow = futures_util::stream::unfold((), async |()| {
            tokio::time::sleep(TIMEOUT / 10).await;
            Some((Ok::<_, std::io::Error>("x"), ()))
        });
        let refusal = read(Body::from_stream(slow), TIMEOUT).await.unwrap_err();
        let status = refusal.into_response().status();
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    }
}
