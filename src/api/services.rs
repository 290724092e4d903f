//! Services.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::deployments::Deployment;
use super::fields::listed;
use super::repository::RepositorySettings;
use super::settings::Settings;
use super::status::Condition;
use crate::names::{BranchName, ReleaseNumber, ServiceName};
use crate::services::limits::Limit;
use crate::services::{Availability, Removed as HostRemoved, ShownKey as HostKey};
use crate::store;
use crate::words::words;

/// How many services a page has at most.
const MOST: u64 = 1000;

/// Which page of the services is wanted.
pub type ServicesPage = super::page::Page<MOST, MOST>;

/// Where a service's code comes from.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Source {
    /// A repository on this host.
    Template {
        /// The template that it was begun from.
        template: String,
    },
    /// A repository elsewhere.
    External {
        /// Its address; a password in it reads `***`, and so does a user name without one.
        uri: String,
    },
}

impl From<store::Source> for Source {
    fn from(source: store::Source) -> Self {
        match source {
            store::Source::Template(template) => Self::Template { template: template.to_string() },
            store::Source::External { uri, secret } => Self::External { uri: uri.shown(secret.is_some()) },
        }
    }
}

/// A service.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Where its code comes from.
    pub source: Source,
    /// The branch that is deployed. Where none was given for a repository elsewhere, it is the one that its `HEAD` names, from
    /// the first fetch on.
    pub branch: BranchName,
    /// Where git pushes to; null where the code comes from elsewhere.
    pub push_url: Option<String>,
    /// The address that it serves at; null where its program listens nowhere.
    pub url: Option<String>,
    /// The release with the traffic.
    pub release: Option<ReleaseNumber>,
    /// What it does.
    pub state: Condition,
    /// When it was made.
    #[schemars(with = "super::fields::Moment")]
    pub created: Timestamp,
    /// Its last deployment.
    pub last_deployment: Option<Deployment>,
    /// How it is set.
    pub settings: Settings,
    /// Limits that are set and that this host's kernel does not enforce.
    #[serde(default)]
    #[schemars(length(max = Limit::ALL.len()))]
    pub unenforced: Vec<Limit>,
    /// What `podkeeper.toml` said in the commit of the release with the traffic; null where there was no such file.
    pub repository: Option<RepositorySettings>,
}

/// A service that was just made.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct CreatedService {
    /// The service.
    #[serde(flatten)]
    pub service: Service,
    /// Where a forge says that somebody pushed.
    pub hook_url: String,
    /// The key that authorises it.
    pub hook_key: String,
    /// The volumes, such as `blog.data`, that an earlier service of this name left: this one gets what they hold. Null where
    /// Podman did not tell.
    #[schemars(length(max = MOST))]
    pub kept_volumes: Option<Vec<String>>,
}

/// A service whose settings were changed.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct ChangedService {
    /// The service.
    #[serde(flatten)]
    pub service: Service,
    /// What is still to be done so that another branch is what runs; null where nothing is.
    pub next: Option<String>,
}

/// The list of services.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Services {
    /// By name.
    #[schemars(length(max = MOST))]
    pub services: Vec<Service>,
    /// What to send as `cursor` for the page after this one; null at the end.
    pub cursor: Option<String>,
}

/// Which name is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskName {
    /// The name.
    pub name: String,
}

words! {
    /// Why a name can't be had.
    Unavailable {
        /// A service has it, or has left something behind.
        Taken = "taken",
        /// It is kept for the agent or the host.
        Reserved = "reserved",
        /// It is no service name.
        Invalid = "invalid",
    }
}

listed! { Unavailable, }

/// Whether a name can be had.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct NameAnswer {
    /// The name.
    pub name: String,
    /// Whether it can be had.
    pub available: bool,
    /// Why not.
    pub reason: Option<Unavailable>,
}

impl NameAnswer {
    /// The answer for `name`.
    #[must_use]
    pub fn new(name: String, availability: Availability) -> Self {
        let reason = match availability {
            Availability::Free => None,
            Availability::Taken | Availability::Left => Some(Unavailable::Taken),
            Availability::Reserved => Some(Unavailable::Reserved),
            Availability::Invalid => Some(Unavailable::Invalid),
        };
        Self { name, available: reason.is_none(), reason }
    }
}

/// What makes a service: exactly one of `template` and `external`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewService {
    /// The template to begin with.
    pub template: Option<String>,
    /// The address of a repository elsewhere.
    pub external: Option<super::fields::SecretText>,
    /// The branch to deploy. Without it: `main`, and of a repository elsewhere the one that its `HEAD` names.
    pub branch: Option<String>,
}

/// How to remove a service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// Its volumes too.
    #[serde(default, deserialize_with = "super::fields::flag")]
    pub volumes: bool,
}

/// What a removal took away, and what it left.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Removed {
    /// What is gone.
    pub removed: Vec<String>,
    /// What is kept.
    pub kept: Vec<String>,
}

impl From<HostRemoved> for Removed {
    fn from(removed: HostRemoved) -> Self {
        Self { removed: removed.removed, kept: removed.kept }
    }
}

/// An ssh key of a host.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct ShownKey {
    /// Its kind, such as `ssh-ed25519`.
    pub kind: String,
    /// Its fingerprint, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
}

impl From<HostKey> for ShownKey {
    fn from(key: HostKey) -> Self {
        Self { kind: key.kind, fingerprint: key.fingerprint.to_string() }
    }
}

/// The ssh keys of the host where an external repository is.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct HostKeys {
    /// The host.
    pub host: String,
    /// By which the service knows it; none before the first fetch.
    #[schemars(length(max = 10))]
    pub known: Vec<ShownKey>,
    /// Which it shows at the moment.
    #[schemars(length(max = 10))]
    pub offered: Vec<ShownKey>,
}

impl From<crate::services::HostKeys> for HostKeys {
    fn from(keys: crate::services::HostKeys) -> Self {
        let shown = |keys: Vec<HostKey>| keys.into_iter().map(Into::into).collect();
        Self { host: keys.host, known: shown(keys.known), offered: shown(keys.offered) }
    }
}

/// Which key is taken as the host's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeHostKey {
    /// Its fingerprint, which the host must show at the moment.
    pub fingerprint: String,
}

/// The key that reads an external repository.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct DeployKey {
    /// The public key, a line of an `authorized_keys` file.
    pub public_key: String,
}
