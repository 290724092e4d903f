//! A service's variables. Each value is a Podman secret of its own, so that no value is ever in a unit file, a command
//! line or an inspection; a release names the secrets that it was released with.

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use secrecy::{ExposeSecret, SecretString};

use super::{Adapters, ServiceError};
use crate::names::{EnvKey, ServiceName};
use crate::problem::{Code, Problem};
use crate::store::EnvSecrets;

/// The longest value, in bytes.
pub const MAX_VALUE: usize = 64 * 1024;
/// All keys and values of a service, in bytes.
pub const MAX_TOTAL: usize = 256 * 1024;

/// What an update asks for: a value, or the removal of a variable.
pub type Changes = BTreeMap<EnvKey, Option<SecretString>>;

/// What all secrets of `service` begin with, and those of services whose names go on with a `-`.
pub(super) fn secret_prefix(service: &ServiceName) -> String {
    format!("podkeeper-{service}-")
}

/// The service that a secret belongs to: neither a key nor the random end holds a `-`.
pub(super) fn owner(secret: &str) -> Option<&str> {
    let mut parts = secret.strip_prefix("podkeeper-")?.rsplitn(3, '-');
    parts.next()?;
    parts.next()?;
    parts.next()
}

fn secret_name(service: &ServiceName, key: &str) -> String {
    let random: [u8; 10] = rand::random();
    format!("{}{key}-{}", secret_prefix(service), BASE32_NOPAD.encode(&random).to_ascii_lowercase())
}

impl Adapters {
    /// The variables of the service's next release, with their values.
    pub async fn read_env(&self, service: &ServiceName) -> Result<BTreeMap<EnvKey, SecretString>, ServiceError> {
        let mut values = BTreeMap::new();
        for (key, secret) in self.store.env(service).await? {
            let value = self.read_value(&secret).await?.ok_or_else(|| {
                Problem::new(Code::ReleaseGone, format!("the value of `{key}` is no longer in Podman's secret store"))
                    .with_hint("set it again")
            })?;
            values.insert(key, value);
        }
        Ok(values)
    }

    async fn read_value(&self, secret: &str) -> Result<Option<SecretString>, ServiceError> {
        if secret.is_empty() {
            return Ok(Some(SecretString::default()));
        }
        Ok(self.podman.reveal_secret(secret).await?)
    }

    /// Makes the secrets for `changes`, and tells the whole set that the service then has; a value that stays as it is
    /// keeps its secret. Nothing is written in the store; the caller holds the service's `env_locks` until it is, since
    /// unnamed secrets are removed.
    pub async fn prepare_env(
        &self,
        service: &ServiceName,
        changes: Changes,
        replace: bool,
    ) -> Result<EnvSecrets, ServiceError> {
        let old = self.store.env(service).await?;
        self.check_sizes(&old, &changes, replace).await?;
        let mut env = if replace { EnvSecrets::new() } else { old.clone() };
        for (key, value) in changes {
            match value {
                None => {
                    env.remove(&key);
                }
                Some(value) if value.expose_secret().is_empty() => {
                    env.insert(key, String::new());
                }
                Some(value) => {
                    if let Some(secret) = old.get(&key)
                        && self
                            .read_value(secret)
                            .await?
                            .is_some_and(|old| old.expose_secret() == value.expose_secret())
                    {
                        env.insert(key, secret.clone());
                        continue;
                    }
                    let name = secret_name(service, key.as_str());
                    let labels = [("podkeeper.service", service.as_str()), ("podkeeper.key", key.as_str())];
                    self.podman.create_secret(&name, &value, &labels).await?;
                    env.insert(key, name);
                }
            }
        }
        Ok(env)
    }

    /// Keeps a password that isn't a variable, and tells its secret's name.
    pub async fn keep_password(&self, service: &ServiceName, value: &SecretString) -> Result<String, ServiceError> {
        let name = secret_name(service, "URI");
        self.podman.create_secret(&name, value, &[("podkeeper.service", service.as_str())]).await?;
        Ok(name)
    }

    /// The password in the secret `name`.
    pub async fn read_password(&self, name: &str) -> Result<SecretString, ServiceError> {
        self.podman.reveal_secret(name).await?.ok_or_else(|| {
            Problem::new(Code::FetchFailed, "the repository's password is no longer in Podman's secret store")
                .with_hint("remove the service and make it again with its password")
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
            for (key, secret) in old.iter().filter(|(key, _)| !changes.contains_key(*key)) {
                let value = self.read_value(secret).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_belongs_to_one_service() {
        let blog: ServiceName = "blog".parse().unwrap();
        let api: ServiceName = "blog-api".parse().unwrap();
        assert_eq!(owner(&secret_name(&blog, "KEY_1")), Some("blog"));
        assert_eq!(owner(&secret_name(&api, "KEY")), Some("blog-api"));
        assert_eq!(owner("someone-elses"), None);
    }
}
