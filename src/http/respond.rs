//! Answers: the one place where a problem becomes a status.

use std::sync::atomic::{AtomicU64, Ordering};

use http_types::StatusCode;
use serde::Serialize;
use serde_json::json;
use tide::Response;

use crate::problem::{Code, Problem};

/// The HTTP status of a code.
#[must_use]
pub fn status(code: Code) -> StatusCode {
    match code {
        Code::BadRequest => StatusCode::BadRequest,
        Code::NotSignedIn => StatusCode::Unauthorized,
        Code::Forbidden | Code::WrongOrigin => StatusCode::Forbidden,
        Code::NotFound | Code::ReleaseGone => StatusCode::NotFound,
        Code::MethodNotAllowed => StatusCode::MethodNotAllowed,
        Code::NameTaken | Code::Conflict | Code::Superseded | Code::Cancelled => StatusCode::Conflict,
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
        Code::PodmanUnavailable | Code::SystemdUnavailable | Code::JournalUnavailable | Code::StoreUnavailable => {
            Some(5)
        }
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
    let mut response = Response::new(status(problem.code));
    let mut body = json!({
        "type": format!("urn:podkeeper:problem:{}", problem.code.as_str()),
        "title": title(problem.code),
        "status": u16::from(status(problem.code)),
        "detail": problem.detail,
    });
    if let Some(hint) = &problem.hint {
        body["hint"] = json!(hint);
    }
    let id = request_id();
    body["instance"] = json!(id);
    response.insert_header("x-request-id", id.as_str());
    response.insert_header("cache-control", "no-store");
    if let Some(seconds) = retry_after(problem) {
        response.insert_header("retry-after", seconds.to_string());
    }
    response.set_body(body.to_string());
    response.insert_header("content-type", "application/problem+json");
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
    response.insert_header("content-type", "text/plain; charset=utf-8");
    response.insert_header("cache-control", "no-store");
    if let Some(seconds) = retry_after(problem) {
        response.insert_header("retry-after", seconds.to_string());
    }
    if problem.code == Code::NotSignedIn {
        response.insert_header("www-authenticate", "Basic realm=\"podkeeper\", charset=\"UTF-8\"");
    }
    response
}

/// An answer with a JSON body.
pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_string(body)
        .map_err(|error| Problem::new(Code::Internal, format!("the answer can't be written: {error}")))?;
    let mut response = Response::new(status);
    response.set_body(text);
    response.insert_header("content-type", "application/json");
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
    fn every_code_has_a_status_of_an_error_and_a_title() {
        for code in Code::ALL {
            assert!(u16::from(status(code)) >= 400, "{}", code.as_str());
            assert!(title(code).starts_with(|c: char| c.is_ascii_uppercase()));
        }
    }
}
