//! A service's variables. Each value is a Podman secret of its own, so that no value is ever in a unit file, a command
//! line or an inspection; a release names the secrets that it was released with.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::{ServiceError, Services};
use crate::names::{BuildName, EnvKey, EnvValue, SERVICE_LABEL, SecretName, ServiceName};
use crate::problem::{Code, Problem};
use crate::store::{EnvChange, EnvSecrets, Settings};

/// The longest value, in bytes.
pub const MAX_VALUE: usize = 64 * 1024;
/// All keys and values of a service, in bytes.
pub const MAX_TOTAL: usize = 256 * 1024;

/// What an update asks for: a value, or the removal of a variable.
pub type Changes = BTreeMap<EnvKey, Option<SecretString>>;

impl Services {
    /// The variables of the service's next release, with their values.
    ///
    /// # Errors
    /// There is no such service, a value is in Podman's secret store no more, or that or the store can't be read.
    pub async fn read_env(&self, service: &ServiceName) -> Result<BTreeMap<EnvKey, SecretString>, ServiceError> {
        let mut values = BTreeMap::new();
        for (key, value) in self.uses.store.env(service).await? {
            let value = self.read_value(&value).await?.ok_or_else(|| {
                Problem::new(Code::ReleaseGone, format!("the value of `{key}` is no longer in Podman's secret store"))
                    .with_hint("set it again")
            })?;
            values.insert(key, value);
        }
        Ok(values)
    }

    /// The values of the variables that these settings give to a build.
    ///
    /// # Errors
    /// There is no such service, one of the variables isn't set, or Podman or the store can't be read.
    pub async fn build_values(
        &self,
        service: &ServiceName,
        settings: &Settings,
    ) -> Result<BTreeMap<BuildName, SecretString>, ServiceError> {
        let env = self.uses.store.env(service).await?;
        let mut values = BTreeMap::new();
        for (setting, names) in [("build_env", &settings.build_env), ("build_secrets", &settings.build_secrets)] {
            for name in names.iter() {
                let set = env.iter().find(|(key, _)| key.as_str() == name.as_str());
                let value = match set {
                    Some((_, value)) => self.read_value(value).await?,
                    None => None,
                };
                let value = value.ok_or_else(|| {
                    let detail = format!("`{setting}` names `{name}`, and the service has no such variable");
                    Problem::new(Code::BuildFailed, detail)
                        .with_hint(format!("set it: `podkeeper env {service} {name}=…`, or take it off `{setting}`"))
                })?;
                values.insert(name.clone(), value);
            }
        }
        Ok(values)
    }

    async fn read_value(&self, value: &EnvValue) -> Result<Option<SecretString>, ServiceError> {
        match value {
            EnvValue::Empty => Ok(Some(SecretString::default())),
            EnvValue::Secret(name) => Ok(self.uses.podman.reveal_secret(name).await?),
        }
    }

    /// Makes the secrets for `changes`, and tells the whole set that the service then has, and what it was made from; a value
    /// that stays as it is keeps its secret. Nothing is written in the store; the caller holds the service's `env_locks` until
    /// it is, since unnamed secrets are removed. A release that goes live meanwhile may bring another environment.
    ///
    /// # Errors
    /// There is no such service, a value is none or all of them are too long, or Podman or the store does not answer.
    pub async fn prepare_env(
        &self,
        service: &ServiceName,
        changes: &Changes,
        replace: bool,
    ) -> Result<EnvChange, ServiceError> {
        let change = self.plan_env(service, changes, replace).await?;
        for (key, value) in changes.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            if let Some(new @ EnvValue::Secret(name)) = change.after.get(key)
                && change.before.get(key) != Some(new)
            {
                let labels = [(SERVICE_LABEL, service.as_str()), ("podkeeper.key", key.as_str())];
                self.uses.podman.create_secret(name, value, &labels).await?;
            }
        }
        Ok(change)
    }

    /// What `changes` make of a service's variables: where a value is another than it was, so is its secret's name, whose
    /// secret is not made.
    ///
    /// # Errors
    /// There is no such service, a value is none or all of them are too long, or Podman or the store does not answer.
    pub(super) async fn plan_env(
        &self,
        service: &ServiceName,
        changes: &Changes,
        replace: bool,
    ) -> Result<EnvChange, ServiceError> {
        let before = self.uses.store.env(service).await?;
        self.check_sizes(&before, changes, replace).await?;
        let mut after = if replace { EnvSecrets::new() } else { before.clone() };
        for (key, value) in changes {
            let value = match value {
                None => {
                    after.remove(key);
                    continue;
                }
                Some(value) if value.expose_secret().is_empty() => EnvValue::Empty,
                Some(value) => match before.get(key) {
                    Some(kept) if self.has_value(kept, value).await? => kept.clone(),
                    _ => EnvValue::Secret(SecretName::new(service, key)),
                },
            };
            after.insert(key.clone(), value);
        }
        Ok(EnvChange { before, after })
    }

    async fn has_value(&self, kept: &EnvValue, value: &SecretString) -> Result<bool, ServiceError> {
        Ok(self.read_value(kept).await?.is_some_and(|kept| kept.expose_secret() == value.expose_secret()))
    }

    /// Keeps a password that isn't a variable, and tells its secret's name.
    ///
    /// # Errors
    /// Podman does not keep it.
    pub async fn keep_password(&self, service: &ServiceName, value: &SecretString) -> Result<SecretName, ServiceError> {
        let name = SecretName::new(service, &"URI".parse()?);
        self.uses.podman.create_secret(&name, value, &[(SERVICE_LABEL, service.as_str())]).await?;
        Ok(name)
    }

    /// The password in the secret `name`.
    ///
    /// # Errors
    /// It is not there any more, or Podman does not answer.
    pub async fn read_password(&self, name: &SecretName) -> Result<SecretString, ServiceError> {
        self.uses.podman.reveal_secret(name).await?.ok_or_else(|| {
            Problem::new(Code::FetchFailed, "the repository's password is no longer in Podman's secret store")
                .with_hint("give it again: `podkeeper source NAME --password-file FILE`")
                .into()
        })
    }

    async fn check_sizes(&self, old: &EnvSecrets, changes: &Changes, replace: bool) -> Result<(), ServiceError> {
        let mut total = 0;
        for (key, value) in changes.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            let size = value.expose_secret().len();
            if size > MAX_VALUE {
                return Err(invalid(format!("the value of `{key}` has {size} bytes; at most {MAX_VALUE} are allowed")));
            }
            if value.expose_secret().contains('\0') {
                return Err(invalid(format!("the value of `{key}` holds a NUL, which no environment can")));
            }
            total += key.as_str().len() + size;
        }
        if !replace {
            for (key, value) in old.iter().filter(|(key, _)| !changes.contains_key(*key)) {
                let value = self.read_value(value).await?;
                total += key.as_str().len() + value.map_or(0, |value| value.expose_secret().len());
            }
        }
        if total > MAX_TOTAL {
            return Err(invalid(format!("all variables together have {total} bytes; at most {MAX_TOTAL} are allowed")));
        }
        Ok(())
    }
}

fn invalid(detail: String) -> ServiceError {
    Problem::new(Code::InvalidEnv, detail).into()
}
