//! How long what has ended is kept: by count and by age, in steps that are small, so that nobody waits for one.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::{Store, StoreError, hooks, micros};
use crate::names::ServiceId;

/// How many deployments of a service are kept.
const KEPT: u32 = 500;
/// And of all services.
const ALL: u32 = 10_000;
/// How long a deployment is kept behind its end.
const AGE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How many of a service are kept however old they are.
const LATEST: u32 = 20;
/// How many rows of a service go in one step.
const STEP: u32 = 200;

/// Forgets at most `most` deployments of a service that are too many or too old. What is never forgotten: one that has not
/// ended, the newest, one whose release is kept, one that a remembered delivery led to, and those that tell which release
/// the current one goes back to.
pub(super) fn forget(connection: &Connection, service: ServiceId, most: u32) -> Result<usize, StoreError> {
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE origin (number) AS (SELECT current_release FROM services WHERE id = ?1 \
         UNION SELECT d.from_release FROM origin JOIN deployments d ON d.service = ?1 \
         AND d.release = origin.number AND d.cause = 'rollback') \
         DELETE FROM deployments WHERE id IN (SELECT d.id FROM deployments d WHERE d.service = ?1 \
         AND d.finished IS NOT NULL AND d.id < (SELECT max(id) FROM deployments WHERE service = ?1) \
         AND (d.id <= (SELECT id FROM deployments WHERE service = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2) \
         OR d.id <= (SELECT CASE WHEN count(*) > ?3 THEN \
         (SELECT id FROM deployments ORDER BY id DESC LIMIT 1 OFFSET ?3) END FROM deployments) \
         OR (d.finished <= ?4 AND d.id <= (SELECT id FROM deployments WHERE service = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?5))) \
         AND NOT EXISTS (SELECT 1 FROM releases r WHERE r.service = d.service AND r.number = d.release) \
         AND NOT EXISTS (SELECT 1 FROM hook_deliveries h WHERE h.deployment = d.id) \
         AND (d.release IS NULL OR d.release NOT IN (SELECT number FROM origin WHERE number IS NOT NULL)) \
         ORDER BY d.id LIMIT ?6)",
    )?;
    let before = micros(Timestamp::now() - AGE);
    Ok(statement.execute(params![service, KEPT, ALL, before, LATEST, most])?)
}

impl Store {
    /// Forgets some of what is kept of a service's deployments and deliveries too long; false: there may be more.
    pub async fn forget_some(&self, service: ServiceId) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let deliveries = hooks::forget(transaction, service, STEP)?;
            let deployments = forget(transaction, service, STEP)?;
            Ok(deliveries < STEP as usize && deployments < STEP as usize)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::one_service;
    use super::*;
    use crate::names::{Actor, DeploymentId, ServiceName};
    use crate::store::{Cause, NewDeployment, Service};

    async fn run(store: &Store, sql: String) {
        store.write(move |transaction| Ok(transaction.execute_batch(&sql)?)).await.unwrap();
    }

    async fn ids(store: &Store, name: &ServiceName) -> Vec<i64> {
        let page = store.deployments(name, None, 10_000).await.unwrap();
        page.deployments.into_iter().rev().map(|deployment| deployment.id.0).collect()
    }

    /// So many deployments that ended `age` ago, each with the release of its number.
    async fn fill(store: &Store, service: ServiceId, count: u32, age: SignedDuration) {
        let at = micros(Timestamp::now() - age);
        let rows = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO deployments (service, cause, actor, state, queued, finished) \
             SELECT {service}, 'push', 'agent', 'superseded', {at}, {at} FROM n; \
             UPDATE deployments SET release = id, state = 'live' WHERE id IN (2, 3, 4)"
        );
        run(store, rows).await;
    }

    #[tokio::test]
    async fn what_is_too_many_goes_in_steps_and_what_is_needed_stays() {
        let (_folder, store, Service { id: service, name, .. }) = one_service().await;
        fill(&store, service, KEPT + 2 * STEP, SignedDuration::ZERO).await;
        let release = |number: u32| {
            format!(
                "INSERT INTO releases (service, number, deployment, port, container_port, healthcheck, env, volumes, \
                 settings, created) VALUES ({service}, {number}, {number}, {number}, 80, 0, '{{}}', '{{}}', '{{}}', 0);"
            )
        };
        // Release 2 is kept, the current one goes back to 3, which is gone, and a delivery led to deployment 5.
        let needed = format!(
            "{} {} UPDATE deployments SET cause = 'rollback', from_release = 3 WHERE id = 4; \
             UPDATE services SET current_release = 4; \
             INSERT INTO hook_deliveries (service, sender, event, received, outcome, deployment) \
             VALUES ({service}, 'github', 'push', {}, 'deployed', 5)",
            release(2),
            release(4),
            micros(Timestamp::now())
        );
        run(&store, needed).await;
        assert!(!store.forget_some(service).await.unwrap());
        assert_eq!(ids(&store, &name).await.len(), (KEPT + STEP) as usize);
        while !store.forget_some(service).await.unwrap() {}
        let left = ids(&store, &name).await;
        assert_eq!(left.len(), KEPT as usize + 4);
        assert_eq!(left[..4], [2, 3, 4, 5]);
        assert_eq!(left.last(), Some(&i64::from(KEPT + 2 * STEP)));
    }

    #[tokio::test]
    async fn what_is_too_old_goes_and_no_number_is_given_again() {
        let (_folder, store, Service { id: service, name, .. }) = one_service().await;
        fill(&store, service, 30, AGE + SignedDuration::from_hours(1)).await;
        while !store.forget_some(service).await.unwrap() {}
        assert_eq!(ids(&store, &name).await, (11..=30).collect::<Vec<_>>());
        run(&store, "DELETE FROM deployments".into()).await;
        let (deployment, _) = store.request_deployment(start(&name)).await.unwrap();
        assert_eq!(deployment.id, DeploymentId(31));
    }

    fn start(name: &ServiceName) -> NewDeployment {
        NewDeployment {
            service: name.clone(),
            cause: Cause::Start,
            actor: Actor::Agent,
            commit: None,
            from_release: None,
            env: None,
        }
    }

    #[tokio::test]
    async fn a_flood_of_them_leaves_no_more_than_are_kept() {
        let (_folder, store, Service { id: service, name, .. }) = one_service().await;
        fill(&store, service, KEPT, SignedDuration::ZERO).await;
        for _ in 0..5 {
            store.request_deployment(start(&name)).await.unwrap();
        }
        // What comes takes the place of one that goes.
        assert_eq!(ids(&store, &name).await.len(), KEPT as usize + 1);
    }
}
