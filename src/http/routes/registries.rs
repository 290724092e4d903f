//! `/registries`: the logins that private images are fetched with.

use http_types::StatusCode;
use tide::Response;

use super::super::call::Call;
use super::super::extract::{self, Rules};
use super::super::respond;
use super::super::route::Note;
use super::outcome::told;
use crate::api::registries::{NewRegistryLogin, RegistryLogin, RegistryLogins, USERNAME};
use crate::names::RegistryHost;
use crate::problem::{Code, Problem};

fn registry(call: &Call) -> Result<RegistryHost, Problem> {
    call.param("registry")?.parse().map_err(|error: crate::names::NameError| error.problem())
}

pub async fn list(call: Call) -> Result<Response, Problem> {
    let logins = call.state().host().logins().await.map_err(told)?;
    respond::json(StatusCode::Ok, &RegistryLogins { registries: logins.into_iter().map(Into::into).collect() })
}

pub async fn log_in(mut call: Call) -> Result<Response, Problem> {
    let registry = registry(&call)?;
    let rules = Rules { body_only: &["password"], ..Rules::default() };
    let NewRegistryLogin { username, password } = extract::fields(&mut call.request, rules).await?;
    // Behind the first `:` the password begins (RFC 7617, section 2).
    if !USERNAME.contains(&username.chars().count()) || username.chars().any(|c| c == ':' || c.is_control()) {
        let (least, most) = USERNAME.into_inner();
        let detail = format!("`username` takes {least} to {most} characters, and none is `:` or a control character");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    call.state().host().log_in(&registry, &username, &password.0).await.map_err(told)?;
    let mut response =
        respond::json(StatusCode::Ok, &RegistryLogin { registry: registry.to_string(), username: username.clone() })?;
    response.insert_ext(Note { detail: Some(username), ..Note::default() });
    Ok(response)
}

pub async fn log_out(call: Call) -> Result<Response, Problem> {
    let registry = registry(&call)?;
    if call.state().host().log_out(&registry).await.map_err(told)? {
        return Ok(Response::new(StatusCode::NoContent));
    }
    Err(Problem::new(Code::NotFound, format!("nobody is logged in at {registry}")))
}
