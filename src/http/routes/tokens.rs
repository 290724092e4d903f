//! `/internal/tokens`: API tokens, for the command line on the host only.

use http_types::StatusCode;
use secrecy::ExposeSecret;
use serde_json::json;
use tide::Response;

use super::super::extract::{self, Rules};
use super::super::{Call, respond};
use super::told;
use crate::api::auth::{CreatedToken, NewToken, Token};
use crate::names::Scope;
use crate::problem::Problem;
use crate::store::Grant;

pub async fn create(mut call: Call) -> Result<Response, Problem> {
    let NewToken { name } = extract::fields(&mut call.request, Rules::default()).await?;
    let grant = Grant { scope: Scope::Admin, service: None };
    let token = call.state().auth().create_token(&name, grant, None).await?;
    respond::json(StatusCode::Created, &CreatedToken { name, token: token.expose_secret().to_owned() })
}

pub async fn list(call: Call) -> Result<Response, Problem> {
    let tokens = call.state().auth().tokens().await.map_err(|error| told(error.into()))?;
    let tokens: Vec<Token> = tokens.into_iter().map(Into::into).collect();
    respond::json(StatusCode::Ok, &json!({ "tokens": tokens }))
}

pub async fn remove(call: Call) -> Result<Response, Problem> {
    call.state().auth().remove_token(&call.param("name")?).await?;
    Ok(Response::new(StatusCode::NoContent))
}
