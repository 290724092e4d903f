//! Images: what they say of themselves, their names, and their copies in a service's ids.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::raw::{Body, segment};
use super::{Podman, PodmanError, Refusal};
use crate::names::{IdRange, ImageId, MountError, MountPath, PORT_LABEL, ReleaseName, ServiceName};

/// What an image says of itself, as far as it concerns what runs it. Whoever made the image may have written anything there;
/// what can't be meant is refused or passed over here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its id.
    pub id: ImageId,
    /// Whether it has a HEALTHCHECK that isn't NONE.
    pub has_healthcheck: bool,
    /// How long to wait between two runs of it, where it says so.
    pub health_interval: Option<Duration>,
    /// How long one run of it may take, where it says so.
    pub health_timeout: Option<Duration>,
    /// The first port that its own instructions EXPOSE, where our build has read one.
    pub port: Option<u16>,
    /// The TCP ports that it EXPOSEs, ascending, and of a range the first; a port that there can't be is none.
    pub ports: Vec<u16>,
    /// The paths that it declares with VOLUME; where one can't be, no container of it can be run as a service.
    pub volumes: Result<Vec<MountPath>, MountError>,
    /// The architecture that it is for, such as `amd64`.
    pub architecture: String,
    /// What it runs: its entrypoint and what follows that, which is looked at and goes nowhere else.
    pub command: Vec<String>,
    /// Its environment, which is shown and looked at, and goes nowhere else.
    pub env: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspect {
    id: ImageId,
    #[serde(default)]
    config: Option<InspectConfig>,
    #[serde(default)]
    healthcheck: Option<Healthcheck>,
    #[serde(default)]
    architecture: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct InspectConfig {
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    healthcheck: Option<Healthcheck>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Healthcheck {
    #[serde(default)]
    test: Vec<String>,
    /// In nanoseconds; 0 says nothing.
    #[serde(default)]
    interval: i64,
    #[serde(default)]
    timeout: i64,
}

/// An image in Podman's list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: ImageId,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    containers: i64,
}

/// An image in Podman's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Its id.
    pub id: ImageId,
    /// Its names; there may be none.
    pub names: Vec<String>,
    /// Whether a container is made of it, be it Podman's or a build's.
    pub has_containers: bool,
}

impl ImageFacts {
    /// Reads what Podman answers to an inspection.
    pub fn read(answer: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(answer).map(Inspect::facts)
    }
}

impl Inspect {
    fn facts(self) -> ImageFacts {
        let config = self.config.unwrap_or_default();
        let check = self.healthcheck.or(config.healthcheck);
        let check = check.filter(|check| check.test.first().is_some_and(|word| word != "NONE"));
        let port = config.labels.as_ref().and_then(|labels| labels.get(PORT_LABEL)?.parse().ok());
        let mut ports: Vec<u16> = config
            .exposed_ports
            .unwrap_or_default()
            .keys()
            .map(|port| port.split_once('/').unwrap_or((port, "tcp")))
            .filter_map(|(ports, kind)| ports.split('-').next().filter(|_| kind == "tcp")?.parse().ok())
            .filter(|port| *port > 0)
            .collect();
        ports.sort_unstable();
        let said = |nanos: i64| (nanos != 0).then(|| Duration::from_nanos(u64::try_from(nanos).unwrap_or_default()));
        let pair = |line: &String| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        // What the kernel shows there Podman mounts itself, whatever an image says of it.
        let volumes = config.volumes.unwrap_or_default().into_keys().filter(|path| !MountPath::is_kernels(path));
        ImageFacts {
            id: self.id,
            has_healthcheck: check.is_some(),
            health_interval: check.as_ref().and_then(|check| said(check.interval)),
            health_timeout: check.as_ref().and_then(|check| said(check.timeout)),
            port: port.filter(|port| ports.contains(port)),
            ports,
            volumes: volumes.map(MountPath::try_from).collect(),
            architecture: self.architecture,
            command: [config.entrypoint, config.cmd].into_iter().flatten().flatten().collect(),
            env: config.env.unwrap_or_default().iter().filter_map(pair).collect(),
        }
    }
}

/// How often a copy into other ids is tried.
const SHIFTS: u32 = 10;

impl Podman {
    /// What the image `reference` says of itself; none where there is no such image.
    pub async fn image(&self, reference: &str) -> Result<Option<ImageFacts>, PodmanError> {
        let what = "inspect the image";
        let path = format!("/libpod/images/{}/json", segment(reference));
        match self.raw(what, Method::GET, &path, Body::None).await {
            Ok(body) => ImageFacts::read(&body).map(Some).map_err(|source| PodmanError::Answer { what, source }),
            Err(PodmanError::Refused { why: Refusal::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The releases of a service that have an image.
    pub async fn images(&self, service: &ServiceName) -> Result<Vec<ReleaseName>, PodmanError> {
        let names = self.listed().await?.into_iter().flat_map(|image| image.names.unwrap_or_default());
        let releases = names.filter_map(|name| ReleaseName::of_image(&name));
        Ok(releases.filter(|release| release.service == *service).collect())
    }

    /// The references that begin with `prefix`.
    pub async fn images_named(&self, prefix: &str) -> Result<Vec<String>, PodmanError> {
        let names = self.listed().await?.into_iter().flat_map(|image| image.names.unwrap_or_default());
        Ok(names.filter(|name| name.starts_with(prefix)).collect())
    }

    /// The ids of a service's images.
    pub async fn image_ids(&self, service: &ServiceName) -> Result<Vec<ImageId>, PodmanError> {
        let mut all = self.listed().await?;
        all.retain(|image| image.names.iter().flatten().any(|name| service.has_image(name)));
        Ok(all.into_iter().map(|image| image.id).collect())
    }

    /// All images but those that only others are made of.
    pub async fn stored_images(&self) -> Result<Vec<StoredImage>, PodmanError> {
        let stored = |image: Listed| StoredImage {
            id: image.id,
            names: image.names.unwrap_or_default(),
            // What can't be counted is -1.
            has_containers: image.containers != 0,
        };
        Ok(self.listed().await?.into_iter().map(stored).collect())
    }

    async fn listed(&self) -> Result<Vec<Listed>, PodmanError> {
        let what = "list the images";
        let body = self.raw(what, Method::GET, "/libpod/images/json", Body::None).await?;
        serde_json::from_slice(&body).map_err(|source| PodmanError::Answer { what, source })
    }

    /// Takes the name `reference` from its image, and removes the image with its last name.
    pub async fn remove_image(&self, reference: &str) -> Result<(), PodmanError> {
        self.delete("remove the image", &format!("/libpod/images/{}", segment(reference))).await
    }

    /// Gives the image `from` the name of `release`, too.
    pub async fn tag(&self, from: &str, release: &ReleaseName) -> Result<(), PodmanError> {
        let repository = release.service.images();
        let path = format!("/libpod/images/{}/tag?repo={}&tag={}", segment(from), segment(&repository), release.number);
        self.raw("name the image", Method::POST, &path, Body::None).await.map(drop)
    }

    /// Copies the image into `ids` now. Podman does it when the first container under that mapping is made, which would
    /// else fall into the release's start. The container is named after the release, and removed at once.
    pub async fn shift_image(&self, release: &ReleaseName, image: &str, ids: IdRange) -> Result<(), PodmanError> {
        let name = release.preparing_container();
        let map = json!([{ "container_id": 0, "host_id": ids.base, "size": IdRange::SIZE }]);
        let spec = json!({
            "name": name,
            "image": image,
            "userns": { "nsmode": "private" },
            "idmappings": { "HostUIDMapping": false, "HostGIDMapping": false, "UIDMap": map, "GIDMap": map },
        });
        let mut tries = SHIFTS;
        loop {
            self.remove_container(&name).await?;
            match self.raw("prepare the image", Method::POST, "/libpod/containers/create", Body::Json(&spec)).await {
                Ok(_) => return self.remove_container(&name).await,
                // What an agent that died had asked for goes on in Podman, and comes to a container of this name.
                Err(PodmanError::Refused { why: Refusal::NameInUse, .. }) if tries > 0 => {
                    tries -= 1;
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes what a [`Podman::shift_image`] that was cut off left.
    pub async fn forget_shift(&self, release: &ReleaseName) -> Result<(), PodmanError> {
        self.remove_container(&release.preparing_container()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inspection_is_read_as_podman_writes_it() {
        let text = r#"{"Id":"abc","Config":{"ExposedPorts":{"8080/tcp":{},"53/udp":{},"80/tcp":{}},
            "Env":["A=b=c","PATH=/bin"],"Volumes":{"/data/":{}},"Labels":{"x":"y","podkeeper.port":"8080"}},
            "HealthCheck":null,"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":30000000000,"Timeout":-1}}"#;
        let facts = |text: &str| ImageFacts::read(text.replace("abc", &"abc0".repeat(16)).as_bytes()).unwrap();
        let fine = facts(text);
        assert_eq!((fine.ports, fine.port, fine.has_healthcheck), (vec![80, 8080], Some(8080), true));
        let times = (fine.health_interval, fine.health_timeout);
        assert_eq!(times, (Some(Duration::from_secs(30)), Some(Duration::ZERO)));
        assert_eq!(fine.env[0], ("A".into(), "b=c".into()));
        assert_eq!(fine.volumes.unwrap(), ["/data".parse().unwrap()]);
        let none = r#"{"Id":"abc","Config":null,"Healthcheck":{"Test":["NONE"]}}"#;
        assert!(!facts(none).has_healthcheck);
        let odd = r#"{"Id":"abc","Config":{"ExposedPorts":{"0/tcp":{},"70000":{},"x\n":{},"9/sctp":{}}}}"#;
        assert!(facts(odd).ports.is_empty());
        for label in ["", "443", "x"] {
            let other = format!(
                r#"{{"Id":"abc","Config":{{"ExposedPorts":{{"80/tcp":{{}}}},"Labels":{{"podkeeper.port":"{label}"}}}}}}"#
            );
            assert_eq!(
                (facts(&other).port, facts(&other).ports),
                (None, vec![80]),
                "it is none that the image EXPOSEs"
            );
        }
        let range = r#"{"Id":"abc","Config":{"ExposedPorts":{"7000-7003/tcp":{},"6000-6001/udp":{}}}}"#;
        assert_eq!(facts(range).ports, [7000]);
        let evil = r#"{"Id":"abc","Config":{"Volumes":{"/d\n[Service]\nExecStartPre=/bin/true":{}}}}"#;
        assert!(facts(evil).volumes.is_err());
        let kernels = r#"{"Id":"abc","Config":{"Volumes":{"/sys/fs/cgroup":{},"/run":{}}}}"#;
        assert_eq!(facts(kernels).volumes.unwrap(), ["/run".parse().unwrap()]);
    }
}
