//! Where a service's code comes from, as that is read and changed.

use secrecy::SecretString;

use super::{ServiceError, Services};
use crate::git::HostKeys;
use crate::names::{Fingerprint, RepoUri, ServiceName, Transport};
use crate::problem::{Code, Problem};
use crate::store::Source;

impl Services {
    /// Where the service's code comes from, with what is secret of that.
    ///
    /// # Errors
    /// There is no such service, or the store or Podman's secrets can't be read.
    pub async fn read_source(&self, name: &ServiceName) -> Result<(Source, Option<SecretString>), ServiceError> {
        // Until it is read, no secret goes in whose place another came.
        let _held = self.hold_secrets(name).await;
        let source = self.uses.store.service(name).await?.source;
        let secret = match &source {
            Source::External { secret: Some(secret), .. } => Some(self.read_password(secret).await?),
            _ => None,
        };
        Ok((source, secret))
    }

    /// Gives a service another address of its repository, and what is secret of that: from its next deployment on.
    ///
    /// # Errors
    /// There is no such service, its code lies on this host, or nothing can be written.
    pub async fn change_source(
        &self,
        name: &ServiceName,
        uri: &RepoUri,
        secret: Option<SecretString>,
    ) -> Result<(), ServiceError> {
        let _held = self.hold_secrets(name).await;
        self.external(name).await?;
        let secret = match secret {
            Some(secret) => Some(self.keep_password(name, &secret).await?),
            None => None,
        };
        self.uses.store.set_external(name, uri, secret).await?;
        // The secret before goes when all of them are looked at.
        self.cleanup_flag.set();
        tracing::info!(service = %name, "its repository is at {}", uri.address());
        Ok(())
    }

    /// The address of the service's repository, which lies elsewhere.
    ///
    /// # Errors
    /// There is no such service, or its code lies on this host.
    pub async fn external(&self, name: &ServiceName) -> Result<RepoUri, ServiceError> {
        match self.uses.store.service(name).await?.source {
            Source::External { uri, .. } => Ok(uri),
            Source::Template(_) => {
                let detail = format!("the code of `{name}` lies on this host, and is pushed to it");
                Err(Problem::new(Code::Conflict, detail).into())
            }
        }
    }

    async fn over_ssh(&self, name: &ServiceName) -> Result<RepoUri, ServiceError> {
        let uri = self.external(name).await?;
        match uri.transport() {
            Transport::Ssh => Ok(uri),
            Transport::Http | Transport::Git => {
                let detail = format!("the repository of `{name}` is not read over ssh, so there is no key of its host");
                Err(Problem::new(Code::Conflict, detail).into())
            }
        }
    }

    /// The ssh keys of the host where the service's repository is: those that are known, and those that it shows.
    ///
    /// # Errors
    /// There is no such service, its repository is not read over ssh, or its host shows no key.
    pub async fn host_keys(&self, name: &ServiceName) -> Result<HostKeys, ServiceError> {
        let uri = self.over_ssh(name).await?;
        Ok(self.uses.repositories.host_keys(name, &uri).await?)
    }

    /// Takes the key with this fingerprint as the host's only one.
    ///
    /// # Errors
    /// The same, the host shows no such key, or it can't be written.
    pub async fn take_host_key(&self, name: &ServiceName, fingerprint: &Fingerprint) -> Result<HostKeys, ServiceError> {
        let uri = self.over_ssh(name).await?;
        let keys = self.uses.repositories.take_host_key(name, &uri, fingerprint).await?;
        tracing::info!(service = %name, "`{}` is known by the ssh key {fingerprint}", keys.host);
        Ok(keys)
    }
}
