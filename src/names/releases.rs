//! Deployments and releases.

use super::ServiceName;
use super::text::number_name;

number_name! {
    /// A deployment's number, unique on the host, counted from 1.
    DeploymentId(i64)
}
number_name! {
    /// A release's number within its service, counted from 1 and never used again.
    ReleaseNumber(u32)
}

/// A release of a service; it names the unit, the Quadlet file, the container and the image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseName {
    /// The service.
    pub service: ServiceName,
    /// The release's number.
    pub number: ReleaseNumber,
}

impl ReleaseName {
    /// The release `number` of `service`.
    #[must_use]
    pub fn new(service: &ServiceName, number: ReleaseNumber) -> Self {
        Self { service: service.clone(), number }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::check;
    use super::*;

    #[test]
    fn numbers() {
        check::<ReleaseNumber>(&["1", "41"], &["", "0", "-1", "+1", "01", "4294967296", "x"]);
        for (number, good) in [("41", true), ("0", false), ("-1", false), ("4294967296", false)] {
            assert_eq!(serde_json::from_str::<ReleaseNumber>(number).is_ok(), good, "{number}");
        }
    }
}
