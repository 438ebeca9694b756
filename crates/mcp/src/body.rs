use std::error::Error;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

/// What every answer's body is: a stream's or a call's.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Why a body broke off.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Any body, as the one that all answers have.
pub(crate) fn boxed<R>(body: R) -> Body
where
    R: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    body.map_err(Into::into).boxed_unsync()
}
