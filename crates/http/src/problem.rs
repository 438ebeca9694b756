use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use notification_access::{Denied, Grant, Limited, NewKeyError, Refused, Unauthenticated, seconds};
use notification_event::schema::{object, reference};
use notification_event::{FieldError, Invalid};
use notification_hub::{
    AcknowledgeError, DurableError, GroupError, KeyError, PublishError, ReadError, SubscribeError,
};
use notification_log::LogError;
use notification_webhook::{VerifyError, WebhookError};
use serde::Serialize;
use serde_json::{Value, json};

/// A refusal, as RFC 9457 (`application/problem+json`) has it, with the fields
/// that are to blame in `errors`.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    r#type: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// The grant that was missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<Box<Grant>>,
    /// The limit that was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Box<str>>,
    /// In seconds.
    #[serde(skip)]
    retry_after: Option<u32>,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
            errors: Vec::new(),
            needs: None,
            limit: None,
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same refusal with another body, made of its status and a sentence.
    pub(crate) fn into_response_as(self, body: fn(StatusCode, &str) -> Response) -> Response {
        let mut response = body(self.status, &self.detail);
        self.adorn(&mut response);
        response
    }

    /// Adds what is said outside of the body.
    fn adorn(self, response: &mut Response) {
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(needed) = self.needs {
            // For the challenge.
            response.extensions_mut().insert(Denied { needed: *needed });
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// Input that can be read, but makes no sense.
    pub(crate) fn unprocessable(invalid: Invalid) -> Self {
        Self::of_fields(StatusCode::UNPROCESSABLE_ENTITY, invalid)
    }

    /// Input that makes sense, but not after what was published before.
    pub(crate) fn conflict(invalid: Invalid) -> Self {
        Self::of_fields(StatusCode::CONFLICT, invalid)
    }

    /// A query that makes no sense.
    pub(crate) fn bad_query(invalid: Invalid) -> Self {
        Self::of_fields(StatusCode::BAD_REQUEST, invalid)
    }

    pub(crate) fn schema() -> Value {
        object(Self::properties(), &Self::REQUIRED)
    }

    /// The members that are always there.
    pub(crate) const REQUIRED: [&str; 4] = ["type", "title", "status", "detail"];

    pub(crate) fn properties() -> Value {
        json!({
            "type": {"const": "about:blank"},
            "title": {"description": "What the status means", "type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"description": "What is wrong, for people", "type": "string"},
            "errors": {
                "description": "The fields, parameters or names that are wrong",
                "type": "array", "items": reference("FieldError"),
                "minItems": 1, "maxItems": Invalid::MAX_NAMED,
            },
            "needs": {"description": "The grant that was missing", "type": "string"},
            "limit": {"description": "The limit that was hit", "type": "string"},
        })
    }

    fn of_fields(status: StatusCode, invalid: Invalid) -> Self {
        Self {
            detail: invalid.to_string(),
            errors: invalid.errors,
            ..Self::new(status, "")
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Self {
            needs: Some(Box::new(denied.needed.clone())),
            ..Self::new(StatusCode::FORBIDDEN, denied.to_string())
        }
    }
}

impl From<Limited> for Problem {
    fn from(limited: Limited) -> Self {
        let status = match limited.is_too_large {
            true => StatusCode::PAYLOAD_TOO_LARGE,
            false => StatusCode::TOO_MANY_REQUESTS,
        };
        Self {
            retry_after: limited.retry_after.map(|after| seconds(after) as u32),
            limit: Some(limited.limit.as_str().into()),
            ..Self::new(status, limited.to_string())
        }
    }
}

impl From<Unauthenticated> for Problem {
    fn from(error: Unauthenticated) -> Self {
        match error {
            Unauthenticated::Limited(limited) => limited.into(),
            Unauthenticated::Unavailable(detail) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            }
            error => Self::new(StatusCode::UNAUTHORIZED, error.to_string()),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(denied) => denied.into(),
            Refused::Limited(limited) => limited.into(),
            Refused::Lapsed(lapsed) => Self::new(StatusCode::UNAUTHORIZED, lapsed.to_string()),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(refused) => refused.into(),
            ReadError::Log(error) => error.into(),
            ReadError::Publish(error) => error.into(),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Refused(refused) => refused.into(),
            KeyError::Publish(error) => error.into(),
            KeyError::New(error @ NewKeyError::NameTaken(_)) => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            KeyError::New(error @ NewKeyError::TooMany) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string())
            }
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Invalid { invalid, .. } => Self::unprocessable(invalid),
            PublishError::Conflict { invalid, .. } => Self::conflict(invalid),
            PublishError::Refused(refused) => refused.into(),
            PublishError::Log(_) | PublishError::Closing | PublishError::Failed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
        }
    }
}

impl From<SubscribeError> for Problem {
    fn from(error: SubscribeError) -> Self {
        let status = match error {
            SubscribeError::Nameless => StatusCode::BAD_REQUEST,
            SubscribeError::Durable(DurableError::Differs(_)) => StatusCode::CONFLICT,
            SubscribeError::Durable(DurableError::TooMany) => StatusCode::TOO_MANY_REQUESTS,
            SubscribeError::Log(error) => return error.into(),
            SubscribeError::Publish(error) => return error.into(),
            SubscribeError::Refused(refused) => return refused.into(),
        };
        Self::new(status, error.to_string())
    }
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        let detail = error.to_string();
        match error {
            WebhookError::Refused(refused) => refused.into(),
            WebhookError::Invalid(invalid) => Self::unprocessable(invalid),
            WebhookError::Log(error) => error.into(),
            WebhookError::Publish(error) => error.into(),
            WebhookError::Unknown(_) => Self::not_found(detail),
            WebhookError::NotActive(_) | WebhookError::OfClient(_) => {
                Self::new(StatusCode::CONFLICT, detail)
            }
            WebhookError::TooMany { .. } => Self::new(StatusCode::TOO_MANY_REQUESTS, detail),
            WebhookError::Unverified(VerifyError::Failed { reason }) => {
                let expected = format!("an endpoint that repeats the challenge ({reason})");
                Self::unprocessable(Invalid::field("url", expected))
            }
            WebhookError::Unverified(VerifyError::TooMany { retry_after }) => Self {
                retry_after: Some(seconds(retry_after) as u32),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
            },
        }
    }
}

impl From<AcknowledgeError> for Problem {
    fn from(error: AcknowledgeError) -> Self {
        match error {
            AcknowledgeError::Invalid(invalid) => Self::unprocessable(invalid),
            AcknowledgeError::Publish(error) => error.into(),
        }
    }
}

impl From<GroupError> for Problem {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::TooMany => Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
            GroupError::Publish(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let json = serde_json::to_vec(&self).expect("strings and numbers");
        let mut response = (self.status, json).into_response();
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem);
        self.adorn(&mut response);
        response
    }
}
