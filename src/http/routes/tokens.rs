//! `/credentials/tokens`: API tokens.

use http_types::StatusCode;
use secrecy::ExposeSecret;
use tide::Response;

use super::super::call::Call;
use super::super::extract::{self, Rules};
use super::super::respond;
use super::super::route::Note;
use super::outcome::told;
use crate::api::tokens::{CreatedToken, NewToken, Tokens};
use crate::auth::Grant;
use crate::names::{NameError, ServiceName, TokenName};
use crate::problem::Problem;

pub async fn create(mut call: Call) -> Result<Response, Problem> {
    let NewToken { name, scope, service, expires } = extract::fields(&mut call.request, Rules::default()).await?;
    let refused = |error: NameError| error.problem();
    let name: TokenName = name.parse().map_err(refused)?;
    let service = service.map(|name| name.parse::<ServiceName>()).transpose().map_err(refused)?;
    let detail = format!("{name}: {scope} of {}", service.as_ref().map_or("all", ServiceName::as_str));
    let grant = Grant { scope, service };
    let token = call.state().auth().create_token(name.clone(), grant, expires).await?;
    let created = CreatedToken { name: name.into(), token: token.expose_secret().to_owned() };
    let mut response = respond::json(StatusCode::Created, &created)?;
    response.insert_ext(Note { detail: Some(detail), ..Note::default() });
    Ok(response)
}

pub async fn list(call: Call) -> Result<Response, Problem> {
    let tokens = call.state().auth().tokens().await.map_err(told)?;
    respond::json(StatusCode::Ok, &Tokens { tokens: tokens.into_iter().map(Into::into).collect() })
}

pub async fn remove(call: Call) -> Result<Response, Problem> {
    let name = call.param("name")?.parse().map_err(|error: NameError| error.problem())?;
    call.state().auth().remove_token(&name).await?;
    Ok(Response::new(StatusCode::NoContent))
}
