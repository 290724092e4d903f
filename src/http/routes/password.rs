//! `/credentials/update`: the git password.

use http_types::StatusCode;
use tide::Response;

use super::super::call::Call;
use super::super::extract::{self, Rules};
use crate::api::tokens::NewPassword;
use crate::problem::Problem;

pub async fn update(mut call: Call) -> Result<Response, Problem> {
    let rules = Rules { body_only: &["password"], ..Rules::default() };
    let NewPassword { password } = extract::fields(&mut call.request, rules).await?;
    call.state().auth().set_password(password.0).await?;
    Ok(Response::new(StatusCode::NoContent))
}
