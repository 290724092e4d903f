//! Answers: the one place where a problem becomes a status.

use std::sync::atomic::{AtomicU64, Ordering};

use http_types::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use tide::Response;

use crate::api::objects::MEDIA_TYPE;
use crate::problem::{Code, Problem};

/// The only way to an answer's headers: `http_types` panics at a value that is not ASCII, and passes on what breaks a line.
pub trait Head {
    /// Gives a header this value and no other. One that no header can have is left out, and the log says so.
    fn set_header(&mut self, name: &'static str, value: impl AsRef<str>);
    /// Gives a header one more value.
    fn add_header(&mut self, name: &'static str, value: impl AsRef<str>);
}

impl Head for Response {
    #[expect(clippy::disallowed_methods, reason = "the value was looked at")]
    fn set_header(&mut self, name: &'static str, value: impl AsRef<str>) {
        if let Some(value) = header_value(name, value.as_ref()) {
            self.insert_header(name, value);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the value was looked at")]
    fn add_header(&mut self, name: &'static str, value: impl AsRef<str>) {
        if let Some(value) = header_value(name, value.as_ref()) {
            self.append_header(name, value);
        }
    }
}

fn header_value(name: &str, value: &str) -> Option<http_types::headers::HeaderValue> {
    let visible = value.bytes().all(|byte| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic());
    let good = visible.then(|| http_types::headers::HeaderValue::from_bytes(value.as_bytes().to_vec()).ok()).flatten();
    if good.is_none() {
        tracing::error!(name, "a header's value holds what none can hold, and is left out");
    }
    good
}

/// The HTTP status of a code.
#[must_use]
pub fn status(code: Code) -> StatusCode {
    match code {
        Code::BadRequest => StatusCode::BadRequest,
        Code::NotSignedIn => StatusCode::Unauthorized,
        Code::Forbidden | Code::WrongOrigin => StatusCode::Forbidden,
        Code::NotFound | Code::ReleaseGone => StatusCode::NotFound,
        Code::MethodNotAllowed => StatusCode::MethodNotAllowed,
        Code::NameTaken | Code::Conflict | Code::Superseded | Code::Cancelled | Code::Unchanged => StatusCode::Conflict,
        Code::PayloadTooLarge => StatusCode::PayloadTooLarge,
        Code::RequestTimeout => StatusCode::RequestTimeout,
        Code::UnsupportedMediaType => StatusCode::UnsupportedMediaType,
        Code::InvalidName
        | Code::NameReserved
        | Code::UnknownTemplate
        | Code::InvalidUri
        | Code::InvalidEnv
        | Code::InvalidSetting
        | Code::WeakPassword
        | Code::InvalidPasskey
        | Code::UnfitAddress
        | Code::LoginFailed
        | Code::NoCommits
        | Code::NoShell
        | Code::NoRecipe => StatusCode::UnprocessableEntity,
        Code::RateLimited => StatusCode::TooManyRequests,
        Code::PodmanUnavailable
        | Code::SystemdUnavailable
        | Code::JournalUnavailable
        | Code::StoreUnavailable
        | Code::Exhausted
        | Code::Busy
        | Code::NotReady
        | Code::Restarting => StatusCode::ServiceUnavailable,
        Code::DiskFull => StatusCode::InsufficientStorage,
        Code::FetchFailed => StatusCode::BadGateway,
        Code::BuildFailed
        | Code::BuildTimeout
        | Code::StartFailed
        | Code::Unhealthy
        | Code::Interrupted
        | Code::Internal => StatusCode::InternalServerError,
    }
}

/// When a client may try again, in seconds.
fn retry_after(problem: &Problem) -> Option<u64> {
    problem.retry_after.or(match problem.code {
        Code::RateLimited | Code::Busy | Code::Restarting => Some(1),
        Code::PodmanUnavailable
        | Code::SystemdUnavailable
        | Code::JournalUnavailable
        | Code::StoreUnavailable
        | Code::NotReady => Some(5),
        _ => None,
    })
}

fn title(code: Code) -> String {
    let words = code.as_str().replace('-', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The answer that tells a problem (RFC 9457).
#[must_use]
pub fn problem(problem: &Problem) -> Response {
    problem_with(problem, json!({}))
}

/// The same with members of its own (RFC 9457, section 3.2).
#[must_use]
pub fn problem_with(problem: &Problem, mut body: Value) -> Response {
    let mut response = Response::new(status(problem.code));
    body["type"] = format!("urn:podkeeper:problem:{}", problem.code.as_str()).into();
    body["title"] = title(problem.code).into();
    body["status"] = u16::from(status(problem.code)).into();
    body["detail"] = json!(problem.detail);
    if let Some(hint) = &problem.hint {
        body["hint"] = json!(hint);
    }
    let id = request_id();
    body["instance"] = json!(id);
    response.set_header("x-request-id", id.as_str());
    response.set_header("cache-control", "no-store");
    if let Some(seconds) = retry_after(problem) {
        response.set_header("retry-after", seconds.to_string());
    }
    response.set_body(body.to_string());
    response.set_header("content-type", "application/problem+json");
    response
}

/// The same for git, which shows a text.
#[must_use]
pub fn plain_problem(problem: &Problem) -> Response {
    let mut text = format!("{}\n", problem.detail);
    if let Some(hint) = &problem.hint {
        text.push_str(hint);
        text.push('\n');
    }
    let mut response = Response::new(status(problem.code));
    response.set_body(text);
    response.set_header("content-type", "text/plain; charset=utf-8");
    response.set_header("cache-control", "no-store");
    if let Some(seconds) = retry_after(problem) {
        response.set_header("retry-after", seconds.to_string());
    }
    if problem.code == Code::NotSignedIn {
        response.set_header("www-authenticate", "Basic realm=\"podkeeper\", charset=\"UTF-8\"");
    }
    response
}

/// A problem with what to do next, on one line.
pub fn line(problem: &Problem) -> String {
    match &problem.hint {
        Some(hint) => format!("{} Next: {hint}", problem.detail),
        None => problem.detail.to_string(),
    }
}

/// The same for Git LFS, which shows the message of a JSON object.
pub fn objects_problem(problem: &Problem) -> Response {
    let mut response = plain_problem(problem);
    response.set_body(json!({ "message": line(problem) }).to_string());
    response.set_header("content-type", MEDIA_TYPE);
    response
}

/// An answer with a JSON body.
pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_string(body)
        .map_err(|error| Problem::new(Code::Internal, format!("the answer can't be written: {error}")))?;
    let mut response = Response::new(status);
    response.set_body(text);
    response.set_header("content-type", "application/json");
    Ok(response)
}

/// The number that tells an answer from all others of this agent's run; the log names it too.
#[must_use]
pub fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    static RUN: std::sync::LazyLock<u32> = std::sync::LazyLock::new(rand::random);
    format!("{:08x}-{:x}", *RUN, NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_of_a_header_breaks_an_answer() {
        let mut response = Response::new(StatusCode::Ok);
        response.set_header("etag", "\"plain\"");
        for evil in ["caf\u{e9}", "a\r\nset-cookie: b", "a\nb", "\0", "\u{7f}", "\u{202e}"] {
            response.set_header("etag", evil);
            response.add_header("allow", evil);
        }
        assert_eq!(response.header("etag").map(|values| values.as_str()), Some("\"plain\""));
        assert!(response.header("allow").is_none());
    }

    #[test]
    fn every_code_has_a_status_of_an_error_and_a_title() {
        for code in Code::ALL {
            assert!(u16::from(status(code)) >= 400, "{}", code.as_str());
            assert!(title(code).starts_with(|c: char| c.is_ascii_uppercase()));
        }
    }
}
