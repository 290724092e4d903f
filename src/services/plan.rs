//! What must be done so that a service is as it is wanted: a pure function from the two to a list of steps.
//!
//! The order keeps two things true at each moment, so that the agent may die between any two steps: a routed port
//! belongs to a running release, and that release also starts at boot.

use std::collections::BTreeMap;

use crate::names::{HostName, ReleaseNumber};

/// A release as the host shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObservedRelease {
    /// Its Quadlet file is there.
    pub file: bool,
    /// It starts at boot.
    pub live: bool,
    /// Its unit runs, or is about to.
    pub running: bool,
    /// Its unit failed, and systemd remembers it.
    pub failed: bool,
}

/// What is wanted of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredState {
    /// The release that shall have the traffic; none: nothing shall run.
    pub current: Option<ReleaseNumber>,
    /// Whether the unit of `current` is started when it doesn't run. Only a deployment asks for that: what an
    /// administrator stopped with systemctl stays stopped.
    pub start: bool,
    /// Whether another release may never run beside `current`, be it for a moment.
    pub alone: bool,
    /// The releases that are kept, with the port of each that has an address.
    pub kept: BTreeMap<ReleaseNumber, Option<u16>>,
    /// The releases whose rows go now, likewise.
    pub pruned: BTreeMap<ReleaseNumber, Option<u16>>,
}

/// What the host shows of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedState {
    /// Each release that has a file or a unit.
    pub releases: BTreeMap<ReleaseNumber, ObservedRelease>,
    /// The ports that a host name of the service leads to.
    pub routes: Vec<u16>,
    /// Those of them that all of its host names lead to.
    pub whole_routes: Vec<u16>,
    /// The host names that are not the service's, or no longer, and lead to one of its ports all the same.
    pub strays: Vec<(HostName, u16)>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write the release's Quadlet file.
    Write(ReleaseNumber),
    /// Let the release start at boot.
    SetLive(ReleaseNumber),
    /// Let it no longer.
    ClearLive(ReleaseNumber),
    /// Let systemd read the files again.
    Reload,
    /// Start the release's unit.
    Start(ReleaseNumber),
    /// Lead the service's host names to this port.
    Route(u16),
    /// Wait until the proxy sees the new route beside the old.
    Settle,
    /// Lead them to this port no longer.
    Unroute(u16),
    /// Lead a host name that is not the service's to this port no longer.
    Withdraw(HostName, u16),
    /// Let the old releases answer what they have begun.
    Drain,
    /// Stop the release's unit.
    Stop(ReleaseNumber),
    /// Let systemd forget that the unit failed.
    ResetFailed(ReleaseNumber),
    /// Remove the release's file, container and image, then its row.
    Discard(ReleaseNumber),
}

/// The steps that end what runs of a service, so that `release` can be started which must not run beside another. Until it
/// has the traffic that leads to what was stopped, and no host name to another service's port: the release keeps its own.
#[must_use]
pub fn make_way(release: ReleaseNumber, observed: &ObservedState) -> Vec<Step> {
    let others = observed.releases.iter().filter(|(number, seen)| **number != release && seen.running);
    others.map(|(number, _)| Step::Stop(*number)).collect()
}

/// The steps from `observed` to `wanted`. Where nothing is to be done the list is empty.
#[must_use]
pub fn plan(wanted: &DesiredState, observed: &ObservedState) -> Vec<Step> {
    let mut steps = Vec::new();
    let seen = |number| observed.releases.get(&number).copied().unwrap_or_default();
    let others = || observed.releases.iter().filter(|(number, _)| Some(**number) != wanted.current);
    let mut changed = false;
    let mut made_way = false;

    if let Some(current) = wanted.current {
        let now = seen(current);
        // A boot starts all that are live, at once.
        let stale: Vec<_> = others().filter(|(_, seen)| wanted.alone && seen.live).map(|(number, _)| *number).collect();
        steps.extend(stale.iter().map(|number| Step::ClearLive(*number)));
        if !now.file {
            steps.push(Step::Write(current));
        }
        if !now.live {
            steps.push(Step::SetLive(current));
        }
        if !now.file || !now.live || !stale.is_empty() {
            steps.push(Step::Reload);
        }
        if wanted.start && !now.running {
            if wanted.alone {
                steps.extend(make_way(current, observed));
                made_way = true;
            }
            steps.push(Step::Start(current));
        }
    }

    let port = wanted.current.and_then(|current| wanted.kept.get(&current).copied().flatten());
    let stale: Vec<u16> = observed.routes.iter().copied().filter(|routed| Some(*routed) != port).collect();
    if let Some(port) = port
        && !observed.whole_routes.contains(&port)
    {
        steps.push(Step::Route(port));
        if !stale.is_empty() {
            steps.push(Step::Settle);
        }
    }
    steps.extend(stale.iter().map(|port| Step::Unroute(*port)));
    // Another release will have the port one day.
    steps.extend(observed.strays.iter().map(|(host, port)| Step::Withdraw(host.clone(), *port)));

    if wanted.current.is_some() && !made_way && others().any(|(_, seen)| seen.running) {
        steps.push(Step::Drain);
    }
    if wanted.current.is_none() {
        // A service that is stopped must not come back at the boot that may follow at once.
        for (number, _) in others().filter(|(_, seen)| seen.live) {
            steps.push(Step::ClearLive(*number));
            changed = true;
        }
    }
    for (number, seen) in others() {
        if seen.running {
            if !made_way {
                steps.push(Step::Stop(*number));
            }
        } else if seen.failed {
            steps.push(Step::ResetFailed(*number));
        }
    }
    if wanted.current.is_some() && !wanted.alone {
        for (number, _) in others().filter(|(_, seen)| seen.live) {
            steps.push(Step::ClearLive(*number));
            changed = true;
        }
    }

    // A release without a row is what a deployment left that was cut off; one that is pruned is no longer kept.
    let unknown = others().map(|(number, _)| *number).filter(|number| !wanted.kept.contains_key(number));
    let gone: std::collections::BTreeSet<_> = unknown.chain(wanted.pruned.keys().copied()).collect();
    changed |= gone.iter().any(|number| seen(*number).file);
    steps.extend(gone.into_iter().map(Step::Discard));
    if changed {
        steps.push(Step::Reload);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: ReleaseNumber = ReleaseNumber(1);
    const NEW: ReleaseNumber = ReleaseNumber(2);
    const RUNS: ObservedRelease = ObservedRelease { file: true, live: true, running: true, failed: false };
    const BESIDE: ObservedRelease = ObservedRelease { live: false, ..RUNS };

    fn wanted(current: Option<ReleaseNumber>) -> DesiredState {
        DesiredState {
            current,
            start: true,
            alone: false,
            kept: [(OLD, Some(20_001)), (NEW, Some(20_002))].into(),
            pruned: BTreeMap::new(),
        }
    }

    fn observed(releases: &[(ReleaseNumber, ObservedRelease)], routes: &[u16]) -> ObservedState {
        let releases = releases.iter().copied().collect();
        ObservedState { releases, routes: routes.to_vec(), whole_routes: routes.to_vec(), strays: Vec::new() }
    }

    /// What the host shows after a step.
    fn apply(observed: &mut ObservedState, step: &Step) {
        match step {
            Step::Write(n) => observed.releases.entry(*n).or_default().file = true,
            Step::SetLive(n) => observed.releases.entry(*n).or_default().live = true,
            Step::ClearLive(n) => observed.releases.entry(*n).or_default().live = false,
            Step::Start(n) => observed.releases.entry(*n).or_default().running = true,
            Step::Stop(n) => observed.releases.entry(*n).or_default().running = false,
            Step::ResetFailed(n) => observed.releases.entry(*n).or_default().failed = false,
            Step::Discard(n) => drop(observed.releases.remove(n)),
            Step::Route(port) => {
                observed.routes.push(*port);
                observed.whole_routes.push(*port);
            }
            Step::Unroute(port) => {
                observed.routes.retain(|routed| routed != port);
                observed.whole_routes.retain(|routed| routed != port);
            }
            Step::Withdraw(host, port) => observed.strays.retain(|stray| (&stray.0, &stray.1) != (host, port)),
            Step::Reload | Step::Settle | Step::Drain => {}
        }
    }

    /// Nothing is left to do, but to discard the pruned whose rows this model keeps.
    fn arrived(wanted: &DesiredState, observed: &ObservedState) -> bool {
        let again = plan(wanted, observed);
        again.iter().all(|step| matches!(step, Step::Discard(number) if wanted.pruned.contains_key(number)))
    }

    /// Whether a step left the traffic where it is answered: a release gets it only once it runs and boots, and is
    /// stopped, kept from the boot or removed only once it has it no longer.
    fn is_safe(wanted: &DesiredState, step: &Step, after: &ObservedState) -> bool {
        let mut releases = wanted.kept.iter().chain(&wanted.pruned);
        match step {
            Step::Route(port) => releases.any(|(number, of)| {
                *of == Some(*port)
                    && after.releases.get(number).is_some_and(|seen| seen.file && seen.live && seen.running)
            }),
            // What must not run beside another leaves a moment in which nobody answers.
            Step::Stop(_) | Step::ClearLive(_) if wanted.alone && wanted.start => true,
            Step::Stop(number) | Step::ClearLive(number) | Step::Discard(number) => {
                releases.all(|(other, port)| other != number || port.is_none_or(|port| !after.routes.contains(&port)))
            }
            Step::Unroute(port) => {
                let current = wanted.current.and_then(|current| wanted.kept.get(&current)?.as_ref());
                current.is_none_or(|current| current != port && after.routes.contains(current))
            }
            Step::Start(number) if wanted.alone => {
                after.releases.iter().all(|(other, seen)| other == number || !seen.running)
            }
            Step::SetLive(number) if wanted.alone => {
                after.releases.iter().all(|(other, seen)| other == number || !seen.live)
            }
            _ => true,
        }
    }

    #[test]
    fn a_switch_overlaps_the_routes_and_drains_before_it_stops() {
        let seen = observed(&[(OLD, RUNS), (NEW, BESIDE)], &[20_001]);
        assert_eq!(
            plan(&wanted(Some(NEW)), &seen),
            [
                Step::SetLive(NEW),
                Step::Reload,
                Step::Route(20_002),
                Step::Settle,
                Step::Unroute(20_001),
                Step::Drain,
                Step::Stop(OLD),
                Step::ClearLive(OLD),
                Step::Reload,
            ]
        );
    }

    #[test]
    fn a_host_name_that_came_later_is_routed_too() {
        let seen = ObservedState { whole_routes: Vec::new(), ..observed(&[(OLD, RUNS)], &[20_001]) };
        assert_eq!(plan(&wanted(Some(OLD)), &seen), [Step::Route(20_001)]);
    }

    #[test]
    fn a_host_name_that_was_taken_away_leads_nowhere() {
        let strays = vec![("old.localhost".parse().unwrap(), 20_001)];
        let mut seen = ObservedState { strays, ..observed(&[(OLD, RUNS)], &[20_001]) };
        let steps = plan(&wanted(Some(OLD)), &seen);
        assert_eq!(steps, [Step::Withdraw("old.localhost".parse().unwrap(), 20_001)]);
        apply(&mut seen, &steps[0]);
        assert!(arrived(&wanted(Some(OLD)), &seen));
    }

    #[test]
    fn a_stop_takes_the_route_and_the_boot_before_the_unit() {
        let seen = observed(&[(OLD, RUNS)], &[20_001]);
        assert_eq!(
            plan(&wanted(None), &seen),
            [Step::Unroute(20_001), Step::ClearLive(OLD), Step::Stop(OLD), Step::Reload]
        );
    }

    #[test]
    fn what_an_administrator_stopped_stays_stopped() {
        let seen = observed(&[(OLD, ObservedRelease { running: false, ..RUNS })], &[20_001]);
        assert_eq!(plan(&DesiredState { start: false, ..wanted(Some(OLD)) }, &seen), []);
    }

    #[test]
    fn what_must_not_run_beside_another_starts_when_that_has_stopped() {
        let seen = observed(&[(OLD, RUNS), (NEW, ObservedRelease { running: false, ..BESIDE })], &[20_001]);
        assert_eq!(make_way(NEW, &seen), [Step::Stop(OLD)]);
        assert_eq!(make_way(OLD, &seen), []);
        // A host that was started anew in the middle of a switch.
        assert_eq!(
            plan(&DesiredState { alone: true, ..wanted(Some(NEW)) }, &seen),
            [
                Step::ClearLive(OLD),
                Step::SetLive(NEW),
                Step::Reload,
                Step::Stop(OLD),
                Step::Start(NEW),
                Step::Route(20_002),
                Step::Settle,
                Step::Unroute(20_001),
            ]
        );
    }

    #[test]
    fn what_has_no_address_has_no_route() {
        let goal = DesiredState { kept: [(OLD, Some(20_001)), (NEW, None)].into(), ..wanted(Some(NEW)) };
        let steps = plan(&goal, &observed(&[(OLD, RUNS), (NEW, RUNS)], &[20_001]));
        assert_eq!(steps, [Step::Unroute(20_001), Step::Drain, Step::Stop(OLD), Step::ClearLive(OLD), Step::Reload]);
    }

    /// Walks every combination of what the host may show, and for each plan every prefix of it, as if the agent had
    /// died there: the invariants hold at each step, and planning again ends where planning once does.
    #[test]
    fn every_cut_is_safe_and_every_plan_arrives() {
        let mut shapes = Vec::new();
        for bits in 0..16_u8 {
            let bit = |index: u8| bits & (1 << index) != 0;
            shapes.push(ObservedRelease {
                file: bit(0),
                live: bit(1) && bit(0),
                running: bit(2),
                failed: bit(3) && !bit(2),
            });
        }
        let routings: [&[u16]; 5] = [&[], &[20_001], &[20_002], &[20_001, 20_002], &[29_999]];
        let mut pruning = wanted(Some(NEW));
        pruning.pruned = std::mem::take(&mut pruning.kept);
        pruning.kept = pruning.pruned.split_off(&NEW);
        let mut plans = 0;
        let alone = |goal: DesiredState| DesiredState { alone: true, ..goal };
        let unrouted = |mut goal: DesiredState| {
            goal.kept.values_mut().for_each(|port| *port = None);
            goal
        };
        let goals = [
            wanted(None),
            wanted(Some(OLD)),
            wanted(Some(NEW)),
            pruning.clone(),
            alone(wanted(None)),
            alone(wanted(Some(OLD))),
            alone(wanted(Some(NEW))),
            alone(pruning),
            unrouted(wanted(Some(NEW))),
        ];
        for goal in &goals {
            for old in &shapes {
                for new in &shapes {
                    for routes in routings {
                        let mut state = observed(&[(OLD, *old), (NEW, *new)], routes);
                        let steps = plan(goal, &state);
                        for step in &steps {
                            apply(&mut state, step);
                            assert!(is_safe(goal, step, &state), "{goal:?}\n{steps:?}\nat {step:?}: {state:?}");
                            let mut cut = state.clone();
                            for step in plan(goal, &cut) {
                                apply(&mut cut, &step);
                            }
                            assert!(arrived(goal, &cut), "planning again after {step:?} does not arrive: {cut:?}");
                        }
                        assert!(arrived(goal, &state), "{goal:?}\n{steps:?}\nends at {state:?}");
                        plans += 1;
                    }
                }
            }
        }
        assert_eq!(plans, goals.len() * 16 * 16 * 5);
    }

    /// The same for a deployment whose release takes another's place alone: wherever it is cut while that makes way, the old
    /// release can be had again, and never do two run that did not before.
    #[test]
    fn every_cut_of_making_way_can_be_undone() {
        for bits in 0..4_u8 {
            let release = |running| ObservedRelease { running, ..RUNS };
            let mut state = observed(&[(OLD, release(bits & 1 != 0)), (NEW, release(bits & 2 != 0))], &[20_001]);
            let steps = make_way(NEW, &state);
            for cut in 0..=steps.len() {
                let mut undone = state.clone();
                for step in &steps[..cut] {
                    apply(&mut undone, step);
                }
                let goal = DesiredState { alone: true, ..wanted(Some(OLD)) };
                for step in plan(&goal, &undone) {
                    apply(&mut undone, &step);
                    assert!(is_safe(&goal, &step, &undone), "{step:?}: {undone:?}");
                }
                assert!(arrived(&goal, &undone) && undone.releases[&OLD].running, "{undone:?}");
            }
            steps.iter().for_each(|step| apply(&mut state, step));
            assert!(!state.releases[&OLD].running && state.routes == [20_001]);
        }
    }
}
