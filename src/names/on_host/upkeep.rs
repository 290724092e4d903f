//! Units that are called after nothing of ours, or that others call.

use crate::names::ContainerId;

/// The unit that removes caches of builds which are too old or too many.
pub const TIDY_UNIT: &str = "podkeeper-tidy.service";
/// The unit that measures what caches and repositories take.
pub const MEASURE_UNIT: &str = "podkeeper-measure.service";

/// `user@999.service`, the manager of the user `uid` (user@.service(5)).
#[must_use]
pub fn user_manager(uid: impl std::fmt::Display) -> String {
    format!("user@{uid}.service")
}

/// Whether this is what buildah calls the container in which it builds, `debian-working-container`, with a number behind it
/// where there is one already (buildah-from(1), `--name`).
#[must_use]
pub fn is_working_container(name: &str) -> bool {
    name.contains("working-container")
}

/// The id of the container whose health check a unit of Podman's own runs, as one does of a release that is older than
/// the units that [`crate::names::ReleaseName::check_service`] names: it is named after the id, and something behind a `-`
/// (podman-healthcheck-run(1)).
#[must_use]
pub fn checked_container(unit: &str) -> Option<ContainerId> {
    let name = unit.strip_suffix(".service")?;
    name.split_once('-').map_or(name, |(id, _)| id).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_working_container_is_buildahs() {
        for (name, is) in [("debian-working-container", true), ("x-working-container-2", true), ("blog-41", false)] {
            assert_eq!(is_working_container(name), is, "{name}");
        }
    }

    #[test]
    fn a_check_of_podmans_own_is_of_one_container() {
        let id = "0123456789abcdef".repeat(4);
        for check in [format!("{id}.service"), format!("{id}-4a6f.service"), format!("{id}-startup-4a6f.service")] {
            assert_eq!(checked_container(&check).unwrap().as_str(), id, "{check}");
        }
        for other in [format!("{id}-4a6f.timer"), format!("{id}0.service"), "blog@1.service".into()] {
            assert_eq!(checked_container(&other), None, "{other}");
        }
    }
}
