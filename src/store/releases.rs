//! The releases: what each was made of, so that it can be written again to the letter and gone back to.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::deployments::{self, Deployment};
use super::{EnvSecrets, Settings, Store, StoreError, json, micros, parse, time, to_json};
use crate::names::{CommitId, DeploymentId, ReleaseName, ReleaseNumber, ServiceId, Strategy, Volumes};

/// A release. It never changes once it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its number within the service.
    pub number: ReleaseNumber,
    /// The deployment that made it.
    pub deployment: DeploymentId,
    /// The commit of its image.
    pub commit: Option<CommitId>,
    /// Its port on the host's loopback.
    pub port: u16,
    /// The port that it listens on in the container; none: it has no address, and nothing leads to `port`.
    pub container_port: Option<u16>,
    /// Whether its image has a health check.
    pub healthcheck: bool,
    /// How many seconds lie between two runs of it; none where the release is older than that this is written down.
    pub health_interval: Option<u32>,
    /// How many seconds one run of it may take; none where the release is older than that this is written down.
    pub check_timeout: Option<u32>,
    /// Whether Podman's init is its first process, because its image has none of its own.
    pub init: bool,
    /// Its variables.
    pub env: EnvSecrets,
    /// Its volumes and where they are mounted.
    pub volumes: Volumes,
    /// The settings that it was released with.
    pub settings: Settings,
    /// What `podkeeper.toml` of its commit said; none: there was no such file.
    pub repository: Option<Settings>,
    /// When it was made.
    pub created: Timestamp,
}

impl Release {
    /// The port that its service's host names lead to, where it has an address.
    #[must_use]
    pub fn routed_port(&self) -> Option<u16> {
        self.container_port.map(|_| self.port)
    }

    /// Whether no other release of its service may run beside it.
    #[must_use]
    pub fn runs_alone(&self) -> bool {
        self.settings.strategy == Some(Strategy::Recreate)
    }
}

/// A release that is to be written down.
pub type NewRelease = Release;

const COLUMNS: &str = "number, deployment, commit_id, port, container_port, healthcheck, env, volumes, settings, created, health_interval, \
    check_timeout, init, repository";

fn read_row(row: &Row<'_>) -> Result<Release, StoreError> {
    Ok(Release {
        number: ReleaseNumber(row.get(0)?),
        deployment: DeploymentId(row.get(1)?),
        commit: row.get::<_, Option<String>>(2)?.map(|text| parse(&text, "commit")).transpose()?,
        port: row.get(3)?,
        // The table is older than that there may be none, and takes no NULL.
        container_port: Some(row.get(4)?).filter(|port| *port != 0),
        healthcheck: row.get(5)?,
        env: json(&row.get::<_, String>(6)?, "env")?,
        volumes: json(&row.get::<_, String>(7)?, "volumes")?,
        settings: json(&row.get::<_, String>(8)?, "settings")?,
        created: time(row.get(9)?, "created")?,
        health_interval: row.get(10)?,
        check_timeout: row.get(11)?,
        init: row.get(12)?,
        repository: row.get::<_, Option<String>>(13)?.map(|text| json(&text, "repository")).transpose()?,
    })
}

fn find(connection: &Connection, service: ServiceId, number: ReleaseNumber) -> Result<Release, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM releases WHERE service = ?1 AND number = ?2"))?;
    let found = statement.query_row(params![service, number.0], |row| Ok(read_row(row))).optional()?;
    found.unwrap_or(Err(StoreError::NoRelease(number.0)))
}

impl Store {
    /// Writes a release down; false where its port was taken in the meantime.
    pub async fn create_release(&self, service: ServiceId, new: NewRelease) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let taken: bool = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM releases WHERE port = ?1 AND NOT (service = ?2 AND number = ?3) \
                 UNION ALL SELECT 1 FROM kept_ports WHERE port = ?1)",
                params![new.port, service, new.number.0],
                |row| row.get(0),
            )?;
            if taken {
                return Ok(false);
            }
            transaction.execute(
                "INSERT OR REPLACE INTO releases (service, number, deployment, commit_id, port, container_port, healthcheck, \
                 env, volumes, settings, created, health_interval, check_timeout, init, repository) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
                params![
                    service,
                    new.number.0,
                    new.deployment.0,
                    new.commit.as_ref().map(CommitId::as_str),
                    new.port,
                    new.container_port.unwrap_or(0),
                    new.healthcheck,
                    to_json(&new.env, "env")?,
                    to_json(&new.volumes, "volumes")?,
                    to_json(&new.settings, "settings")?,
                    micros(new.created),
                    new.health_interval,
                    new.check_timeout,
                    new.init,
                    new.repository.as_ref().map(|file| to_json(file, "repository")).transpose()?
                ],
            )?;
            Ok(true)
        })
        .await
    }

    /// One release of a service.
    pub async fn release(&self, service: ServiceId, number: ReleaseNumber) -> Result<Release, StoreError> {
        self.read(move |connection| find(connection, service, number)).await
    }

    /// Whether a release of the service ever had this number, be it gone by now or never made.
    pub async fn has_numbered(&self, service: ServiceId, number: ReleaseNumber) -> Result<bool, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT 1 FROM services WHERE id = ?1 AND next_release > ?2";
            Ok(connection.prepare_cached(sql)?.exists(params![service, number.0])?)
        })
        .await
    }

    /// A service's releases, oldest first.
    pub async fn releases(&self, service: ServiceId) -> Result<Vec<Release>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM releases WHERE service = ?1 ORDER BY number"))?;
            let mut rows = statement.query([service])?;
            let mut releases = Vec::new();
            while let Some(row) = rows.next()? {
                releases.push(read_row(row)?);
            }
            Ok(releases)
        })
        .await
    }

    /// The releases that a service can go back to, newest first: those whose deployments went live.
    pub async fn live_releases(&self, service: ServiceId) -> Result<Vec<(Release, Deployment)>, StoreError> {
        self.read(move |connection| {
            let query = "WHERE d.service = ?1 AND d.state = 'live' AND EXISTS (SELECT 1 FROM releases r \
                         WHERE r.service = d.service AND r.number = d.release) ORDER BY d.release DESC";
            let deployments = deployments::select(connection, query, [service])?;
            let of = |deployment: Deployment| {
                let number = deployment.release.ok_or(StoreError::Corrupt { what: "release" })?;
                Ok((find(connection, service, number)?, deployment))
            };
            deployments.into_iter().map(of).collect()
        })
        .await
    }

    /// The release before the current one, which a rollback goes to. One that was gone back to stands where it stood
    /// the first time, so that whoever goes back again comes further back, and never to the one that they left.
    pub async fn release_before(&self, service: ServiceId) -> Result<Option<ReleaseNumber>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "WITH RECURSIVE current (number) AS (SELECT current_release FROM services WHERE id = ?1 \
                 UNION SELECT d.from_release FROM current JOIN deployments d ON d.service = ?1 \
                 AND d.release = current.number AND d.cause = 'rollback') \
                 SELECT max(r.number) FROM releases r JOIN deployments d ON d.id = r.deployment AND d.state = 'live' \
                 WHERE r.service = ?1 AND r.number < (SELECT min(number) FROM current)",
            )?;
            let number: Option<u32> = statement.query_row([service], |row| row.get(0))?;
            Ok(number.map(ReleaseNumber))
        })
        .await
    }

    /// The commit of each service's current release, by the service's row.
    pub async fn current_commits(&self) -> Result<std::collections::HashMap<ServiceId, CommitId>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT s.id, r.commit_id FROM services s JOIN releases r ON r.service = s.id \
                 AND r.number = s.current_release WHERE r.commit_id IS NOT NULL",
            )?;
            let mut rows = statement.query([])?;
            let mut commits = std::collections::HashMap::new();
            while let Some(row) = rows.next()? {
                commits.insert(row.get(0)?, parse(&row.get::<_, String>(1)?, "commit")?);
            }
            Ok(commits)
        })
        .await
    }

    /// Whether a service's current release has a health check.
    pub async fn has_health_checks(&self) -> Result<bool, StoreError> {
        self.read(|connection| {
            let query = "SELECT EXISTS (SELECT 1 FROM services s JOIN releases r ON r.service = s.id \
                         AND r.number = s.current_release WHERE r.healthcheck)";
            Ok(connection.prepare_cached(query)?.query_row([], |row| row.get(0))?)
        })
        .await
    }

    /// The releases with a health check that run, or are to: those that have the traffic, and those that are being deployed.
    pub async fn checked_releases(&self) -> Result<Vec<ReleaseName>, StoreError> {
        self.read(|connection| {
            let query = "SELECT s.name, r.number FROM services s JOIN releases r ON r.service = s.id \
                         WHERE r.healthcheck AND ((r.number = s.current_release AND s.desired = 'running') OR EXISTS \
                         (SELECT 1 FROM deployments d WHERE d.id = r.deployment AND d.finished IS NULL))";
            let mut statement = connection.prepare_cached(query)?;
            let mut rows = statement.query([])?;
            let mut releases = Vec::new();
            while let Some(row) = rows.next()? {
                let number = ReleaseNumber(row.get(1)?);
                releases.push(ReleaseName::new(&parse(&row.get::<_, String>(0)?, "name")?, number));
            }
            Ok(releases)
        })
        .await
    }

    /// The releases of deployments that came to nothing.
    pub async fn failed_releases(&self, service: ServiceId) -> Result<Vec<ReleaseNumber>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT r.number FROM releases r JOIN deployments d ON d.id = r.deployment \
                 WHERE r.service = ?1 AND d.state IN ('failed', 'cancelled', 'superseded')",
            )?;
            let numbers = statement.query_map([service], |row| row.get(0))?.collect::<Result<Vec<u32>, _>>()?;
            Ok(numbers.into_iter().map(ReleaseNumber).collect())
        })
        .await
    }

    /// Every port that a release has.
    pub async fn ports(&self) -> Result<Vec<u16>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT port FROM releases")?;
            let ports = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(ports)
        })
        .await
    }

    /// The same, and every port that a route may lead to of a release that is gone.
    pub async fn taken_ports(&self) -> Result<Vec<u16>, StoreError> {
        let (mut ports, kept) = (self.ports().await?, self.kept_ports().await?);
        ports.extend(kept);
        Ok(ports)
    }

    /// The ports that [`Store::forget_release`] has kept.
    pub async fn kept_ports(&self) -> Result<Vec<u16>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT port FROM kept_ports")?;
            let ports = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(ports)
        })
        .await
    }

    /// Gives these away, since all routes could be read.
    pub async fn free_ports(&self, kept: Vec<u16>) -> Result<(), StoreError> {
        if kept.is_empty() {
            return Ok(());
        }
        self.write(move |transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM kept_ports WHERE port = ?1")?;
            for port in kept {
                statement.execute([port])?;
            }
            Ok(())
        })
        .await
    }

    /// From this moment on the traffic belongs to `number`, and the service is to run: whoever ends a switch that was cut off
    /// reads it here. A deployment that was cancelled meanwhile, or has ended, gives nothing the traffic.
    pub async fn make_current(
        &self,
        service: ServiceId,
        number: ReleaseNumber,
        deployment: DeploymentId,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            find(transaction, service, number)?;
            let sql = "SELECT 1 FROM deployments WHERE id = ?1 AND finished IS NULL AND problem IS NULL";
            if !transaction.prepare_cached(sql)?.exists([deployment.0])? {
                return Err(StoreError::Ended(deployment.0));
            }
            transaction.execute(
                "UPDATE deployments SET desired_before = (SELECT desired FROM services WHERE id = ?2) WHERE id = ?1",
                params![deployment.0, service],
            )?;
            transaction.execute(
                "UPDATE services SET current_release = ?2, desired = 'running' WHERE id = ?1",
                params![service, number.0],
            )?;
            Ok(())
        })
        .await
    }

    /// Gives the traffic back to the release that had it before `number`, which `deployment` makes: the one that a deployment
    /// made live last. A service that was stopped before is so again.
    pub async fn give_back(
        &self,
        service: ServiceId,
        number: ReleaseNumber,
        deployment: DeploymentId,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "UPDATE services SET current_release = (SELECT r.number FROM releases r JOIN deployments d \
                 ON d.service = r.service AND d.release = r.number AND d.state = 'live' WHERE r.service = ?1 \
                 ORDER BY d.id DESC LIMIT 1), desired = iif(desired = 'running', \
                 coalesce((SELECT desired_before FROM deployments WHERE id = ?3), desired), desired) \
                 WHERE id = ?1 AND current_release = ?2",
                params![service, number.0, deployment.0],
            )?;
            Ok(())
        })
        .await
    }

    /// Forgets a release whose file, container and image are gone. Where `keep_port` says so, nobody gets its port before
    /// [`Store::free_ports`].
    pub async fn forget_release(
        &self,
        service: ServiceId,
        number: ReleaseNumber,
        keep_port: bool,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let release = params![service, number.0];
            if keep_port {
                transaction.execute(
                    "INSERT OR IGNORE INTO kept_ports SELECT port FROM releases WHERE service = ?1 AND number = ?2",
                    release,
                )?;
            }
            transaction.execute("DELETE FROM releases WHERE service = ?1 AND number = ?2", release)?;
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Transaction;

    use super::super::fixture::{new_service, release, start, store};
    use super::super::{Cause, DeploymentState, Desired, NewDeployment};
    use super::*;

    #[tokio::test]
    async fn who_goes_back_again_comes_further_back_and_never_to_what_they_left() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let live = async |cause: Cause, from_release: Option<u32>| {
            let new = NewDeployment { cause, from_release: from_release.map(ReleaseNumber), ..start("a") };
            let deployment = release(&store, &service, new).await;
            store.finish(deployment.id, DeploymentState::Live, None, None).await.unwrap();
        };
        let before = async || store.release_before(service.id).await.unwrap().map(|number| number.0);
        assert_eq!(before().await, None, "there is none at all");
        live(Cause::Push, None).await;
        assert_eq!(before().await, None);
        live(Cause::Push, None).await;
        live(Cause::Push, None).await;
        assert_eq!(before().await, Some(2));
        // Release 4, of release 2's image.
        live(Cause::Rollback, Some(2)).await;
        assert_eq!(before().await, Some(1));
        live(Cause::Restart, Some(4)).await;
        assert_eq!(before().await, Some(4), "a restart may have another environment");
        live(Cause::Rollback, Some(4)).await;
        assert_eq!(before().await, Some(1), "also where what was gone back to had been gone back to");
        // One that failed, and whose release is not cleared away yet, is none to go back to.
        let failed = release(&store, &service, start("a")).await;
        store.finish(failed.id, DeploymentState::Failed, None, None).await.unwrap();
        live(Cause::Push, None).await;
        assert_eq!(before().await, Some(6));
        store.forget_release(service.id, ReleaseNumber(6), false).await.unwrap();
        assert_eq!(before().await, Some(5));
        let listed = store.live_releases(service.id).await.unwrap();
        let numbers: Vec<u32> = listed.iter().map(|(release, _)| release.number.0).collect();
        assert_eq!(numbers, [8, 5, 4, 3, 2, 1]);
        live(Cause::Rollback, Some(1)).await;
        assert_eq!(before().await, None);
    }

    #[tokio::test]
    async fn a_port_that_a_route_may_lead_to_is_taken_until_that_is_known() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        for _ in 0..3 {
            release(&store, &service, start("a")).await;
        }
        store.forget_release(service.id, ReleaseNumber(1), true).await.unwrap();
        store.forget_release(service.id, ReleaseNumber(2), false).await.unwrap();
        let taken = async || {
            let mut taken = store.taken_ports().await.unwrap();
            taken.sort_unstable();
            taken
        };
        assert_eq!((taken().await, store.ports().await.unwrap()), (vec![20_001, 20_003], vec![20_003]));
        let with = |port| {
            let of = store.release(service.id, ReleaseNumber(3));
            async move { NewRelease { number: ReleaseNumber(4), port, ..of.await.unwrap() } }
        };
        assert!(!store.create_release(service.id, with(20_001).await).await.unwrap());
        let kept = store.kept_ports().await.unwrap();
        // One that comes after the look is kept for the next.
        store.forget_release(service.id, ReleaseNumber(3), true).await.unwrap();
        store.free_ports(kept).await.unwrap();
        assert_eq!(taken().await, [20_003]);
    }

    #[tokio::test]
    async fn the_traffic_goes_back_to_the_release_that_was_live_last() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let current = async || store.service(&service.name).await.unwrap().current;
        let mut last = None;
        for number in 1..=4 {
            let deployment = release(&store, &service, start("a")).await;
            last = Some(deployment.id);
            let state = if number == 2 { DeploymentState::Failed } else { DeploymentState::Live };
            if number < 4 {
                store.finish(deployment.id, state, None, None).await.unwrap();
            }
        }
        // Whatever a clock said that was set back meanwhile.
        let backwards = |transaction: &Transaction<'_>| {
            Ok(transaction.execute("UPDATE deployments SET finished = 1000 - id WHERE finished IS NOT NULL", [])?)
        };
        store.write(backwards).await.unwrap();
        // Not the current one: nothing changes.
        store.give_back(service.id, ReleaseNumber(3), last.unwrap()).await.unwrap();
        assert_eq!(current().await, Some(ReleaseNumber(4)));
        store.give_back(service.id, ReleaseNumber(4), last.unwrap()).await.unwrap();
        assert_eq!(current().await, Some(ReleaseNumber(3)));
        store.forget_release(service.id, ReleaseNumber(3), false).await.unwrap();
        store.make_current(service.id, ReleaseNumber(4), last.unwrap()).await.unwrap();
        store.give_back(service.id, ReleaseNumber(4), last.unwrap()).await.unwrap();
        assert_eq!(current().await, Some(ReleaseNumber(1)), "never one that failed");
    }

    #[tokio::test]
    async fn what_was_stopped_before_a_switch_that_failed_is_so_again() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let now = async || {
            let service = store.service(&service.name).await.unwrap();
            (service.current.map(|number| number.0), service.desired)
        };
        let first = release(&store, &service, start("a")).await;
        store.finish(first.id, DeploymentState::Live, None, None).await.unwrap();
        let give_back = async |deployment: &Deployment| {
            let number = store.deployment(deployment.id).await.unwrap().release.unwrap();
            store.give_back(service.id, number, deployment.id).await.unwrap();
            store.finish(deployment.id, DeploymentState::Failed, None, None).await.unwrap();
        };
        let failed = release(&store, &service, start("a")).await;
        give_back(&failed).await;
        assert_eq!(now().await, (Some(1), Desired::Running));
        store.end_service(&service.name, Desired::Stopped).await.unwrap();
        let failed = release(&store, &service, start("a")).await;
        assert_eq!(now().await, (Some(3), Desired::Running));
        give_back(&failed).await;
        assert_eq!(now().await, (Some(1), Desired::Stopped));
    }
}
