//! `/hooks/{repo}`, where a forge says that somebody pushed, and `/services/{name}/hook`, which shows what it said.

use std::io;
use std::sync::Arc;

use http_types::StatusCode;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tide::Response;

use super::super::call::Call;
use super::super::extract::{self, Rules};
use super::super::route::Note;
use super::super::{respond, spool};
use super::outcome::{accepted, told};
use crate::api::hooks as api;
use crate::deploys::{Cause, NewDelivery, NewDeployment, NewOutcome, Outcome};
use crate::hooks::{self, Decision, Delivery, Headers, Sender};
use crate::names::{Actor, Excerpt, HookKey, NameError, ServiceName};
use crate::problem::{Code, Problem};
use crate::services::{Service, spec};

/// A wrong key and an unknown service look the same.
fn unknown() -> Problem {
    Problem::new(Code::NotFound, "there is no such hook, or the key is not its own")
        .with_hint("`podkeeper hook NAME`, or GET /services/NAME/hook, shows a hook's address and key")
}

/// The service that the path names.
async fn service(call: &Call) -> Result<Option<Service>, Problem> {
    let Ok(name) = call.param("repo")?.parse::<ServiceName>() else { return Ok(None) };
    call.state().services().find(&name).await.map_err(told)
}

/// What the body is read for: none where the key doesn't authorise it.
type Read = Option<Result<hooks::DeliveryContent, hooks::HookError>>;

/// A body is larger than is read of whoever sends it. Whether there is such a service it doesn't tell.
fn too_large(known: bool, most: usize) -> Problem {
    let (most, hint) = if known {
        (format!("{} MiB", most >> 20), "let the forge send less of each commit, or only push events")
    } else {
        (
            format!("{} KiB where neither a signature nor the address or a header shows the key", most >> 10),
            "give the forge the key as its secret, or put it into the address or an `Authorization: Bearer` header",
        )
    };
    Problem::new(Code::PayloadTooLarge, format!("a delivery's body has at most {most}")).with_hint(hint)
}

async fn read(call: &mut Call, sender: Sender, headers: Headers, key: HookKey) -> Result<Read, Problem> {
    let query = call.request.url().query().unwrap_or_default().to_owned();
    let now = Timestamp::now();
    let head = Delivery { headers: &headers, query: &query, body: &[] };
    // Only who signs, or has shown the key already, may send more than what could hold a key.
    let known = hooks::is_signed(sender, &headers) || hooks::authorises(&key, sender, head, now);
    let most = if known { spool::LARGEST } else { hooks::KEYED_BODY };
    let state = call.state().clone();
    let folder = state.config().paths.state.clone();
    let body = call.request.take_body();
    let Some(body) = state.spool().take(body, &folder, most).await? else {
        state.auth().wrong_key(call.presented()?)?;
        return Err(too_large(known, most));
    };
    let headers = Arc::new(headers);
    let check = {
        let (headers, query, key) = (headers.clone(), query.clone(), key.clone());
        move |body: &mut dyn io::Read| {
            let head = Delivery { headers: &headers, query: &query, body: &[] };
            hooks::authorises_whole(&key, sender, head, body, now)
        }
    };
    let read = state.spool().with(body, check, move |body| {
        let delivery = Delivery { headers: &headers, query: &query, body };
        hooks::authorises(&key, sender, delivery, now).then(|| hooks::read(sender, delivery))
    });
    Ok(read.await?.flatten())
}

/// A delivery, by GET or POST.
pub async fn deliver(mut call: Call) -> Result<Response, Problem> {
    let headers = call.request.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    let headers: Headers = headers.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let sender = Sender::of(&headers);
    let service = service(&call).await?;
    // Where there is no service, another key takes the same time to be found wrong.
    let key = service.as_ref().map_or(call.state().decoy(), |service| &service.hook_key).clone();
    let read = read(&mut call, sender, headers, key).await?;
    let (Some(service), Some(read)) = (&service, read) else {
        call.state().auth().wrong_key(call.presented()?)?;
        if let Some(service) = &service {
            call.state().services().refuse_delivery(service, sender.as_str());
        }
        return Err(unknown());
    };
    let note = Note { actor: Some(Actor::Hook(sender.name())), detail: None };

    let (event, id, outcome) = match read {
        Ok(told) => {
            let skips = service.settings.skip_marks != Some(false);
            let branch = match call.state().services().follows_head(service).await.map_err(self::told)? {
                true => hooks::pushed_branch(&told).unwrap_or_else(|| service.branch.clone()),
                false => service.branch.clone(),
            };
            let outcome = match hooks::decide(&told, &branch, skips) {
                Decision::Build(commit) => {
                    // The branch's newest when its turn comes, which may be newer than what was pushed here, and never older.
                    let (actor, commit) = (Actor::Hook(sender.name()), commit.filter(|_| !service.is_hosted()));
                    NewOutcome::Deployed(NewDeployment::build(&service.name, Cause::Hook, actor, commit))
                }
                Decision::Ping => NewOutcome::Ping,
                Decision::Ignore(why) => NewOutcome::Ignored(why),
            };
            (told.event, told.id, outcome)
        }
        Err(error) => (Excerpt::of(""), None, NewOutcome::Refused(error.to_string())),
    };
    let name = service.name.clone();
    let delivery = NewDelivery { service: name.clone(), sender: sender.as_str(), event, id, outcome };
    let delivery = call.state().deploys().deliver(delivery).await.map_err(told)?;
    let mut response = match (delivery.outcome, delivery.deployment) {
        (Outcome::Deployed, Some(deployment)) => accepted(&call, deployment).await?,
        (Outcome::Ping, _) => respond::json(StatusCode::Ok, &api::HookAnswer::Ping(name.to_string()))?,
        (Outcome::Refused, _) => {
            return Err(Problem::new(Code::BadRequest, delivery.reason.unwrap_or_default())
                .with_hint("set the hook's content type to application/json"));
        }
        (_, _) => respond::json(StatusCode::Ok, &api::HookAnswer::Ignored(delivery.reason.unwrap_or_default()))?,
    };
    response.insert_ext(note);
    Ok(response)
}

async fn shown(call: &Call, service: Service) -> Result<Response, Problem> {
    let deliveries = call.state().services().deliveries(&service).await.map_err(told)?;
    let hook = api::Hook {
        url: spec::hook_url(&service.name, &call.state().config()),
        key: service.hook_key.as_str().to_owned(),
        deliveries: deliveries.into_iter().map(Into::into).collect(),
    };
    respond::json(StatusCode::Ok, &hook)
}

pub async fn show(call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let service = call.state().services().service(&name).await.map_err(told)?;
    shown(&call, service).await
}

pub async fn rotate(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let rules = Rules { path: Some(("name", name.as_str())), body_only: &["key"] };
    let api::Rotate { key } = extract::fields(&mut call.request, rules).await?;
    let key = key.map(|key| key.0.expose_secret().parse::<HookKey>()).transpose();
    let key = key.map_err(|error: NameError| Problem::new(Code::InvalidSetting, error.to_string()))?;
    let service = call.state().services().rotate_hook(&name, key).await.map_err(told)?;
    shown(&call, service).await
}
