//! `/openapi.json`: what this interface takes and answers. `/schemas/podkeeper.toml.json`: what a repository may say.

use http_types::StatusCode;
use tide::Response;

use super::super::call::Call;
use super::super::{openapi, respond};
use crate::api::repository;
use crate::problem::Problem;

pub async fn show(call: Call) -> Result<Response, Problem> {
    call.count_open_call()?;
    respond::json(StatusCode::Ok, &openapi::document(call.state().table()))
}

pub async fn repository(call: Call) -> Result<Response, Problem> {
    call.count_open_call()?;
    respond::json(StatusCode::Ok, &repository::schema())
}
