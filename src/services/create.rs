//! Making a service: nothing of it runs until a push or a start.

use secrecy::SecretString;

use super::{ServiceError, Services, new_hook_key, spec};
use crate::events::Event;
use crate::names::{BranchName, NameError, RepoUri, ServiceName, TemplateName};
use crate::problem::{Code, Problem};
use crate::store::{NewService, Service, Settings, Source, StoreError};

/// Where a new service's code shall come from.
#[derive(Debug, Clone)]
pub enum NewSource {
    /// A repository on this host, begun from a template.
    Template(TemplateName),
    /// A repository elsewhere, and what was secret in its address.
    External(RepoUri, Option<SecretString>),
}

/// Whether a name can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It can.
    Free,
    /// A service has it.
    Taken,
    /// No service has it, but the host still has something of one that did.
    Left,
    /// The agent or the host keeps it.
    Reserved,
    /// It is no service name.
    Invalid,
}

impl Services {
    /// Whether a service named `name` could be made. Any text may be asked for.
    ///
    /// # Errors
    /// The store, the units or the releases' files can't be read.
    pub async fn availability(&self, name: &str) -> Result<Availability, ServiceError> {
        let name: ServiceName = match name.parse() {
            Ok(name) => name,
            Err(NameError::Reserved(_)) => return Ok(Availability::Reserved),
            Err(_) => return Ok(Availability::Invalid),
        };
        if self.would_be_the_agent(&name) {
            return Ok(Availability::Reserved);
        }
        match self.uses.store.service(&name).await {
            Ok(_) => return Ok(Availability::Taken),
            Err(StoreError::NoService(_)) => {}
            Err(error) => return Err(error.into()),
        }
        // One that is being removed still has its files.
        if self.uses.store.services().await?.iter().any(|service| service.name == name) {
            return Ok(Availability::Taken);
        }
        if self.unit_is_foreign(&name).await? {
            return Ok(Availability::Reserved);
        }
        Ok(if self.is_left(&name).await? { Availability::Left } else { Availability::Free })
    }

    /// Whether a service of this name would have the agent's own host.
    fn would_be_the_agent(&self, name: &ServiceName) -> bool {
        let config = self.uses.config.get();
        spec::is_agents(&config.listen.service_url.host(name), &config)
    }

    /// Whether a service of this name, which the store doesn't know (any more), left releases or a repository: they are
    /// whatever somebody else pushed, may be running, and would be taken for the new service's own.
    pub(super) async fn is_left(&self, name: &ServiceName) -> Result<bool, ServiceError> {
        Ok(self.uses.quadlets.list().await?.iter().any(|file| file.release.service == *name)
            || self.uses.repositories.exists(name).await)
    }

    /// Whether the service user's systemd manager has a unit of this name that isn't ours.
    async fn unit_is_foreign(&self, name: &ServiceName) -> Result<bool, ServiceError> {
        let units = &self.uses.units;
        let [plain, template] = name.hiding_units();
        Ok(units.unit_file_exists(&plain).await? || units.unit_file_exists(&template).await?)
    }

    /// Makes a service, with its repository where that lies here.
    ///
    /// # Errors
    /// The name can't be had, there is no such template, the host has all the services that it takes, or the password,
    /// the row or the repository can't be written.
    pub async fn create(
        &self,
        name: &ServiceName,
        source: NewSource,
        branch: Option<BranchName>,
    ) -> Result<Service, ServiceError> {
        match self.availability(name.as_str()).await? {
            Availability::Free => {}
            Availability::Taken => return Err(StoreError::NameTaken(name.to_string()).into()),
            Availability::Left => {
                let detail =
                    format!("the host has releases or a repository of a service `{name}` that this agent doesn't know");
                let hint = "choose another name, bring the store that knew it back, or remove them by hand";
                return Err(Problem::new(Code::NameTaken, detail).with_hint(hint).into());
            }
            _ => {
                let detail = if self.would_be_the_agent(name) {
                    format!("a service `{name}` would have the agent's own address")
                } else {
                    format!("the host has a unit named `{name}` already")
                };
                return Err(Problem::new(Code::NameReserved, detail).with_hint("choose another name").into());
            }
        }
        let branch_chosen = branch.is_some();
        let follows_head = branch.is_none() && matches!(source, NewSource::External(..));
        let branch = match branch {
            Some(branch) => branch,
            None => "main".parse()?,
        };
        let _held = self.env_locks.hold(name).await;
        let mut files = None;
        let source = match source {
            NewSource::Template(template) => {
                let found = self.uses.templates.get(&template).await?;
                files = Some(found.files);
                Source::Template(template)
            }
            NewSource::External(uri, password) => {
                // Maintenance takes no secret for nobody's before there is the row that names it.
                let secret = match password {
                    Some(password) => Some(self.keep_password(name, &password).await?),
                    None => None,
                };
                Source::External { uri, secret }
            }
        };
        let new = NewService {
            name: name.clone(),
            source,
            branch: branch.clone(),
            branch_chosen,
            hook_key: new_hook_key(),
            settings: Settings::default(),
            max: self.uses.config.get().services.max,
        };
        // The row comes first: of two who ask at once one gets the name, and only that one makes the repository. A row
        // whose repository was never made is seen at the agent's start, which makes it then.
        let service = match self.uses.store.create_service(new.clone()).await {
            Ok(service) => service,
            Err(error) => {
                if let Source::External { secret: Some(password), .. } = &new.source {
                    self.uses.podman.remove_secret(password).await?;
                }
                return Err(error.into());
            }
        };
        if follows_head {
            self.uses.store.follow_head(service.id).await?;
        }
        if let Some(files) = files
            && let Err(error) = self.uses.repositories.create(name, files.as_deref(), &branch).await
        {
            self.uses.store.forget_service(service.id).await?;
            return Err(error.into());
        }
        if self.begins_with_files(&service).await {
            self.see_starter(&service).await?;
        }
        // Its log begins behind this.
        tracing::info!(service = %name, mark = super::log::created_mark(&service), "service created");
        self.uses.events.publish(Event::Service(name.clone()));
        Ok(service)
    }
}
