//! `/services`.

use std::collections::BTreeMap;

use http_types::StatusCode;
use serde_json::Value;
use tide::Response;

use super::super::call::Call;
use super::super::extract::{self, Rules};
use super::super::respond;
use super::super::respond::Head;
use super::super::route::Note;
use super::outcome::{self, accepted, limit, told};
use crate::api::deployments::{Restart, Rollback, Start};
use crate::api::status::Condition;
use crate::api::{plans, services as api, settings, status as how, templates};
use crate::deploys::{Cause, Deployment};
use crate::names::{BranchName, Fingerprint, NameError, ReleaseNumber, RepoUri, ServiceName};
use crate::problem::{Code, Problem, chain};
use crate::services::{NewSource, Service, Settings, spec, status::Status};

/// What a service is shown as.
fn shown(
    call: &Call,
    service: Service,
    status: Option<&Status>,
    last: Option<Deployment>,
    repository: Option<Settings>,
) -> api::Service {
    let (config, limits) = (call.state().config(), call.state().services().limits());
    api::Service {
        push_url: service.is_hosted().then(|| spec::push_url(&service.name, &config)),
        url: spec::url(&service, &config),
        source: service.source.into(),
        branch: service.branch,
        release: service.current,
        state: status.map_or(Condition::NeverDeployed, |status| status.condition.into()),
        created: service.created,
        last_deployment: last.map(|row| outcome::shown(call, row)),
        unenforced: limits.map(|limits| limits.unenforced(&service.settings)).unwrap_or_default(),
        settings: service.settings.into(),
        repository: repository.map(Into::into),
        name: service.name,
    }
}

async fn show_one(call: &Call, name: &ServiceName) -> Result<api::Service, Problem> {
    let services = call.state().services();
    let service = services.service(name).await.map_err(told)?;
    let status = services.states().await.map_err(told)?;
    let mut last = services.last_deployments().await.map_err(told)?;
    let last = last.remove(&service.id);
    let repository = services.repositories().await.map_err(told)?.remove(&service.id);
    Ok(shown(call, service, status.get(name), last, repository))
}

pub async fn list(mut call: Call) -> Result<Response, Problem> {
    let page: api::ServicesPage = extract::fields(&mut call.request, Rules::default()).await?;
    let limit = usize::try_from(limit(&page)?).unwrap_or(usize::MAX);
    let services = call.state().services();
    let status = services.states().await.map_err(told)?;
    let mut last = services.last_deployments().await.map_err(told)?;
    let mut repositories = services.repositories().await.map_err(told)?;
    let mut services = services.all().await.map_err(told)?;
    services.retain(|service| {
        call.sees(&service.name) && page.cursor.as_deref().is_none_or(|cursor| service.name.as_str() > cursor)
    });
    let more = services.len() > limit;
    services.truncate(limit);
    let cursor = services.last().filter(|_| more).map(|service| service.name.to_string());
    let services = services
        .into_iter()
        .map(|service| {
            let (status, last) = (status.get(&service.name), last.remove(&service.id));
            let repository = repositories.remove(&service.id);
            shown(&call, service, status, last, repository)
        })
        .collect();
    respond::json(StatusCode::Ok, &api::Services { services, cursor })
}

pub async fn status(call: Call) -> Result<Response, Problem> {
    let all = call.state().services().status().await.map_err(told)?;
    let seen = all.into_iter().filter(|(name, _)| call.sees(name));
    let all: BTreeMap<ServiceName, how::Status> = seen.map(|(name, status)| (name, status.into())).collect();
    respond::json(StatusCode::Ok, &all)
}

pub async fn available(mut call: Call) -> Result<Response, Problem> {
    call.count_open_call()?;
    let api::AskName { name } = extract::fields(&mut call.request, Rules::default()).await?;
    let availability = call.state().services().availability(&name).await.map_err(told)?;
    let mut response = respond::json(StatusCode::Ok, &api::NameAnswer::new(name, availability))?;
    response.set_header("cache-control", "no-store");
    Ok(response)
}

pub async fn create(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let new: api::NewService =
        extract::fields(&mut call.request, Rules { path: Some(("name", name.as_str())), ..Rules::default() }).await?;
    let refused = |error: NameError| error.problem();
    let branch = new.branch.map(|branch| branch.parse()).transpose().map_err(refused)?;
    let source = match (new.template, new.external) {
        (Some(template), None) => {
            let unknown = |error: NameError| Problem::new(Code::UnknownTemplate, error.to_string());
            NewSource::Template(template.parse().map_err(unknown)?)
        }
        (None, Some(uri)) => {
            let uri = secrecy::ExposeSecret::expose_secret(&uri.0).to_owned();
            let (uri, password) = RepoUri::parse(&uri).map_err(|error| error.problem())?;
            NewSource::External(uri, password)
        }
        _ => {
            return Err(Problem::new(Code::BadRequest, "exactly one of `template` and `external` is wanted")
                .with_hint("GET /templates lists the templates"));
        }
    };
    let service = call.state().services().create(&name, source, branch).await.map_err(told)?;
    let config = call.state().config();
    let kept = call.state().services().volumes(&name).await;
    let kept = kept.inspect_err(|error| tracing::warn!(service = %name, "can't see its volumes: {}", chain(error)));
    let created = api::CreatedService {
        kept_volumes: kept.ok().map(|volumes| volumes.iter().map(ToString::to_string).collect()),
        hook_url: spec::hook_url(&name, &config),
        hook_key: service.hook_key.as_str().to_owned(),
        service: shown(&call, service, None, None, None),
    };
    let mut response = respond::json(StatusCode::Created, &created)?;
    response.set_header("location", format!("/services/{name}"));
    Ok(response)
}

pub async fn show(call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    respond::json(StatusCode::Ok, &show_one(&call, &name).await?)
}

/// A JSON merge patch (RFC 7396) of the settings and the branch, of what they are when they are written; and another address
/// of the repository. With `dry_run` it is only told what that would change.
pub async fn change(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let plans::Change { dry_run } = extract::query(&call.request)?;
    let mut patch = extract::object(&mut call.request).await?;
    let invalid = |detail: String| Problem::new(Code::InvalidSetting, detail);
    let branch: Option<BranchName> = match patch.remove("branch") {
        None => None,
        Some(Value::String(text)) => Some(text.parse().map_err(|error: NameError| error.problem())?),
        Some(_) => return Err(invalid("`branch` must be the name of a branch".into())),
    };
    let external = match patch.remove("external") {
        None => None,
        Some(Value::String(text)) => Some(RepoUri::parse(&text).map_err(|error| error.problem())?),
        Some(_) => return Err(invalid("`external` must be the address of a repository".into())),
    };
    let change = move |now: Settings| {
        let patched = settings::Settings::from(now).patched(patch);
        patched.map_err(|(code, detail)| Problem::new(code, detail))?.check().map_err(invalid)
    };
    let next = branch.as_ref().map(|branch| {
        format!(
            "The next push to `{branch}` is deployed; to deploy what it has: `podkeeper deploy {name}`, or POST \
             /services/{name}/start."
        )
    });
    let services = call.state().services();
    if dry_run {
        if external.is_some() {
            let detail = "`external` is looked at when it is fetched, so that nothing can be told of it beforehand";
            return Err(Problem::new(Code::BadRequest, detail).with_hint("leave it out, or leave `dry_run` out"));
        }
        let (before, after) = services.plan_settings(&name, branch, change).await.map_err(told)?;
        let (now, then) = (before.settings.into(), after.settings.into());
        let plan = plans::Plan::between((&now, &before.branch), (&then, &after.branch));
        return respond::json(StatusCode::Ok, &plan);
    }
    // What can't be is refused before anything is changed.
    if external.is_some() {
        services.external(&name).await.map_err(told)?;
    }
    services.change_settings(&name, branch, change).await.map_err(told)?;
    if let Some((uri, secret)) = external {
        services.change_source(&name, &uri, secret).await.map_err(told)?;
    }
    let service = show_one(&call, &name).await?;
    respond::json(StatusCode::Ok, &api::ChangedService { service, next })
}

pub async fn remove(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let how: api::Remove = named(&mut call, &name).await?;
    let actor = call.actor()?;
    let removed = call.state().services().delete(&name, how.volumes, &actor).await.map_err(told)?;
    respond::json(StatusCode::Ok, &api::Removed::from(removed))
}

async fn named<T: serde::de::DeserializeOwned>(call: &mut Call, name: &ServiceName) -> Result<T, Problem> {
    extract::fields(&mut call.request, Rules { path: Some(("name", name.as_str())), ..Rules::default() }).await
}

/// A call that takes nothing but its path.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub async fn start(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let Start { commit } = named(&mut call, &name).await?;
    let (actor, deploys) = (call.actor()?, call.state().deploys());
    let deployment = match commit {
        Some(commit) => deploys.build_commit(&name, commit, actor).await,
        None => deploys.build(&name, Cause::Start, actor, None).await,
    };
    accepted(&call, deployment.map_err(told)?).await
}

pub async fn stop(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let Nothing {} = named(&mut call, &name).await?;
    let actor = call.actor()?;
    call.state().services().stop(&name, &actor).await.map_err(told)?;
    respond::json(StatusCode::Ok, &show_one(&call, &name).await?)
}

pub async fn restart(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let Restart { quick } = named(&mut call, &name).await?;
    let actor = call.actor()?;
    let deploys = call.state().deploys();
    let deployment = if quick {
        deploys.restart_quickly(&name, actor).await
    } else {
        deploys.build(&name, Cause::Restart, actor, None).await
    };
    accepted(&call, deployment.map_err(told)?).await
}

pub async fn rollback(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let Rollback { release } = named(&mut call, &name).await?;
    let actor = call.actor()?;
    let release = release
        .map(|number| number.to_string().parse::<ReleaseNumber>())
        .transpose()
        .map_err(|error| Problem::new(Code::BadRequest, error.to_string()))?;
    let deployment = call.state().deploys().rollback(&name, release, actor).await.map_err(told)?;
    accepted(&call, deployment).await
}

pub async fn templates(call: Call) -> Result<Response, Problem> {
    let all = call.state().services().templates().await.map_err(told)?;
    respond::json(StatusCode::Ok, &templates::Templates { templates: all.into_iter().map(Into::into).collect() })
}

pub async fn host_keys(call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let keys = call.state().services().host_keys(&name).await.map_err(told)?;
    respond::json(StatusCode::Ok, &api::HostKeys::from(keys))
}

pub async fn take_host_key(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let api::TakeHostKey { fingerprint } = named(&mut call, &name).await?;
    let refused = |error: NameError| Problem::new(Code::BadRequest, error.to_string());
    let fingerprint = fingerprint.parse::<Fingerprint>().map_err(refused)?;
    let keys = call.state().services().take_host_key(&name, &fingerprint).await.map_err(told)?;
    let mut response = respond::json(StatusCode::Ok, &api::HostKeys::from(keys))?;
    response.insert_ext(Note { actor: None, detail: Some(format!("ssh key {fingerprint}")) });
    Ok(response)
}

/// Makes the key at the first call, by either method.
pub async fn deploy_key(call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let public_key = call.state().services().deploy_key(&name).await.map_err(told)?;
    respond::json(StatusCode::Ok, &api::DeployKey { public_key })
}
