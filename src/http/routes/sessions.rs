//! `/sessions`: a browser signs in with a token and gets a cookie; where people are signed in.

use http_types::StatusCode;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::json;
use tide::Response;

use super::super::call::Call;
use super::super::extract::{self, Rules};
use super::super::respond;
use super::super::respond::Head;
use super::super::route::Note;
use crate::api::auth::{EndSessions, Session, SignIn};
use crate::auth::{Credential, SignedIn, Site};
use crate::names::SignInId;
use crate::problem::{Code, Problem};

/// Gives the browser its session's cookie. Only our own page sends it back, and no script reads it.
pub(super) fn open(response: &mut Response, site: &Site, signed_in: &SignedIn) {
    let lasts = signed_in.expires.duration_since(Timestamp::now()).as_secs().max(0);
    let secure = if site.secure() { "; Secure" } else { "" };
    let cookie = format!(
        "{}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={lasts}{secure}",
        site.cookie(),
        signed_in.value.expose_secret()
    );
    response.set_header("set-cookie", cookie);
    response.set_header("cache-control", "no-store");
}

/// Takes it away.
pub(super) fn close(response: &mut Response) {
    for (name, secure) in Site::COOKIES {
        let secure = if secure { "; Secure" } else { "" };
        response.add_header("set-cookie", format!("{name}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0{secure}"));
    }
    response.set_header("cache-control", "no-store");
}

pub async fn sign_in(mut call: Call) -> Result<Response, Problem> {
    call.count_open_call()?;
    call.own_page()?;
    let rules = Rules { body_only: &["token"], ..Rules::default() };
    let SignIn { token } = extract::fields(&mut call.request, rules).await?;
    let auth = call.state().auth();
    let presented = call.presented()?;
    let site = auth.site(presented)?;
    let client = call.header("user-agent").unwrap_or_default();
    let Some(signed_in) = auth.sign_in(&token.0, presented, client).await? else {
        auth.wrong_key(presented)?;
        return Err(Problem::new(Code::NotSignedIn, "this is no token")
            .with_hint("`podkeeper token create --name NAME` on the host makes one"));
    };
    let mut response = respond::json(StatusCode::Created, &json!({ "expires": signed_in.expires }))?;
    open(&mut response, &site, &signed_in);
    response.insert_ext(Note { actor: Some(signed_in.actor), ..Note::default() });
    Ok(response)
}

/// The session that asks.
fn current(call: &Call) -> Option<SignInId> {
    match call.identity().ok()?.credential {
        Credential::Session(id) => Some(id),
        _ => None,
    }
}

pub async fn list(call: Call) -> Result<Response, Problem> {
    let sessions = call.state().auth().sessions().await?;
    let current = current(&call);
    let sessions: Vec<Session> = sessions.into_iter().map(|session| Session::of(session, current)).collect();
    respond::json(StatusCode::Ok, &json!({ "sessions": sessions }))
}

/// Ends the session that asks.
pub async fn leave(call: Call) -> Result<Response, Problem> {
    let id = current(&call).ok_or_else(|| Problem::new(Code::NotFound, "you are not signed in with a session"))?;
    call.state().auth().sign_out(id).await?;
    let mut response = Response::new(StatusCode::NoContent);
    close(&mut response);
    Ok(response)
}

/// Ends a session.
pub async fn remove(call: Call) -> Result<Response, Problem> {
    let id = call.param("id")?.parse().map_err(|_| Problem::new(Code::BadRequest, "a session's number is wanted"))?;
    call.state().auth().sign_out(SignInId(id)).await?;
    Ok(Response::new(StatusCode::NoContent))
}

/// Ends all sessions, with the one that asks or without it.
pub async fn remove_all(mut call: Call) -> Result<Response, Problem> {
    let EndSessions { others } = extract::fields(&mut call.request, Rules::default()).await?;
    let kept = if others { current(&call) } else { None };
    call.state().auth().sign_out_all(kept).await?;
    Ok(Response::new(StatusCode::NoContent))
}
