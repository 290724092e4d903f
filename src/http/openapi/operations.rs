//! What each route takes and answers, by the types of its handler.

use std::collections::BTreeMap;

use http_types::Method;

use super::operation::{self, Operation};
use crate::api::audit::{Audit, AuditPage, Verified};
use crate::api::auth::{EndSessions, Enrolment, Login, Passkey, RegisterPasskey, RenamePasskey, Session, SignIn, Who};
use crate::api::deployments::{Deployment, Deployments, DeploymentsPage, Releases, Restart, Rollback, Start};
use crate::api::env::{Env, EnvUpdated, UpdateEnv};
use crate::api::health::Ready;
use crate::api::hooks::{Hook, HookAnswer, HookQuery, Rotate};
use crate::api::host::Host;
use crate::api::logs::{LogPage, Logs};
use crate::api::plans::{Change, SettingsChange};
use crate::api::registries::{NewRegistryLogin, RegistryLogin, RegistryLogins};
use crate::api::services::{
    AskName, CreatedService, DeployKey, HostKeys, NameAnswer, NewService, Remove, Removed, Service, Services,
    ServicesPage, TakeHostKey,
};
use crate::api::settings::Settings;
use crate::api::status::Status;
use crate::api::templates::Templates;
use crate::api::tokens::{CreatedToken, NewPassword, NewToken, Tokens};

fn get(path: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::Get, path, summary)
}

fn post(path: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::Post, path, summary)
}

fn delete(path: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::Delete, path, summary)
}

/// All operations, in the table's order.
pub fn all() -> Vec<Operation> {
    let put = |path, summary| Operation::new(Method::Put, path, summary);
    let patch = |path, summary| Operation::new(Method::Patch, path, summary);
    vec![
        get("/", "The dashboard").any(200, "text/html"),
        get("/assets/:file", "Its files").any(200, "application/octet-stream"),
        get("/healthz", "Whether the agent lives").any(200, "application/json"),
        get("/readyz", "Whether each part of the host answers").json::<Ready>(200),
        get("/openapi.json", "This description").any(200, "application/json"),
        get("/schemas/podkeeper.toml.json", "What a repository's `podkeeper.toml` may say, as JSON Schema")
            .any(200, "application/json"),
        get("/metrics", "How all services are and what they use, as OpenMetrics")
            .any(200, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        get("/services", "All services").query::<ServicesPage>().json::<Services>(200),
        get("/services/status", "How all services are").json::<BTreeMap<String, Status>>(200),
        get("/services/available", "Whether a name can be had").query::<AskName>().json::<NameAnswer>(200),
        put("/services/:name", "Make a service").body::<NewService>().json::<CreatedService>(201),
        get("/services/:name", "One service").json::<Service>(200),
        patch("/services/:name", "Change its settings (RFC 7396), its branch, and where its repository is")
            .query::<Change>()
            .patch_of::<Settings>()
            .json::<SettingsChange>(200),
        delete("/services/:name", "Remove it").query::<Remove>().json::<Removed>(200),
        post("/services/:name/start", "Build its newest commit, or another one, and start it")
            .may_take::<Start>()
            .json::<Deployment>(202),
        post("/services/:name/stop", "Stop it, over reboots too").json::<Service>(200),
        post("/services/:name/restart", "Build and replace it, or only replace it")
            .may_take::<Restart>()
            .json::<Deployment>(202),
        post("/services/:name/rollback", "Go back to a release").may_take::<Rollback>().json::<Deployment>(202),
        get("/services/:name/releases", "The releases that it can go back to").json::<Releases>(200),
        get("/services/:name/logs", "What it wrote").query::<Logs>().answers(
            200,
            vec![
                ("application/json", operation::got::<LogPage>),
                ("text/plain", operation::sent::<String>),
                ("text/event-stream", operation::event),
            ],
        ),
        get("/services/:name/env", "Its variables").json::<Env>(200),
        post("/services/:name/env/update", "Change its variables")
            .body::<UpdateEnv>()
            .json::<EnvUpdated>(200)
            .json::<Deployment>(202),
        get("/services/:name/deployments", "Its deployments").query::<DeploymentsPage>().json::<Deployments>(200),
        get("/services/:name/deploy-key", "The key that reads its external repository").json::<DeployKey>(200),
        post("/services/:name/deploy-key", "The same, made where there is none").json::<DeployKey>(200),
        get("/services/:name/host-key", "The ssh keys of its repository's host, known and shown").json::<HostKeys>(200),
        post("/services/:name/host-key", "Take one of those that it shows").body::<TakeHostKey>().json::<HostKeys>(200),
        get("/deployments/:id", "One deployment").json::<Deployment>(200),
        delete("/deployments/:id", "Cancel it").json::<Deployment>(200),
        get("/deployments/:id/log", "Its story, as it happens").lines(),
        get("/services/:name/hook", "Its hook and the last deliveries").json::<Hook>(200),
        post("/services/:name/hook/rotate", "Give its hook another key").may_take::<Rotate>().json::<Hook>(200),
        get("/hooks/:repo", "A delivery, by the hook's key")
            .query::<HookQuery>()
            .json::<HookAnswer>(200)
            .json::<Deployment>(202),
        post("/hooks/:repo", "A delivery of a forge, signed or with the key")
            .query::<HookQuery>()
            .any_body()
            .json::<HookAnswer>(200)
            .json::<Deployment>(202),
        get("/templates", "The templates").json::<Templates>(200),
        get("/host", "How the host is: disk, memory, versions, what takes the disk, what the agent could not do")
            .json::<Host>(200),
        get("/registries", "Where images may be fetched with a login").json::<RegistryLogins>(200),
        put("/registries/:registry", "Log in at a registry, which is asked first")
            .body::<NewRegistryLogin>()
            .json::<RegistryLogin>(200),
        delete("/registries/:registry", "Forget the login at a registry").nothing(),
        post("/sessions", "Sign a browser in with a token").body::<SignIn>().any(201, "application/json"),
        get("/sessions", "All sessions").list::<Session>("sessions"),
        delete("/sessions", "End all sessions, or all others").query::<EndSessions>().nothing(),
        delete("/sessions/current", "End the session that asks").nothing(),
        delete("/sessions/:id", "End a session").nothing(),
        get("/credentials/tokens", "All tokens").json::<Tokens>(200),
        post("/credentials/tokens", "Make a token").body::<NewToken>().json::<CreatedToken>(201),
        delete("/credentials/tokens/:name", "Remove a token").nothing(),
        post("/credentials/update", "Set the git password").body::<NewPassword>().nothing(),
        get("/audit", "Who did what").query::<AuditPage>().json::<Audit>(200),
        get("/audit/verify", "Whether the audit log is whole").json::<Verified>(200),
        get("/credentials", "All that opens this host").any(200, "application/json"),
        get("/credentials/session", "Who asks").json::<Who>(200),
        post("/credentials/logout", "End the session that asks, where there is one").nothing(),
        post("/credentials/fido/register/options", "What a browser needs to make a passkey")
            .any(200, "application/json"),
        post("/credentials/fido/register", "Keep the passkey that it made")
            .body::<RegisterPasskey>()
            .json::<Passkey>(201),
        post("/credentials/fido/login/options", "What a browser needs to sign in").any(200, "application/json"),
        post("/credentials/fido/login", "Sign a browser in with a passkey")
            .body::<Login>()
            .any(200, "application/json"),
        patch("/credentials/fido/:id", "Give a passkey another name").body::<RenamePasskey>().nothing(),
        delete("/credentials/fido/:id", "Remove a passkey").nothing(),
        post("/internal/enrolments", "Make an enrolment link; on the host only").json::<Enrolment>(201),
        post("/internal/push/:name", "What git's hook tells; on the host only").any_body().text(),
        get("/git/:repository/*path", "git's smart HTTP, and files of Git LFS").any(200, "application/octet-stream"),
        post("/git/:repository/*path", "git's smart HTTP, and batches of Git LFS")
            .any_body()
            .any(200, "application/octet-stream"),
        put("/git/:repository/info/lfs/objects/:object", "Push a file of Git LFS")
            .any_body()
            .any(200, "application/octet-stream"),
    ]
}
