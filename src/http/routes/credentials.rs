//! `/credentials`: passkeys, who is signed in, and what else opens this host.

use http_types::StatusCode;
use secrecy::ExposeSecret;
use serde_json::json;
use tide::Response;

use super::super::call::Call;
use super::super::extract::{self, Rules};
use super::super::respond;
use super::super::respond::Head;
use super::super::route::Note;
use super::outcome::told;
use super::sessions::{close, open};
use crate::api::auth::{Enrolment, Login, Passkey, RegisterPasskey, RenamePasskey, Who};
use crate::api::tokens::Token;
use crate::auth::Credential;
use crate::names::NameError;
use crate::problem::Problem;

const KEY: Rules<'_> = Rules { path: None, body_only: &["key"] };

pub async fn list(call: Call) -> Result<Response, Problem> {
    let auth = call.state().auth();
    let passkeys: Vec<Passkey> = auth.passkeys().await?.into_iter().map(Into::into).collect();
    let tokens = auth.tokens().await.map_err(told)?;
    let tokens: Vec<Token> = tokens.into_iter().map(Into::into).collect();
    let password = auth.password_changed().await?.map(|changed| json!({ "changed": changed }));
    respond::json(StatusCode::Ok, &json!({ "passkeys": passkeys, "tokens": tokens, "password": password }))
}

pub async fn who(call: Call) -> Result<Response, Problem> {
    let identity = call.identity()?;
    let session = match identity.credential {
        Credential::Session(id) => Some(id.0),
        _ => None,
    };
    let who = Who {
        actor: identity.actor.to_string(),
        scope: identity.grant.scope,
        service: identity.grant.service.clone(),
        session,
        ends: identity.ends,
    };
    respond::json(StatusCode::Ok, &who)
}

pub async fn register_options(call: Call) -> Result<Response, Problem> {
    let auth = call.state().auth();
    let site = auth.site(call.presented()?)?;
    let options = auth.start_registration(call.identity()?, &site).await?;
    respond::json(StatusCode::Ok, &options)
}

/// Who came by an enrolment link is signed in with the new passkey: its owner has shown it just now.
pub async fn register(mut call: Call) -> Result<Response, Problem> {
    let RegisterPasskey { id, key, name } = extract::fields(&mut call.request, KEY).await?;
    let auth = call.state().auth();
    let (presented, by) = (call.presented()?, call.identity()?);
    let site = auth.site(presented)?;
    let name = name.as_deref().unwrap_or("passkey").parse().map_err(|error: NameError| error.problem())?;
    let passkey = auth.guessed(presented, auth.finish_registration(by, &site, &id, key, name).await)?;
    let mut response = respond::json(StatusCode::Created, &Passkey::from(passkey.clone()))?;
    response.insert_ext(Note { detail: Some(passkey.name.to_string()), ..Note::default() });
    if matches!(by.credential, Credential::Link(_)) {
        let client = call.header("user-agent").unwrap_or_default();
        open(&mut response, &site, &auth.sign_in_as(passkey, presented, client).await?);
    }
    Ok(response)
}

pub async fn login_options(call: Call) -> Result<Response, Problem> {
    call.count_open_call()?;
    let auth = call.state().auth();
    let options = auth.start_login(&auth.site(call.presented()?)?)?;
    let mut response = respond::json(StatusCode::Ok, &options)?;
    response.set_header("cache-control", "no-store");
    Ok(response)
}

pub async fn login(mut call: Call) -> Result<Response, Problem> {
    call.count_open_call()?;
    call.own_page()?;
    let Login { key } = extract::fields(&mut call.request, KEY).await?;
    let auth = call.state().auth();
    let presented = call.presented()?;
    let site = auth.site(presented)?;
    let client = call.header("user-agent").unwrap_or_default();
    let signed_in = auth.sign_in_with_passkey(&site, key, presented, client).await?;
    let body = json!({ "actor": signed_in.actor.to_string(), "expires": signed_in.expires });
    let mut response = respond::json(StatusCode::Ok, &body)?;
    open(&mut response, &site, &signed_in);
    response.insert_ext(Note { actor: Some(signed_in.actor), ..Note::default() });
    Ok(response)
}

/// Whoever has no session any more is signed out already.
pub async fn logout(call: Call) -> Result<Response, Problem> {
    call.own_page()?;
    let auth = call.state().auth();
    let presented = call.presented()?;
    let actor = auth.leave(presented).await?;
    let mut response = Response::new(StatusCode::NoContent);
    close(&mut response);
    response.insert_ext(Note { actor, ..Note::default() });
    Ok(response)
}

pub async fn rename(mut call: Call) -> Result<Response, Problem> {
    let RenamePasskey { name } = extract::fields(&mut call.request, Rules::default()).await?;
    let name = name.parse().map_err(|error: NameError| error.problem())?;
    call.state().auth().rename_passkey(&call.param("id")?, name).await?;
    Ok(Response::new(StatusCode::NoContent))
}

pub async fn remove(call: Call) -> Result<Response, Problem> {
    call.state().auth().remove_passkey(&call.param("id")?).await?;
    Ok(Response::new(StatusCode::NoContent))
}

pub async fn enroll(call: Call) -> Result<Response, Problem> {
    let (url, expires) = call.state().auth().enroll().await?;
    respond::json(StatusCode::Created, &Enrolment { url: url.expose_secret().to_owned(), expires })
}
