//! Deployments and releases.

use super::text::number_name;
use super::{ServiceName, VolumeName};

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
    /// The release whose health check the unit named `unit` runs, where it is one.
    #[must_use]
    pub fn of_check(unit: &str) -> Option<Self> {
        Self::of_container(unit.strip_prefix("podkeeper-check-")?.strip_suffix(".service")?)
    }
    /// The release whose container is named `name`, where it is one.
    #[must_use]
    pub fn of_container(name: &str) -> Option<Self> {
        let (service, number) = name.rsplit_once('-')?;
        Some(Self { service: service.parse().ok()?, number: number.parse().ok()? })
    }
    /// `blog@41.service`.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("{}@{}.service", self.service, self.number)
    }
    /// `podkeeper-check-blog-41.service`, which runs its health check once. No service has a name that begins so.
    #[must_use]
    pub fn check_service(&self) -> String {
        format!("podkeeper-check-{}.service", self.container())
    }
    /// `podkeeper-check-blog-41.timer`, which starts that again and again.
    #[must_use]
    pub fn check_timer(&self) -> String {
        format!("podkeeper-check-{}.timer", self.container())
    }
    /// `blog@41.container`, the Quadlet file.
    #[must_use]
    pub fn quadlet_file(&self) -> String {
        format!("{}@{}.container", self.service, self.number)
    }
    /// `blog-41`, the container.
    #[must_use]
    pub fn container(&self) -> String {
        format!("{}-{}", self.service, self.number)
    }
    /// `blog.data`, the Podman volume behind one of the service's names for it. The dot, which no service's name holds,
    /// keeps `blog`'s `api-data` and `blog-api`'s `data` apart.
    #[must_use]
    pub fn volume(&self, name: &VolumeName) -> String {
        format!("{}.{name}", self.service)
    }
    /// `localhost/podkeeper/blog:41`, the image that was built for it.
    #[must_use]
    pub fn image(&self) -> String {
        format!("localhost/podkeeper/{}:{}", self.service, self.number)
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

    #[test]
    fn a_container_belongs_to_one_release() {
        let release = ReleaseName::new(&"my-blog".parse().unwrap(), ReleaseNumber(41));
        assert_eq!(ReleaseName::of_container(&release.container()), Some(release));
        assert_eq!(ReleaseName::of_container("postgres"), None);
        assert_eq!(ReleaseName::of_container("my-blog-x"), None);
    }
}
