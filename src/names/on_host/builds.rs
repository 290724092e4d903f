//! A build's unit and slice, and what it is called in the journal.

use super::between;
use crate::names::DeploymentId;

/// What they begin with. No service has a name that begins so.
const BUILDS: &str = "build-";

impl DeploymentId {
    /// The pattern of the units of all builds (glob(7)).
    pub const BUILD_UNITS: &str = "build-*.service";

    /// `build-12`, by which what the build prints is called in the journal.
    #[must_use]
    pub fn build(self) -> String {
        format!("{BUILDS}{self}")
    }

    /// The deployment whose build is called `name` in the journal, where it is one.
    #[must_use]
    pub fn of_build(name: &str) -> Option<Self> {
        between(name, BUILDS, "")
    }

    /// `build-12.service`.
    #[must_use]
    pub fn build_unit(self) -> String {
        format!("{}.service", self.build())
    }

    /// The deployment whose build is in the unit named `unit`, where it is one.
    #[must_use]
    pub fn of_build_unit(unit: &str) -> Option<Self> {
        between(unit, BUILDS, ".service")
    }

    /// `build-12.slice`.
    #[must_use]
    pub fn build_slice(self) -> String {
        format!("{}.slice", self.build())
    }

    /// `podkeeper-clear-12.service`, which removes what the build left.
    #[must_use]
    pub fn clearing_unit(self) -> String {
        format!("podkeeper-clear-{self}.service")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_belongs_to_one_deployment() {
        let id = DeploymentId(12);
        assert_eq!(
            (id.build(), id.build_unit(), id.build_slice()),
            ("build-12".into(), "build-12.service".into(), "build-12.slice".into())
        );
        assert_eq!(DeploymentId::of_build(&id.build()), Some(id));
        assert_eq!(DeploymentId::of_build_unit(&id.build_unit()), Some(id));
        for other in ["build-.service", "build-x.service", "build-012.service", &id.build_slice(), &id.clearing_unit()]
        {
            assert_eq!(DeploymentId::of_build_unit(other), None, "{other}");
            assert_eq!(DeploymentId::of_build(other), None, "{other}");
        }
    }
}
