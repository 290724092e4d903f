"""A deployment whose every layer is cached, against what a person would type for it."""

from host import Host
from measure import Row, ensure_services, median, seconds, wait_idle

ROUNDS = 7
QUADLETS = "/var/lib/podkeeper/.config/containers/systemd"


def by_hand(host: Host, name: str) -> None:
    """A unit beside the service's, of the same file but for its names, its port and who runs its health check, and the same
    commit's files."""
    release = host.call("GET", f"/services/{name}", 200).json()["release"]
    unit = host.run("cat", f"{QUADLETS}/{name}@{release}.container")
    lines = []
    for line in unit.splitlines():
        key = line.split("=")[0]
        if key == "Wants" or "DISABLE_HC_SYSTEMD" in line:
            continue
        lines.append(
            {
                "ContainerName": "ContainerName=by-hand",
                "Image": "Image=localhost/by-hand:1",
                "PublishPort": "PublishPort=127.0.0.1:19999:8080",
                "LogOpt": "LogOpt=tag=by-hand",
            }.get(key, line)
        )
    host.write(f"{QUADLETS}/by-hand.container", "\n".join(lines) + "\n")
    host.user("git", "clone", "-q", f"/var/lib/podkeeper/git/{name}.git", "by-hand")
    host.user("podman", "build", "-q", "--format=docker", "--layers", "-t", "localhost/by-hand:1", "by-hand")
    host.user("systemctl", "--user", "daemon-reload")
    host.user("systemctl", "--user", "start", "by-hand.service")


def measure(host: Host) -> list[Row]:
    (name,) = ensure_services(host, 1)
    command = (
        "podman build --format=docker --layers -t localhost/by-hand:1 by-hand >/dev/null 2>&1 && "
        "systemctl --user restart by-hand.service"
    )
    try:
        by_hand(host, name)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            # The next deployment waits until the one before has drained.
            wait_idle(host, name)
            theirs.append(seconds(lambda: host.user("sh", "-c", command)))
            ours.append(seconds(lambda: deploy(host, name)))
    finally:
        host.user("systemctl", "--user", "stop", "by-hand.service", check=False)
        host.run("rm", "-rf", f"{QUADLETS}/by-hand.container", "/var/lib/podkeeper/by-hand")
        host.user("systemctl", "--user", "daemon-reload")
        host.user("podman", "rmi", "-f", "localhost/by-hand:1", check=False)
    reference = "podman build, systemctl restart"
    return [Row("a cached deployment, asked for → live", median(ours), "s", median(theirs), reference, ratio_at_most=1.2)]


def deploy(host: Host, name: str) -> None:
    answer = host.call("POST", f"/services/{name}/start", 202, headers={"Prefer": "wait=60"}).json()
    assert answer["state"] == "live", answer
