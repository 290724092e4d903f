//! `/services/{name}/env`.

use std::collections::BTreeMap;

use http_types::StatusCode;
use secrecy::ExposeSecret;
use tide::Response;

use super::super::extract::{self, Rules};
use super::super::{Call, respond};
use super::{accepted, told};
use crate::api::env::{Env, EnvUpdated, UpdateEnv};
use crate::deploys::EnvUpdate;
use crate::names::{EnvKey, ReleaseName};
use crate::problem::{Code, Problem};

pub async fn show(call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let parts = call.state().parts();
    let service = parts.store.service(&name).await.map_err(|error| told(error.into()))?;
    let env = parts.read_env(&name).await.map_err(told)?;
    let env = env.into_iter().map(|(key, value)| (key.to_string(), value.expose_secret().to_owned())).collect();
    let image = match service.current {
        Some(number) => {
            let image = parts.podman.image(&ReleaseName::new(&name, number).image()).await;
            image
                .map_err(|error| told(error.into()))?
                .map_or_else(BTreeMap::new, |image| image.env.into_iter().collect())
        }
        None => BTreeMap::new(),
    };
    respond::json(StatusCode::Ok, &Env { env, image })
}

/// 202 with the deployment where a running service gets a new release, which it does not where it has all of it already;
/// else 200 with the keys that are set.
pub async fn update(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let rules = Rules { path: Some(("name", name.as_str())), body_only: &["env"] };
    let update: UpdateEnv = extract::fields(&mut call.request, rules).await?;
    let actor = call.actor()?;
    let mut changes = BTreeMap::new();
    for (key, value) in update.env.0 {
        let key: EnvKey =
            key.parse().map_err(|error: crate::names::NameError| Problem::new(Code::InvalidEnv, error.to_string()))?;
        // The container port decides it; a value here would only mislead the program.
        if key.as_str() == "PORT" {
            return Err(Problem::new(Code::InvalidEnv, "`PORT` is given by the agent").with_hint(
                "set `container_port`: `podkeeper settings NAME container_port=PORT`, or PATCH /services/NAME",
            ));
        }
        changes.insert(key, value.map(|value| value.0));
    }
    let deploys = call.state().deploys();
    let restart = update.restart.unwrap_or(true);
    let updated = deploys.update_env(&name, changes, update.replace, restart, actor).await.map_err(told)?;
    if let EnvUpdate::Deployed(deployment) = updated {
        return accepted(&call, *deployment).await;
    }
    let env = call.state().parts().store.env(&name).await.map_err(|error| told(error.into()))?;
    let keys = env.into_keys().map(|key| key.to_string()).collect();
    respond::json(StatusCode::Ok, &EnvUpdated { keys, changed: matches!(updated, EnvUpdate::Kept) })
}
