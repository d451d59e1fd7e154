//! What a write may carry by RFC 9110 and 9112 and is not supported: conditions, parts, transfer codings.
//!
//! **Invariant:** such a write is never done as if it carried nothing: that would lose updates, or store what nobody meant.

use axum::extract::Request;
use axum::http::header::{CONTENT_RANGE, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, TRANSFER_ENCODING};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use conure_client::problem as kind;

use super::problem::Problem;

/// The headers that forbid a write. `If-Modified-Since` and `If-Range` are left out: RFC 9110 defines them for reads alone and
/// has servers ignore them elsewhere.
const CONDITIONS: [HeaderName; 3] = [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE];

/// Stands before the paths that take writes, and before those are redirected or forwarded.
pub(super) async fn refuse(request: Request, next: Next) -> Result<Response, Problem> {
    if !request.method().is_safe() {
        check(&request)?;
    }
    Ok(next.run(request).await)
}

fn check(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    if let Some(name) = CONDITIONS.iter().find(|name| headers.contains_key(*name)) {
        let detail =
            format!("a write cannot have the condition {name} yet; nothing was done, send it without");
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, kind::CONDITION_NOT_SUPPORTED, detail));
    }
    let coded = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"chunked");
    if headers.get_all(TRANSFER_ENCODING).iter().any(coded) {
        let detail = "the only Transfer-Encoding is chunked; nothing was done, send the value as it is";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, kind::CODING_NOT_SUPPORTED, detail));
    }
    // Another half of the protocol: without this the part would become the whole value.
    if *request.method() == Method::PUT && headers.contains_key(CONTENT_RANGE) {
        let detail = "a part of a value cannot be stored; send the whole value, without Content-Range";
        return Err(Problem::new(StatusCode::BAD_REQUEST, kind::INVALID, detail));
    }
    Ok(())
}
