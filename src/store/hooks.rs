//! What forges have delivered: a row each, remembered for a week, so that one that comes again builds nothing that is live
//! or on its way there.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::deployments::{self, Deployment, DeploymentState, NewDeployment};
use super::services::find_kept;
use super::{Store, StoreError, micros, time};
use crate::names::{DeliveryId, DeploymentId, Excerpt, HookKey, ServiceId, ServiceName};
use crate::words::words;

/// How long a delivery is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How many of a service are remembered.
const KEPT: u32 = 1000;
/// And of all services.
const ALL: u32 = 10_000;
/// How many go where one comes: maintenance takes the others.
const AT_ONCE: u32 = 10;

words! {
    /// What became of a delivery.
    Outcome {
        /// A deployment was queued for it.
        Deployed = "deployed",
        /// The sender tried the hook.
        Ping = "ping",
        /// It concerns nothing that is deployed.
        Ignored = "ignored",
        /// It showed no good key, or could not be read.
        Refused = "refused",
    }
}

/// A delivery that was authorised.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// The service.
    pub service: ServiceName,
    /// Who sent it.
    pub sender: &'static str,
    /// What happened there.
    pub event: Excerpt,
    /// The sender's number of it.
    pub id: Option<DeliveryId>,
    /// What becomes of it.
    pub outcome: NewOutcome,
}

/// What becomes of a new delivery.
#[derive(Debug, Clone)]
pub enum NewOutcome {
    /// This is queued.
    Deployed(NewDeployment),
    /// The sender tries the hook.
    Ping,
    /// Nothing, because of this.
    Ignored(String),
    /// It can't be read, because of this.
    Refused(String),
}

/// A delivery, as its row tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookDelivery {
    /// When it came; of several that are one row the last.
    pub received: Timestamp,
    /// Who sent it.
    pub sender: String,
    /// What happened there.
    pub event: String,
    /// The sender's number of it.
    pub id: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was ignored or refused.
    pub reason: Option<String>,
    /// The deployment that was queued for it, as it stands now.
    pub deployment: Option<Deployment>,
}

impl HookDelivery {
    /// Whether the same delivery, which comes again as `now`, is to be judged anew: it was ignored, which it may not be any
    /// more, or what was deployed for it has come to nothing.
    fn is_owed(&self, now: &NewOutcome) -> bool {
        match (&self.deployment, self.outcome) {
            (Some(deployment), _) => {
                let has_come_to_nothing = deployment.state.is_final() && deployment.state != DeploymentState::Live;
                has_come_to_nothing && matches!(now, NewOutcome::Deployed(_))
            }
            (None, outcome) => outcome != Outcome::Ping,
        }
    }
}

/// What the store did with a delivery.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The delivery.
    pub delivery: HookDelivery,
    /// It is remembered from before, and nothing was done.
    pub again: bool,
    /// The deployments whose place the new one took.
    pub superseded: Vec<DeploymentId>,
}

const SELECT: &str = "SELECT received, sender, event, delivery, outcome, reason, deployment FROM hook_deliveries";

fn read_row(connection: &Connection, row: &Row<'_>) -> Result<HookDelivery, StoreError> {
    let deployment: Option<i64> = row.get(6)?;
    Ok(HookDelivery {
        received: time(row.get(0)?, "received")?,
        sender: row.get(1)?,
        event: row.get(2)?,
        id: row.get(3)?,
        outcome: Outcome::from_word(&row.get::<_, String>(4)?).ok_or(StoreError::Corrupt { what: "outcome" })?,
        reason: row.get(5)?,
        deployment: deployment.map(|id| deployments::find(connection, DeploymentId(id))).transpose()?,
    })
}

fn remembered(connection: &Connection, service: ServiceId, id: &str) -> Result<Option<HookDelivery>, StoreError> {
    let since = micros(Timestamp::now() - REMEMBERED);
    let mut statement =
        connection.prepare_cached(&format!("{SELECT} WHERE service = ?1 AND delivery = ?2 AND received > ?3"))?;
    let found = statement.query_row(params![service, id, since], |row| Ok(read_row(connection, row))).optional()?;
    found.transpose()
}

/// Those of the last week that showed no good key.
fn refused(connection: &Connection, service: ServiceId) -> Result<Option<HookDelivery>, StoreError> {
    let since = micros(Timestamp::now() - REMEMBERED);
    let sql = "SELECT sender, count, first, last FROM hook_refusals WHERE service = ?1 AND last > ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![service, since])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (count, first): (u32, _) = (row.get(1)?, time(row.get(2)?, "first")?);
    let again = if count > 1 { format!(", {count} times since {first:.0}") } else { String::new() };
    Ok(Some(HookDelivery {
        received: time(row.get(3)?, "last")?,
        sender: row.get(0)?,
        event: String::new(),
        id: None,
        outcome: Outcome::Refused,
        reason: Some(format!("wrong key{again}")),
        deployment: None,
    }))
}

/// Forgets at most `most` that are older than a week or beyond a bound.
pub(super) fn forget(connection: &Connection, service: ServiceId, most: u32) -> Result<usize, StoreError> {
    let before = micros(Timestamp::now() - REMEMBERED);
    let mut statement = connection.prepare_cached(
        "DELETE FROM hook_deliveries WHERE id IN (SELECT id FROM hook_deliveries WHERE service = ?1 AND (received <= ?2 \
         OR id <= (SELECT id FROM hook_deliveries WHERE service = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?3) \
         OR id <= (SELECT id FROM hook_deliveries ORDER BY id DESC LIMIT 1 OFFSET ?4)) ORDER BY id LIMIT ?5)",
    )?;
    Ok(statement.execute(params![service, before, KEPT - 1, ALL, most])?)
}

impl Store {
    /// Writes a delivery down and, in the same transaction, queues the deployment that it asks for. One that is
    /// remembered changes nothing, and the answer is what became of it then.
    pub async fn deliver(&self, new: NewDelivery) -> Result<Delivered, StoreError> {
        self.write(move |transaction| {
            let service = find_kept(transaction, &new.service)?;
            if let Some(id) = &new.id {
                let before = remembered(transaction, service.id, id.as_str())?;
                if let Some(delivery) = before.filter(|before| !before.is_owed(&new.outcome)) {
                    return Ok(Delivered { delivery, again: true, superseded: Vec::new() });
                }
                // It is judged anew; what is too old may not have been forgotten yet, either.
                let sql = "DELETE FROM hook_deliveries WHERE service = ?1 AND delivery = ?2";
                transaction.execute(sql, params![service.id, id.as_str()])?;
            }
            forget(transaction, service.id, AT_ONCE)?;
            let (outcome, reason, queued) = match new.outcome {
                NewOutcome::Deployed(new) => match deployments::queue(transaction, &new) {
                    Err(error @ StoreError::Stopped(_)) => (Outcome::Ignored, Some(error.to_string()), None),
                    queued => (Outcome::Deployed, None, Some(queued?)),
                },
                NewOutcome::Ping => (Outcome::Ping, None, None),
                NewOutcome::Ignored(why) => (Outcome::Ignored, Some(why), None),
                NewOutcome::Refused(why) => (Outcome::Refused, Some(why), None),
            };
            let (deployment, superseded) = queued.unzip();
            transaction.execute(
                "INSERT INTO hook_deliveries (service, delivery, sender, event, received, outcome, reason, deployment) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    service.id,
                    new.id.as_ref().map(DeliveryId::as_str),
                    new.sender,
                    new.event.as_str(),
                    micros(Timestamp::now()),
                    outcome.as_str(),
                    reason,
                    deployment.map(|deployment| deployment.id.0)
                ],
            )?;
            let id = transaction.last_insert_rowid();
            let mut statement = transaction.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
            let delivery = statement.query_row([id], |row| Ok(read_row(transaction, row)))??;
            Ok(Delivered { delivery, again: false, superseded: superseded.unwrap_or_default() })
        })
        .await
    }

    /// Counts deliveries to a service that showed no good key: one row has them all.
    pub async fn refuse_deliveries(
        &self,
        service: ServiceId,
        sender: &'static str,
        count: u32,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let (now, since) = (Timestamp::now(), micros(Timestamp::now() - REMEMBERED));
            transaction
                .execute("DELETE FROM hook_refusals WHERE service = ?1 AND last <= ?2", params![service, since])?;
            // It may have been removed meanwhile.
            transaction.execute(
                "INSERT INTO hook_refusals (service, sender, count, first, last) \
                 SELECT id, ?2, ?3, ?4, ?4 FROM services WHERE id = ?1 ON CONFLICT (service) DO UPDATE \
                 SET sender = ?2, count = min(count + ?3, 1000000000), last = ?4",
                params![service, sender, count, micros(now)],
            )?;
            Ok(())
        })
        .await
    }

    /// The last `limit` deliveries to a service, the newest first. Those that showed no good key are one more row.
    pub async fn deliveries(&self, service: ServiceId, limit: u32) -> Result<Vec<HookDelivery>, StoreError> {
        self.read(move |connection| {
            let refused = refused(connection, service)?;
            let mut statement =
                connection.prepare_cached(&format!("{SELECT} WHERE service = ?1 ORDER BY id DESC LIMIT ?2"))?;
            let mut rows = statement.query(params![service, limit])?;
            let mut deliveries = Vec::new();
            while let Some(row) = rows.next()? {
                deliveries.push(read_row(connection, row)?);
            }
            if let Some(refused) = refused {
                let at = deliveries.iter().position(|one| one.received <= refused.received);
                deliveries.insert(at.unwrap_or(deliveries.len()), refused);
            }
            Ok(deliveries)
        })
        .await
    }

    /// Gives a service's hook another key; the old one is dead from then on.
    pub async fn set_hook_key(&self, name: &ServiceName, key: HookKey) -> Result<(), StoreError> {
        let name = name.clone();
        self.write(move |transaction| {
            let service = find_kept(transaction, &name)?;
            transaction
                .execute("UPDATE services SET hook_key = ?2 WHERE id = ?1", params![service.id, key.as_str()])?;
            transaction.execute("DELETE FROM hook_refusals WHERE service = ?1", [service.id])?;
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::one_service;
    use super::*;
    use crate::names::Actor;
    use crate::store::{Cause, DeploymentState, Desired, Service};

    fn delivery(id: Option<&str>, outcome: NewOutcome) -> NewDelivery {
        NewDelivery {
            service: "blog".parse().unwrap(),
            sender: "github",
            event: Excerpt::of("push"),
            id: id.map(|id| id.parse().unwrap()),
            outcome,
        }
    }

    fn build() -> NewOutcome {
        NewOutcome::Deployed(NewDeployment {
            service: "blog".parse().unwrap(),
            cause: Cause::Hook,
            actor: Actor::Hook("github".parse().unwrap()),
            commit: None,
            from_release: None,
            env: None,
        })
    }

    #[tokio::test]
    async fn a_delivery_that_comes_again_gets_what_it_got_and_queues_nothing() {
        let (_folder, store, Service { id: service, .. }) = one_service().await;
        let first = store.deliver(delivery(Some("a"), build())).await.unwrap();
        let again = store.deliver(delivery(Some("a"), build())).await.unwrap();
        assert!(!first.again && again.again);
        assert_eq!(first.delivery, again.delivery);
        let ping = store.deliver(delivery(Some("b"), NewOutcome::Ping)).await.unwrap();
        let again = store.deliver(delivery(Some("b"), NewOutcome::Ping)).await.unwrap();
        assert_eq!((again.again, again.delivery), (true, ping.delivery));
        // Without a number each is a delivery of its own.
        for _ in 0..2 {
            assert!(!store.deliver(delivery(None, build())).await.unwrap().again);
        }
        let all = store.deliveries(service, 50).await.unwrap();
        assert_eq!(all.len(), 4);
        let states: Vec<_> = all.iter().filter_map(|one| one.deployment.as_ref()).map(|one| one.state).collect();
        assert_eq!(states, [DeploymentState::Queued, DeploymentState::Superseded, DeploymentState::Superseded]);
    }

    #[tokio::test]
    async fn what_came_to_nothing_or_was_ignored_is_judged_anew() {
        let (_folder, store, Service { id: service, .. }) = one_service().await;
        let of = |delivered: &Delivered| delivered.delivery.deployment.clone().unwrap().id;
        let mut last = None;
        for state in [DeploymentState::Failed, DeploymentState::Cancelled, DeploymentState::Live] {
            let now = store.deliver(delivery(Some("a"), build())).await.unwrap();
            assert!(!now.again && last != Some(of(&now)), "{state:?}");
            // As long as it goes on nothing is owed, and an ignored one takes nothing away.
            for outcome in [build(), NewOutcome::Ignored("another branch".into())] {
                let again = store.deliver(delivery(Some("a"), outcome)).await.unwrap();
                assert!(again.again && of(&again) == of(&now), "{state:?}");
            }
            store.finish(of(&now), state, None, None).await.unwrap();
            let ignored = store.deliver(delivery(Some("a"), NewOutcome::Ignored("so".into()))).await.unwrap();
            assert!(ignored.again && of(&ignored) == of(&now), "{state:?}");
            last = Some(of(&now));
        }
        let live = store.deliver(delivery(Some("a"), build())).await.unwrap();
        assert!(live.again && Some(of(&live)) == last);
        let ignored = store.deliver(delivery(Some("b"), NewOutcome::Ignored("another branch".into()))).await.unwrap();
        assert_eq!(ignored.delivery.outcome, Outcome::Ignored);
        assert!(!store.deliver(delivery(Some("b"), build())).await.unwrap().again);
        // Each is one row, however often it came.
        assert_eq!(store.deliveries(service, 50).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn those_with_a_wrong_key_are_one_row_until_there_is_another_key() {
        let (_folder, store, Service { id: service, name, .. }) = one_service().await;
        store.deliver(delivery(Some("a"), NewOutcome::Ping)).await.unwrap();
        for count in [1, 2000] {
            store.refuse_deliveries(service, "github", count).await.unwrap();
        }
        let all = store.deliveries(service, 50).await.unwrap();
        let told: Vec<_> = all.iter().map(|one| (one.outcome, one.reason.clone().unwrap_or_default())).collect();
        assert!(told[0].0 == Outcome::Refused && told[0].1.starts_with("wrong key, 2001 times since 2"), "{told:?}");
        assert_eq!((told.len(), told[1].0), (2, Outcome::Ping));
        store.set_hook_key(&name, HookKey::from_random([8; 32]).unwrap()).await.unwrap();
        assert_eq!(store.deliveries(service, 50).await.unwrap().len(), 1);
        store.refuse_deliveries(ServiceId(77), "github", 1).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_stopped_stays_so_whatever_is_delivered() {
        let (_folder, store, Service { name, .. }) = one_service().await;
        store.end_service(&name, Desired::Stopped).await.unwrap();
        let ignored = store.deliver(delivery(Some("a"), build())).await.unwrap().delivery;
        assert_eq!((ignored.outcome, ignored.deployment), (Outcome::Ignored, None));
        assert!(ignored.reason.unwrap().contains("is stopped"));
        assert_eq!(store.service(&name).await.unwrap().desired, Desired::Stopped);
    }

    #[tokio::test]
    async fn a_week_is_remembered_and_a_bounded_number() {
        let (_folder, store, Service { id: service, .. }) = one_service().await;
        store.deliver(delivery(Some("a"), NewOutcome::Ping)).await.unwrap();
        let past = micros(Timestamp::now() - REMEMBERED - SignedDuration::from_secs(1));
        let age = move |transaction: &rusqlite::Transaction<'_>| {
            transaction.execute("UPDATE hook_deliveries SET received = ?1", [past])?;
            Ok(())
        };
        store.write(age).await.unwrap();
        assert!(!store.deliver(delivery(Some("a"), NewOutcome::Ping)).await.unwrap().again);
        assert_eq!(store.deliveries(service, KEPT).await.unwrap().len(), 1);
        let fill = move |transaction: &rusqlite::Transaction<'_>| {
            for number in 0..KEPT * 2 {
                transaction.execute(
                    "INSERT INTO hook_deliveries (service, delivery, sender, event, received, outcome) \
                     VALUES (?1, ?2, 'github', 'push', ?3, 'ping')",
                    params![service, format!("n{number}"), micros(Timestamp::now())],
                )?;
            }
            Ok(())
        };
        store.write(fill).await.unwrap();
        while !store.forget_some(service).await.unwrap() {}
        store.deliver(delivery(Some("last"), NewOutcome::Ping)).await.unwrap();
        let all = store.deliveries(service, KEPT * 3).await.unwrap();
        assert_eq!((all.len(), all[0].id.as_deref()), (KEPT as usize, Some("last")));
        let name = "blog".parse().unwrap();
        store.set_hook_key(&name, HookKey::from_random([8; 32]).unwrap()).await.unwrap();
        assert_eq!(store.service(&name).await.unwrap().hook_key, HookKey::from_random([8; 32]).unwrap());
    }
}
