//! Podman is asked what the health checks of releases say: for those that changed, one at a moment, and not too many at once.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_stream::wrappers::IntervalStream;

use super::unasked::Due;
use super::{ServiceError, Services};
use crate::events::Event;
use crate::names::ReleaseName;
use crate::podman::Health;
use crate::problem::chain;
use crate::queue::Backoff;

/// How long a release's changes are taken for one: a unit that is started again tells of several.
const MOMENT: Duration = Duration::from_millis(300);
/// How many are asked for at once.
const AT_ONCE: usize = 4;
/// How long lies between the beginnings of two questions: where all of a host's services come up, others ask Podman, too.
const PACE: Duration = Duration::from_millis(50);
/// How long it takes at first until those are asked for again that could not be.
const SOON: Duration = Duration::from_secs(1);
/// And at most.
const LATE: Duration = Duration::from_secs(60);

impl Services {
    /// Asks for all whose health is to be asked, for ever. Those that can't be asked for are due again after a pause, and
    /// keep no other from its turn.
    pub(super) async fn ask_for_health(&self) {
        let (mut backoff, mut late, mut again) = (Backoff::new(SOON, LATE), Due::default(), Instant::now());
        loop {
            tokio::select! {
                () = self.unasked.wait() => {}
                () = sleep_until(again), if !late.is_empty() => self.unasked.again(std::mem::take(&mut late)),
            }
            sleep(MOMENT).await;
            let (unanswered, error) = self.ask_for_due(self.unasked.take()).await;
            let Some(error) = error else {
                if late.is_empty() {
                    backoff.reset();
                }
                continue;
            };
            if late.is_empty() {
                if backoff.is_fresh() {
                    tracing::warn!("can't see what health checks say, and tries again: {}", chain(&error));
                }
                again = Instant::now() + backoff.next_pause();
            }
            late.take(unanswered);
        }
    }

    /// Asks for these, and tells those that could not be asked for, and why one of them could not.
    async fn ask_for_due(&self, due: Due) -> (Due, Option<ServiceError>) {
        let checked = match self.uses.store.checked_releases().await {
            Ok(checked) => checked,
            Err(error) => return (due, Some(error.into())),
        };
        let asked: Vec<(ReleaseName, Option<bool>)> = checked
            .into_iter()
            .filter_map(|release| match due.releases.get(&release) {
                Some(said) => Some((release, *said)),
                None => due.all.then_some((release, None)),
            })
            .collect();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let answers = IntervalStream::new(pace)
            .zip(futures_util::stream::iter(asked))
            .map(|(_, (release, said))| async move {
                let answer = self.ask_one(&release, said).await;
                (release, said, answer)
            })
            .buffer_unordered(AT_ONCE);
        let mut answers = std::pin::pin!(answers);
        let (mut unanswered, mut why) = (Due::default(), None);
        while let Some((release, said, answer)) = answers.next().await {
            if let Err(error) = answer {
                unanswered.add(release, said);
                why = Some(error);
            }
        }
        (unanswered, why)
    }

    /// Takes what a release's check says now. What was heard of it, `said`, may be an earlier run's of its unit, or another
    /// service's that had its name, and counts alone where Podman can't be asked; where nothing was heard, what was known stays.
    async fn ask_one(&self, release: &ReleaseName, said: Option<bool>) -> Result<(), ServiceError> {
        let (health, asked) = match self.uses.podman.container(&release.container()).await {
            Ok(container) => {
                let health = container.and_then(|container| match container.health {
                    Some(Health::Healthy) => Some(true),
                    Some(Health::Unhealthy) => Some(false),
                    Some(Health::Starting) | None => None,
                });
                (health, Ok(()))
            }
            Err(error) => (said.or(self.live.with(&release.unit(), |unit| unit.health)), Err(error.into())),
        };
        if self.live.with(&release.unit(), |unit| std::mem::replace(&mut unit.health, health)) != health {
            self.uses.events.publish(Event::Service(release.service.clone()));
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use jiff::Timestamp;

    use super::super::fixture::{Asked, answer, service, services};
    use super::*;
    use crate::names::{Actor, Volumes};
    use crate::store::{Cause, EnvSecrets, NewDeployment, NewRelease, Settings};
    use crate::units::{ActiveState, UnitChange, UnitFacts};

    /// A Podman all of whose containers are healthy.
    fn podman(folder: &Path) -> Asked {
        let id = "a".repeat(64);
        answer(folder, move |_, _| {
            format!(r#"{{"Id":"{id}","State":{{"Running":true,"Health":{{"Status":"healthy"}}}}}}"#)
        })
    }

    /// The containers that it was asked for.
    fn containers(asked: &Asked) -> Vec<String> {
        let container =
            |asked: &String| asked.split_once("/containers/").unwrap().1.split('/').next().unwrap().to_owned();
        asked.lock().unwrap().iter().map(container).collect()
    }

    /// A service whose release, which has a health check, is being deployed.
    async fn release(services: &Services, name: &str) -> ReleaseName {
        let store = &services.uses.store;
        let service = service(services, name).await;
        let start = NewDeployment::build(&service.name, Cause::Start, Actor::Agent, None);
        let (deployment, _) = store.request_deployment(start).await.unwrap();
        let number = store.number_release(deployment.id).await.unwrap();
        let new = NewRelease {
            number,
            deployment: deployment.id,
            commit: None,
            port: 20_000 + u16::try_from(deployment.id.0).unwrap(),
            container_port: Some(80),
            healthcheck: true,
            health_interval: Some(3600),
            check_timeout: None,
            init: false,
            env: EnvSecrets::new(),
            volumes: Volumes::default(),
            settings: Settings::default(),
            repository: None,
            created: Timestamp::now(),
        };
        assert!(store.create_release(service.id, new).await.unwrap());
        ReleaseName::new(&service.name, number)
    }

    async fn releases(services: &Services, count: u32) -> Vec<ReleaseName> {
        let mut all = Vec::new();
        for number in 0..count {
            all.push(release(services, &format!("s{number}")).await);
        }
        all
    }

    fn changed(services: &Services, release: &ReleaseName, active: ActiveState) {
        let change = UnitChange::from(UnitFacts { active, ..UnitFacts::default() });
        services.take_changes(BTreeMap::from([(release.unit(), change)]), true);
    }

    async fn until_known(services: &Services, release: &ReleaseName) {
        while services.live.with(&release.unit(), |unit| unit.health) != Some(true) {
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_restart_has_its_own_release_asked_once_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (services, asked) = (services(folder.path()), podman(folder.path()));
        let all = releases(&services, 5).await;
        let asking = tokio::spawn({
            let services = services.clone();
            async move { services.ask_for_health().await }
        });
        for _ in 0..3 {
            for active in [ActiveState::Deactivating, ActiveState::Activating, ActiveState::Active] {
                changed(&services, &all[1], active);
            }
        }
        until_known(&services, &all[1]).await;
        // What is known is not asked for because something else changes, and what does not run is not either.
        changed(&services, &all[1], ActiveState::Active);
        changed(&services, &all[2], ActiveState::Failed);
        changed(&services, &all[3], ActiveState::Active);
        until_known(&services, &all[3]).await;
        assert_eq!(containers(&asked), [all[1].container(), all[3].container()]);
        asking.abort();
    }

    #[tokio::test]
    async fn where_changes_were_missed_all_are_asked_once() {
        let folder = tempfile::tempdir().unwrap();
        let (services, asked) = (services(folder.path()), podman(folder.path()));
        let all = releases(&services, 12).await;
        let asking = tokio::spawn({
            let services = services.clone();
            async move { services.ask_for_health().await }
        });
        for _ in 0..3 {
            services.unasked.all();
            changed(&services, &all[4], ActiveState::Active);
        }
        for release in &all {
            until_known(&services, release).await;
        }
        let mut asked = containers(&asked);
        asked.sort();
        let mut once: Vec<_> = all.iter().map(ReleaseName::container).collect();
        once.sort();
        assert_eq!(asked, once);
        asking.abort();
    }

    #[tokio::test]
    async fn what_can_not_be_asked_is_asked_again_and_keeps_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let services = services(folder.path());
        let all = releases(&services, 2).await;
        services.uses.store.change_schema("ALTER TABLE releases RENAME TO hidden").await.unwrap();
        services.unasked.add(all[0].clone(), None);
        let (due, error) = services.ask_for_due(services.unasked.take()).await;
        assert!(matches!(error, Some(ServiceError::Store(_))) && due.releases.contains_key(&all[0]));
        let asking = tokio::spawn({
            let services = services.clone();
            async move { services.ask_for_health().await }
        });
        services.unasked.add(all[0].clone(), None);
        while !services.unasked.with(|due| due.is_empty()) {
            sleep(Duration::from_millis(5)).await;
        }
        services.uses.store.change_schema("ALTER TABLE hidden RENAME TO releases").await.unwrap();
        // There is a store again, and no Podman yet: what was heard counts until then.
        services.unasked.add(all[1].clone(), Some(true));
        until_known(&services, &all[1]).await;
        // And it stays so, however often Podman can't be asked.
        let known = || services.live.with(&all[1].unit(), |unit| unit.health);
        for said in [Some(true), None] {
            let due = Due { releases: [(all[1].clone(), said)].into(), ..Due::default() };
            let (unanswered, error) = services.ask_for_due(due).await;
            assert!(error.is_some() && unanswered.releases.get(&all[1]) == Some(&said));
            assert_eq!(known(), Some(true));
        }
        let asked = podman(folder.path());
        until_known(&services, &all[0]).await;
        assert!(containers(&asked).contains(&all[0].container()));
        asking.abort();
    }
}
