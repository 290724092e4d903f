//! `/sessions`: a browser signs in with a token and gets a cookie.

use http_types::StatusCode;
use secrecy::ExposeSecret;
use serde_json::json;
use tide::Response;

use super::super::extract::{self, Rules};
use super::super::record::Note;
use super::super::{Call, respond};
use super::told;
use crate::api::auth::{Session, SignIn};
use crate::auth::{COOKIES, Credential};
use crate::problem::{Code, Problem};

pub async fn sign_in(mut call: Call) -> Result<Response, Problem> {
    call.count_open_call()?;
    // A page elsewhere must not sign a browser in, not even with a token of its own. Programs send no Origin.
    if call.header("origin").is_some() {
        call.state().auth().same_origin(call.presented()?)?;
    }
    let rules = Rules { body_only: &["token"], ..Rules::default() };
    let SignIn { token } = extract::fields(&mut call.request, rules).await?;
    let client = call.header("user-agent").unwrap_or_default().to_owned();
    let signed_in = call.state().auth().sign_in(&token.0, &client).await.map_err(|error| told(error.into()))?;
    let Some((value, expires, actor)) = signed_in else {
        call.state().auth().wrong_key(call.presented()?)?;
        return Err(Problem::new(Code::NotSignedIn, "this is no token")
            .with_hint("`podkeeper token create --name NAME` on the host makes one"));
    };
    let mut response = respond::json(StatusCode::Created, &json!({ "expires": expires }))?;
    let secure = call.state().config().listen.public_url.starts_with("https://");
    let cookie = if secure {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000; Secure", COOKIES[1], value.expose_secret())
    } else {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000", COOKIES[0], value.expose_secret())
    };
    response.insert_header("set-cookie", cookie);
    response.insert_header("cache-control", "no-store");
    response.insert_ext(Note { actor: Some(actor), ..Note::default() });
    Ok(response)
}

pub async fn list(call: Call) -> Result<Response, Problem> {
    let sessions = call.state().auth().sessions().await.map_err(|error| told(error.into()))?;
    let sessions: Vec<Session> = sessions.into_iter().map(Into::into).collect();
    respond::json(StatusCode::Ok, &json!({ "sessions": sessions }))
}

/// Ends the session that asks.
pub async fn leave(call: Call) -> Result<Response, Problem> {
    let Credential::Session(id) = call.identity()?.credential else {
        return Err(Problem::new(Code::NotFound, "you came without a session"));
    };
    call.state().auth().sign_out(id).await?;
    Ok(Response::new(StatusCode::NoContent))
}

/// Ends a session.
pub async fn remove(call: Call) -> Result<Response, Problem> {
    let id = call.param("id")?.parse().map_err(|_| Problem::new(Code::BadRequest, "a session's number is wanted"))?;
    call.state().auth().sign_out(id).await?;
    Ok(Response::new(StatusCode::NoContent))
}
