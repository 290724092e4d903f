//! A release's units, files, containers and image.

use super::HostVolume;
use crate::names::{ReleaseName, ServiceName, VolumeName};

/// What all images begin with that are built here.
const IMAGES: &str = "localhost/podkeeper/";
/// What the units of health checks begin with. No service has a name that begins so.
const CHECKS: &str = "podkeeper-check-";

impl ReleaseName {
    /// The pattern of the units of all releases, among those of others (glob(7)).
    pub const UNITS: &str = "*@*.service";

    /// `blog@41`, by which the unit, the Quadlet file and what the unit prints are called.
    #[must_use]
    pub fn instance(&self) -> String {
        format!("{}@{}", self.service, self.number)
    }

    fn of_instance(name: &str) -> Option<Self> {
        let (service, number) = name.split_once('@')?;
        Some(Self { service: service.parse().ok()?, number: number.parse().ok()? })
    }

    /// `blog@41.service`.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("{}.service", self.instance())
    }

    /// The release whose unit is named `unit`, where it is one.
    #[must_use]
    pub fn of_unit(unit: &str) -> Option<Self> {
        Self::of_instance(unit.strip_suffix(".service")?)
    }

    /// `podkeeper-check-blog-41.service`, which runs its health check once.
    #[must_use]
    pub fn check_service(&self) -> String {
        format!("{CHECKS}{}.service", self.container())
    }

    /// `podkeeper-check-blog-41.timer`, which starts that again and again.
    #[must_use]
    pub fn check_timer(&self) -> String {
        format!("{CHECKS}{}.timer", self.container())
    }

    /// `podkeeper-listening-blog-41.service`, which looks at what it listens on.
    #[must_use]
    pub fn listening_unit(&self) -> String {
        format!("podkeeper-listening-{}.service", self.container())
    }

    /// The release whose health check the unit named `unit` runs, where it is one.
    #[must_use]
    pub fn of_check(unit: &str) -> Option<Self> {
        Self::of_container(unit.strip_prefix(CHECKS)?.strip_suffix(".service")?)
    }

    /// `blog@41.container`, the Quadlet file.
    #[must_use]
    pub fn quadlet_file(&self) -> String {
        format!("{}.container", self.instance())
    }

    /// The release whose Quadlet file is named `file`, where it is one.
    #[must_use]
    pub fn of_quadlet_file(file: &str) -> Option<Self> {
        Self::of_instance(file.strip_suffix(".container")?)
    }

    /// `blog@41.container.d`, the folder of the Quadlet file's drop-ins.
    #[must_use]
    pub fn drop_ins(&self) -> String {
        format!("{}.d", self.quadlet_file())
    }

    /// `blog-41`, the container.
    #[must_use]
    pub fn container(&self) -> String {
        format!("{}-{}", self.service, self.number)
    }

    /// The release whose container is named `name`, where it is one.
    #[must_use]
    pub fn of_container(name: &str) -> Option<Self> {
        let (service, number) = name.rsplit_once('-')?;
        Some(Self { service: service.parse().ok()?, number: number.parse().ok()? })
    }

    /// `blog-41-prepare`, the container that stands for the image while that is copied. It is no release's.
    #[must_use]
    pub fn preparing_container(&self) -> String {
        format!("{}-prepare", self.container())
    }

    /// `localhost/podkeeper/blog:41`, the image that was built for it.
    #[must_use]
    pub fn image(&self) -> String {
        format!("{}:{}", self.service.images(), self.number)
    }

    /// The release that the image `reference` was built for, where it is one.
    #[must_use]
    pub fn of_image(reference: &str) -> Option<Self> {
        let (service, number) = reference.strip_prefix(IMAGES)?.split_once(':')?;
        Some(Self { service: service.parse().ok()?, number: number.parse().ok()? })
    }

    /// `blog.data`, the Podman volume behind one of the service's names for it.
    #[must_use]
    pub fn volume(&self, name: &VolumeName) -> HostVolume {
        HostVolume::of(&self.service, name)
    }
}

impl ServiceName {
    /// `localhost/podkeeper/blog`, the images of all of its releases.
    #[must_use]
    pub fn images(&self) -> String {
        format!("{IMAGES}{self}")
    }

    /// Whether the image `reference` is one of these, be it no release's.
    #[must_use]
    pub fn has_image(&self, reference: &str) -> bool {
        reference.strip_prefix(&self.images()).is_some_and(|tag| tag.starts_with(':'))
    }

    /// `podkeeper-check-blog`, by which its health checks are called in the journal.
    #[must_use]
    pub fn check_identifier(&self) -> String {
        format!("{CHECKS}{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ReleaseNumber;

    fn release() -> ReleaseName {
        ReleaseName::new(&"my-blog".parse().unwrap(), ReleaseNumber(41))
    }

    #[test]
    fn a_unit_belongs_to_one_release() {
        assert_eq!(release().unit(), "my-blog@41.service");
        assert_eq!(ReleaseName::of_unit(&release().unit()), Some(release()));
        for other in ["blog.service", "blog@.service", "blog@x.service", "blog@1.socket", "-.slice", "Blog@1.service"] {
            assert_eq!(ReleaseName::of_unit(other), None, "{other}");
        }
    }

    #[test]
    fn a_health_checks_unit_belongs_to_one_release_and_a_timer_runs_none() {
        assert_eq!(release().check_service(), "podkeeper-check-my-blog-41.service");
        assert_eq!(ReleaseName::of_check(&release().check_service()), Some(release()));
        assert_eq!(release().check_timer(), "podkeeper-check-my-blog-41.timer");
        for other in [&release().check_timer(), &release().unit(), "podkeeper-check-x.service", "blog-41.service"] {
            assert_eq!(ReleaseName::of_check(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_belongs_to_one_release() {
        assert_eq!(release().quadlet_file(), "my-blog@41.container");
        assert_eq!(ReleaseName::of_quadlet_file(&release().quadlet_file()), Some(release()));
        assert_eq!(release().drop_ins(), "my-blog@41.container.d");
        for other in [&release().drop_ins(), "my-blog@41.part", "my-blog.container", &release().unit()] {
            assert_eq!(ReleaseName::of_quadlet_file(other), None, "{other}");
        }
    }

    #[test]
    fn a_container_belongs_to_one_release() {
        assert_eq!(release().container(), "my-blog-41");
        assert_eq!(ReleaseName::of_container(&release().container()), Some(release()));
        for other in ["postgres", "my-blog-x", &release().preparing_container()] {
            assert_eq!(ReleaseName::of_container(other), None, "{other}");
        }
    }

    #[test]
    fn an_image_belongs_to_one_release() {
        assert_eq!(release().image(), "localhost/podkeeper/my-blog:41");
        assert_eq!(ReleaseName::of_image(&release().image()), Some(release()));
        for other in ["docker.io/my-blog:41", "localhost/podkeeper/my-blog", "localhost/podkeeper/my-blog:x"] {
            assert_eq!(ReleaseName::of_image(other), None, "{other}");
        }
        let service = release().service;
        assert!(service.has_image(&release().image()) && service.has_image("localhost/podkeeper/my-blog:x"));
        assert!(
            !service.has_image("localhost/podkeeper/my-blog-2:41") && !service.has_image("localhost/podkeeper/my-blog")
        );
    }
}
