use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use notification_dashboard::{File, file};

use crate::problem::Problem;

/// What the pages may do: run and load what is their own, and ask this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The names of these files change with what is in them.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// The dashboard's page, for who asks for one and if there is one.
pub(crate) fn page(headers: &HeaderMap) -> Option<Response> {
    let wants_html = list(headers, header::ACCEPT).any(|range| range == "text/html");
    let index = wants_html.then(|| file("/index.html"))??;
    let mut response = answer(index, headers);
    let policy = HeaderValue::from_static(POLICY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.append(header::VARY, HeaderValue::from_static("accept"));
    Some(response)
}

/// `GET /assets/…`: what the page is made of.
pub(crate) async fn asset(request: Request<Body>) -> Result<Response, Problem> {
    let path = request.uri().path();
    let Some(file) = file(path) else {
        return Err(Problem::not_found(format!("there is nothing at {path}")));
    };
    let mut response = answer(file, request.headers());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_GOOD));
    Ok(response)
}

fn answer(file: &File, asked: &HeaderMap) -> Response {
    let content_type = [(header::CONTENT_TYPE, file.content_type)];
    let vary = [(header::VARY, "accept-encoding")];
    match list(asked, header::ACCEPT_ENCODING).any(|coding| coding == "gzip") {
        true => {
            let encoding = [(header::CONTENT_ENCODING, "gzip")];
            (StatusCode::OK, content_type, vary, encoding, file.gzip).into_response()
        }
        false => (StatusCode::OK, content_type, vary, file.plain).into_response(),
    }
}

/// The members of a list that are not refused with a weight of 0 (RFC 9110,
/// section 12.4.2), without their parameters.
fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    let members = values.filter_map(|value| value.to_str().ok());
    let members = members.flat_map(|value| value.split(','));
    members.filter_map(|member| {
        let (name, parameters) = member.split_once(';').unwrap_or((member, ""));
        let weight = parameters
            .split(';')
            .find_map(|p| p.trim().strip_prefix("q="));
        let is_refused = weight.is_some_and(|weight| weight.parse() == Ok(0.0));
        (!is_refused).then(|| name.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_for_who_asks_for_one() {
        let check = |accept: Option<&'static str>, expected: bool| {
            let header = accept.map(|it| (header::ACCEPT, HeaderValue::from_static(it)));
            let answer = page(&HeaderMap::from_iter(header));
            assert_eq!(answer.is_some(), expected, "{accept:?}");
        };
        let is_built_in = file("/index.html").is_some();
        check(
            Some("text/html,application/xhtml+xml,*/*;q=0.8"),
            is_built_in,
        );
        check(Some("text/html;q=0.5"), is_built_in);
        check(Some("text/html;q=0, */*"), false);
        check(Some("*/*"), false);
        check(None, false);
    }
}
