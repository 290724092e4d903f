//! `/services/{name}/env`.

use std::collections::BTreeMap;

use http_types::StatusCode;
use secrecy::ExposeSecret;
use tide::Response;

use super::super::call::Call;
use super::super::extract::{self, Rules};
use super::super::respond;
use super::outcome::{accepted, told};
use crate::api::env::{Env, EnvPlan, EnvUpdated, UpdateEnv};
use crate::names::EnvKey;
use crate::problem::{Code, Problem};
use crate::services::EnvUpdate;

pub async fn show(call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let services = call.state().services();
    let service = services.service(&name).await.map_err(told)?;
    let env = services.read_env(&name).await.map_err(told)?;
    let env = env.into_iter().map(|(key, value)| (key.to_string(), value.expose_secret().to_owned())).collect();
    let image = services.image_env(&service).await.map_err(told)?;
    respond::json(StatusCode::Ok, &Env { env, image })
}

/// 202 with the deployment where a running service gets a new release, which it does not where it has all of it already;
/// else 200 with the keys that are set. With `dry_run` it is only told what that would change, and whether it would restart
/// what runs.
pub async fn update(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let rules = Rules { path: Some(("name", name.as_str())), body_only: &["env"] };
    let update: UpdateEnv = extract::fields(&mut call.request, rules).await?;
    let actor = call.actor()?;
    let mut changes = BTreeMap::new();
    for (key, value) in update.env.0 {
        let key: EnvKey =
            key.parse().map_err(|error: crate::names::NameError| Problem::new(Code::InvalidEnv, error.to_string()))?;
        if key.is_agents() {
            return Err(Problem::new(Code::InvalidEnv, format!("`{key}` is given by the agent")).with_hint(
                "set `container_port`: `podkeeper settings NAME container_port=PORT`, or PATCH /services/NAME",
            ));
        }
        changes.insert(key, value.map(|value| value.0));
    }
    let services = call.state().services();
    let restart = update.restart.unwrap_or(true);
    if update.dry_run {
        let plan = services.plan_update(&name, &changes, update.replace, restart).await.map_err(told)?;
        let changed = !(plan.set.is_empty() && plan.removed.is_empty());
        let (keys, set, removed) = (words(&plan.keys), words(&plan.set), words(&plan.removed));
        let plan = Some(EnvPlan { set, removed, restarts: plan.restarts });
        return respond::json(StatusCode::Ok, &EnvUpdated { keys, changed, plan });
    }
    let updated = services.update_env(&name, changes, update.replace, restart, actor).await.map_err(told)?;
    if let EnvUpdate::Deployed(deployment) = updated {
        return accepted(&call, *deployment).await;
    }
    let keys = words(&services.env_keys(&name).await.map_err(told)?);
    respond::json(StatusCode::Ok, &EnvUpdated { keys, changed: matches!(updated, EnvUpdate::Kept), plan: None })
}

fn words(keys: &[EnvKey]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}
