//! A release's Quadlet file (podman-systemd.unit(5)): a pure function from what it shall be to its text.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::spec::ContainerSpec;
use crate::names::{EnvValue, IdRange, SERVICE_LABEL};

/// Where the releases' ports are. A browser on the host sends the dashboard's cookie to every port of `localhost`, and
/// no service may get it: at 127.0.0.1 nothing of a service listens but the proxy, which takes the cookie away.
pub const RELEASE_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// How long Podman waits for a program that it has asked to stop, where nothing else is set.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How much longer systemd waits for Podman.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// The text of the file. What makes it start at boot lies in a drop-in beside it, so that this text never changes. All that
/// goes into it are numbers and names of types that hold nothing which systemd, its generator or Podman would read as more
/// than the one value.
#[must_use]
pub fn render(spec: &ContainerSpec) -> String {
    let mut text = String::new();
    unit(spec, &mut text);
    container(spec, &mut text);
    service(spec, &mut text);
    // Otherwise each user unit waits up to 90 s at boot for a network-online.target that nothing may want.
    text.push_str("\n[Quadlet]\nDefaultDependencies=false\n");
    text
}

/// The drop-in that lets a release start at boot. Only the deployment waits for the health check: at boot Podman's word
/// that it passed may get lost, since its sender ends at once, and systemd would then kill a service that answers.
pub(super) const LIVE: &str = "# This release has the traffic, and starts at boot without waiting for its health check.\n\
                               [Install]\nWantedBy=default.target\n\n[Container]\nNotify=false\n";

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    // Writing to a String can't fail.
    let _ = writeln!(text, "{key}={value}");
}

fn unit(spec: &ContainerSpec, text: &mut String) {
    text.push_str("# Written by Podkeeper once, and never changed: the next deployment is another file.\n[Unit]\n");
    line(text, "Description", format_args!("{}, release {}", spec.release.service, spec.release.number));
    // With systemd's defaults a service that crashes five times in 15 s stays dead.
    line(text, "StartLimitIntervalSec", 0);
    if spec.check.is_some() {
        line(text, "Wants", spec.release.check_timer());
    }
}

fn container(spec: &ContainerSpec, text: &mut String) {
    text.push_str("\n[Container]\n");
    line(text, "ContainerName", spec.release.container());
    line(text, "Image", spec.release.image());
    line(text, "Pull", "never");
    if let Some(port) = spec.container_port {
        line(text, "PublishPort", format_args!("{RELEASE_ADDRESS}:{}:{port}", spec.port));
        line(text, "Environment", format_args!("PORT={port}"));
    }
    if spec.init {
        // Else the program is process 1: it reaps no others' children, and takes no signal that it has no handler for.
        line(text, "RunInit", true);
    }
    if let Some(timeout) = spec.stop_timeout {
        line(text, "StopTimeout", timeout.as_secs());
    }
    if let Some(signal) = spec.stop_signal {
        line(text, "StopSignal", signal.as_str());
    }
    line(text, "UIDMap", format_args!("0:{}:{}", spec.ids.base, IdRange::SIZE));
    line(text, "GIDMap", format_args!("0:{}:{}", spec.ids.base, IdRange::SIZE));
    line(text, "NoNewPrivileges", true);
    line(text, "LogDriver", "journald");
    line(text, "LogOpt", format_args!("tag={}", spec.release.service));
    line(text, "Label", format_args!("{SERVICE_LABEL}={}", spec.release.service));
    for (key, value) in &spec.env {
        match value {
            EnvValue::Empty => line(text, "Environment", format_args!("{key}=")),
            EnvValue::Secret(secret) => line(text, "Secret", format_args!("{secret},type=env,target={key}")),
        }
    }
    for (name, path) in spec.volumes.iter() {
        line(text, "Volume", format_args!("{}:{path}", spec.release.volume(name)));
    }
    if spec.check.is_some() {
        // The image's own check decides when the unit is started; a deployment runs it again and again until then.
        line(text, "Notify", "healthy");
    }
}

fn service(spec: &ContainerSpec, text: &mut String) {
    text.push_str("\n[Service]\n");
    line(text, "Restart", "always");
    line(text, "RestartSec", 1);
    line(text, "RestartSteps", 6);
    line(text, "RestartMaxDelaySec", 60);
    line(text, "TimeoutStartSec", spec.health_timeout.as_secs() + 10);
    // A start that is never healthy would else wait for the stop's time, too: `podman run` ignores SIGTERM.
    line(text, "TimeoutStartFailureMode", "kill");
    line(text, "TimeoutStopSec", (spec.stop_timeout.unwrap_or(STOP_TIMEOUT) + STOP_MARGIN).as_secs());
    if spec.check.is_some() {
        // Podman's own timer, which has no limits. Podman takes neither an interval nor `disable` beside a check that is the
        // image's, and would have run the check by the time that `podman update` can tell it.
        line(text, "Environment", "DISABLE_HC_SYSTEMD=true");
    }
    // How a program ends that is told to.
    line(text, "SuccessExitStatus", "143 137");
    if let Some(memory) = spec.memory_mib {
        line(text, "MemoryMax", format_args!("{memory}M"));
        line(text, "MemorySwapMax", 0);
    }
    if let Some(cpu) = spec.cpu_percent {
        line(text, "CPUQuota", format_args!("{cpu}%"));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::names::{AbsPath, ReleaseName, ReleaseNumber, StopSignal};
    use crate::units::CheckSpec;

    pub fn spec() -> ContainerSpec {
        ContainerSpec {
            release: ReleaseName::new(&"blog".parse().unwrap(), ReleaseNumber(41)),
            port: 20_041,
            container_port: Some(8080),
            init: true,
            ids: IdRange::of_slot(1),
            env: vec![
                ("KEY".parse().unwrap(), "podkeeper-blog-KEY-abcdefghijklmnop".parse().unwrap()),
                ("NOTHING".parse().unwrap(), EnvValue::Empty),
            ],
            volumes: serde_json::from_str(r#"{"data":"/data"}"#).unwrap(),
            check: Some(CheckSpec {
                interval: Duration::from_secs(5),
                timeout: Duration::from_secs(30),
                program: AbsPath::known("/usr/bin/podkeeper"),
                podman: AbsPath::known("/usr/bin/podman"),
            }),
            health_timeout: Duration::from_secs(30),
            memory_mib: Some(256),
            cpu_percent: Some(50),
            stop_timeout: Some(Duration::from_secs(45)),
            stop_signal: Some(StopSignal::Quit),
        }
    }

    #[test]
    fn a_release_reads_as_designed() {
        let text = render(&spec());
        for line in [
            "ContainerName=blog-41",
            "Image=localhost/podkeeper/blog:41",
            "PublishPort=127.0.0.2:20041:8080",
            "UIDMap=0:65537:65536",
            "GIDMap=0:65537:65536",
            "Secret=podkeeper-blog-KEY-abcdefghijklmnop,type=env,target=KEY",
            "Environment=NOTHING=",
            "Volume=blog.data:/data",
            "Notify=healthy",
            "Wants=podkeeper-check-blog-41.timer",
            "Environment=DISABLE_HC_SYSTEMD=true",
            "TimeoutStartSec=40",
            "RunInit=true",
            "StopTimeout=45",
            "StopSignal=SIGQUIT",
            "TimeoutStopSec=55",
            "MemoryMax=256M",
            "CPUQuota=50%",
            "StartLimitIntervalSec=0",
            "DefaultDependencies=false",
        ] {
            assert!(text.lines().any(|have| have == line), "`{line}` is missing from\n{text}");
        }
        assert!(!text.contains("[Install]"), "only the drop-in lets it start at boot");
    }

    #[test]
    fn what_is_not_set_is_not_there() {
        let text = render(&ContainerSpec {
            container_port: None,
            init: false,
            check: None,
            memory_mib: None,
            cpu_percent: None,
            stop_timeout: None,
            stop_signal: None,
            ..spec()
        });
        assert!(text.contains("TimeoutStopSec=20\n"));
        for key in [
            "Notify",
            "MemoryMax",
            "CPUQuota",
            "Wants",
            "DISABLE_HC_SYSTEMD",
            "PublishPort",
            "PORT",
            "RunInit",
            "StopTimeout",
            "StopSignal",
        ] {
            assert!(!text.contains(key), "{key} in\n{text}");
        }
    }
}
