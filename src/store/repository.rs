//! What a commit's `podkeeper.toml` says of the settings, and whose value of each of them counts.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};
use serde_json::{Map, Value};

use super::{Settings, Store, StoreError, json, to_json};
use crate::names::{ContainerPort, DeploymentId, ReleaseNumber, ServiceId};

/// Whose value of a setting counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The service's own settings.
    Service,
    /// Its repository's file.
    Repository,
    /// Nobody says anything: it is the host's default.
    Host,
}

/// Whose value of a setting counts: the service's, where that is not the default and `prefer` doesn't say otherwise, then the
/// file's, where that says one.
#[must_use]
pub fn origin(service: &Value, file: Option<&Value>, default: &Value, prefer: bool) -> Origin {
    let (is_set, is_said) = (service != default, file.is_some_and(|said| said != default));
    match (is_set, is_said) {
        (true, false) => Origin::Service,
        (true, true) if !prefer => Origin::Service,
        (_, true) => Origin::Repository,
        (false, false) => Origin::Host,
    }
}

impl Settings {
    /// Each setting by its name.
    fn fields(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    }

    /// The names of what is not left at the host's default.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        let defaults = Self::default().fields();
        self.fields()
            .into_iter()
            .filter(|(name, value)| defaults.get(name) != Some(value))
            .map(|(name, _)| name)
            .collect()
    }

    /// What counts of these settings of a service and its repository's.
    #[must_use]
    pub fn with_repository(&self, file: Option<&Self>) -> Self {
        let Some(file) = file else { return self.clone() };
        let (mut fields, file, defaults) = (self.fields(), file.fields(), Self::default().fields());
        for (name, value) in &mut fields {
            let said = file.get(name);
            let default = defaults.get(name).unwrap_or(&Value::Null);
            if let (Origin::Repository, Some(said)) = (origin(value, said, default, self.prefer_repository), said) {
                *value = said.clone();
            }
        }
        // Each value was one of these settings'.
        let mut both: Self = serde_json::from_value(Value::Object(fields)).unwrap_or_else(|_| self.clone());
        // The one may say that nobody listens, and the other how that is asked.
        if both.container_port == Some(ContainerPort::None) {
            (both.health_path, both.tcp) = (None, false);
        }
        both
    }
}

impl Store {
    /// Writes down what the repository's file says of what the deployment builds; none: it has no file.
    pub async fn note_repository(&self, id: DeploymentId, file: Option<Settings>) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let text = file.map(|file| to_json(&file, "repository")).transpose()?;
            transaction.execute("UPDATE deployments SET repository = ?2 WHERE id = ?1", params![id.0, text])?;
            Ok(())
        })
        .await
    }

    /// The same, as it was written down.
    pub async fn noted_repository(&self, id: DeploymentId) -> Result<Option<Settings>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT repository FROM deployments WHERE id = ?1")?;
            let text: Option<Option<String>> = statement.query_row([id.0], |row| row.get(0)).optional()?;
            text.flatten().map(|text| json(&text, "repository")).transpose()
        })
        .await
    }

    /// What the file of each service's current release said, by the service's row, where there is one.
    pub async fn current_repositories(&self) -> Result<HashMap<ServiceId, Settings>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT s.id, r.repository FROM services s JOIN releases r ON r.service = s.id \
                 AND r.number = s.current_release WHERE r.repository IS NOT NULL",
            )?;
            let mut rows = statement.query([])?;
            let mut files = HashMap::new();
            while let Some(row) = rows.next()? {
                files.insert(row.get(0)?, json(&row.get::<_, String>(1)?, "repository")?);
            }
            Ok(files)
        })
        .await
    }

    /// Whether a deployment took the place of one behind `release` that was to be made whatever was pushed.
    pub async fn has_taken_a_place(
        &self,
        service: ServiceId,
        release: ReleaseNumber,
        deployment: DeploymentId,
    ) -> Result<bool, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT 1 FROM deployments d JOIN releases r ON r.service = d.service AND r.number = ?2 \
                       WHERE d.service = ?1 AND d.id > r.deployment AND d.id < ?3 AND d.state = 'superseded' \
                       AND d.cause NOT IN ('push', 'hook')";
            Ok(connection.prepare_cached(sql)?.exists(params![service, release.0, deployment.0])?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{new_service, release, start, store};
    use super::super::{Cause, NewDeployment};
    use super::*;
    use crate::names::Actor;

    fn settings(value: Value) -> Settings {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_file_fills_what_a_service_leaves_open_and_wins_where_it_may() {
        let file =
            settings(json!({"container_port": 3000, "health_path": "/up", "tcp": true, "volumes": {"data": "/data"}}));
        let own = json!({"container_port": 9000, "volumes": {"more": "/more"}, "keep": 3});
        let filled = settings(own.clone()).with_repository(Some(&file));
        let wanted =
            json!({"container_port": 9000, "health_path": "/up", "tcp": true, "volumes": {"more": "/more"}, "keep": 3});
        assert_eq!(filled, settings(wanted));
        let mut prefers = settings(own);
        prefers.prefer_repository = true;
        let won = prefers.with_repository(Some(&file));
        assert_eq!((won.container_port.and_then(ContainerPort::number), won.keep), (Some(3000), Some(3)));
        assert_eq!(won.volumes, file.volumes);
        assert!(won.prefer_repository, "the file says nothing of it");
        assert_eq!(prefers.with_repository(None), prefers);
        let worker = settings(json!({"container_port": "none", "tcp": true})).with_repository(Some(&file));
        assert_eq!((worker.container_port, worker.health_path, worker.tcp), (Some(ContainerPort::None), None, false));
        assert_eq!(file.said(), ["container_port", "health_path", "tcp", "volumes"]);
    }

    #[tokio::test]
    async fn what_a_file_said_is_kept_with_the_deployment_and_the_release() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let deployment = release(&store, &service, start("a")).await;
        assert_eq!(store.noted_repository(deployment.id).await.unwrap(), None);
        let file = settings(json!({"container_port": 3000}));
        store.note_repository(deployment.id, Some(file.clone())).await.unwrap();
        assert_eq!(store.noted_repository(deployment.id).await.unwrap(), Some(file.clone()));
        let mut row = store.release(service.id, ReleaseNumber(1)).await.unwrap();
        assert!(store.current_repositories().await.unwrap().is_empty());
        row.repository = Some(file.clone());
        assert!(store.create_release(service.id, row).await.unwrap());
        assert_eq!(store.current_repositories().await.unwrap(), HashMap::from([(service.id, file)]));
    }

    #[tokio::test]
    async fn whoever_wanted_a_release_whatever_is_pushed_is_remembered() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let first = release(&store, &service, start("a")).await;
        store.finish(first.id, super::super::DeploymentState::Live, None, None).await.unwrap();
        let ask = async |cause: Cause| {
            let new = NewDeployment::build(&service.name, cause, Actor::Agent, None);
            store.request_deployment(NewDeployment { actor: Actor::GitPassword, ..new }).await.unwrap().0
        };
        let has = async |id| store.has_taken_a_place(service.id, ReleaseNumber(1), id).await.unwrap();
        ask(Cause::Push).await;
        let push = ask(Cause::Push).await;
        assert!(!has(push.id).await, "the newer push has all of the older one");
        ask(Cause::Start).await;
        assert!(has(ask(Cause::Push).await.id).await);
    }
}
