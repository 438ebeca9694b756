use std::str::FromStr;

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use notification_event::{Invalid, ParseError};

use crate::problem::Problem;

/// The names in a request's path, to be parsed.
#[derive(Debug)]
pub(crate) struct PathNames(Vec<(String, String)>);

impl PathNames {
    /// The one name in the path.
    pub(crate) fn one<T>(&self, name: &str) -> Result<T, Problem>
    where
        T: FromStr<Err = ParseError>,
    {
        self.read(name).map_err(Problem::unprocessable)
    }

    /// Both names in the path; what is wrong with both is said of both.
    pub(crate) fn two<A, B>(&self, first: &str, second: &str) -> Result<(A, B), Problem>
    where
        A: FromStr<Err = ParseError>,
        B: FromStr<Err = ParseError>,
    {
        let refused = match (self.read(first), self.read(second)) {
            (Ok(first), Ok(second)) => return Ok((first, second)),
            (first, second) => first.err().into_iter().chain(second.err()),
        };
        let all = Invalid::collect(refused).expect_err("one of them was refused");
        Err(Problem::unprocessable(all))
    }

    fn read<T: FromStr<Err = ParseError>>(&self, name: &str) -> Result<T, Invalid> {
        let given = self.0.iter().find(|(known, _)| known == name);
        let given = given.map_or("", |(_, value)| value.as_str());
        let refused = |error: ParseError| Invalid::field(name, error.expected);
        given.parse().map_err(refused)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathNames {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(rejection) => Err(Problem::unprocessable(not_utf_8(&rejection))),
        }
    }
}

fn not_utf_8(rejection: &PathRejection) -> Invalid {
    let expected = "UTF-8 text";
    match rejection {
        PathRejection::FailedToDeserializePathParams(failed) => match failed.kind() {
            ErrorKind::InvalidUtf8InPathParam { key } => Invalid::field(key, expected),
            _ => Invalid::field("path", expected),
        },
        _ => Invalid::field("path", expected),
    }
}
