"""What services and deployments leave on a host, and whether it is what it should be."""

from __future__ import annotations

import json
import re

from host import Host, wait_for

STORAGE = "/var/lib/podkeeper/.local/share/containers/storage"

# One script, so that a look takes one command: each line is a kind, a tab, and what there is.
LOOK = r"""
cd /var/lib/podkeeper
said() { sed "/^$/d; s/^/$1\t/"; }
systemctl --user list-units --all --no-legend --plain 'build-*.service' 'build-*.scope' 'build-*.slice' '*@*.service' |
  awk '{ print $1, $3 }' | said unit
podman ps -a --external --format '{{.Names}}' | said container
podman images -a --format '{{.Repository}}:{{.Tag}}' | grep ^localhost/podkeeper/ | said image
podman images -a -q --filter dangling=true | said layer
podman secret ls --format '{{.Name}}' | grep ^podkeeper- | said secret
podman volume ls -q | said volume
find builds git -mindepth 1 -maxdepth 1 | said file
find .config/containers/systemd -mindepth 1 -type f -printf '%P\n' | said quadlet
# A health check's units stand as long as their release's file does.
for unit in .config/systemd/user/podkeeper-check-*; do
  release=${unit##*/podkeeper-check-}
  release=${release%.*}
  [ -e ".config/containers/systemd/${release%-*}@${release##*-}.container" ] || echo "$unit" | said check
done
"""


def traces(host: Host, name: str, deployment: int) -> dict[str, str]:
    """What of a deployment is on the host."""
    images = host.user("podman", "images", "-q", f"localhost/podkeeper/{name}").strip()
    cgroups = f"*/build-{deployment}.slice/*/cgroup.procs"
    return {
        "units": host.user("systemctl", "--user", "list-units", "--all", "--no-legend", f"build-{deployment}.*").strip(),
        "releases": host.user("systemctl", "--user", "list-units", "--all", "--no-legend", f"{name}@*").strip(),
        "checks": host.user(
            "systemctl", "--user", "list-units", "--all", "--no-legend", f"podkeeper-check-{name}-[0-9]*"
        ).strip(),
        "images": images,
        "containers": host.user("podman", "ps", "-a", "--external", "-q", "--filter", f"name={name}").strip(),
        "working": host.user(
            "podman", "ps", "-a", "--external", "--format", "{{.Names}}", "--filter", "status=unknown"
        ).strip(),
        "files": host.run(
            "sh", "-c", f"cd /var/lib/podkeeper/builds; ls -d {deployment} {deployment}.* 2>/dev/null || true"
        ).strip(),
        "quadlets": host.run(
            "sh", "-c", f"ls -d /var/lib/podkeeper/.config/containers/systemd/{name}@* 2>/dev/null || true"
        ).strip(),
        "check files": host.run(
            "sh", "-c", f"ls -d /var/lib/podkeeper/.config/systemd/user/podkeeper-check-{name}-[0-9]* 2>/dev/null || true"
        ).strip(),
        # Of the build and of its RUN steps.
        "processes": host.run("sh", "-c", f"cat $(find /sys/fs/cgroup -path '{cgroups}') 2>/dev/null </dev/null; true").strip(),
    }


def assert_no_trace(host: Host, name: str, deployment: int) -> None:
    """Nothing of a deployment is left; a unit that has ended is listed until systemd has forgotten it."""
    left = lambda: {what: there for what, there in traces(host, name, deployment).items() if there}
    wait_for(lambda: not left(), 10, lambda: f"nothing of it is left, but {left()}")


def look(host: Host) -> dict[str, list[str]]:
    """Everything that the agent ever makes on the host."""
    text = host.user("sh", "-c", LOOK)
    # What goes meanwhile is not there.
    text += host.run("sh", "-c", r"find /var/lib/podkeeper-proxy/routes -type f -printf 'route\t%P\n' 2>/dev/null || true")
    listening = re.findall(r"127\.0\.0\.2:(2\d{4})\s", host.run("ss", "-Hltn"))
    text += "".join(f"port\t{port}\n" for port in listening)
    seen: dict[str, list[str]] = {}
    for line in text.splitlines():
        kind, what = line.split("\t", 1)
        seen.setdefault(kind, []).append(what)
    return {kind: sorted(what) for kind, what in seen.items()}


def expected(host: Host, services: dict[str, dict]) -> dict[str, list[str]]:
    """What there should be, when of each service `releases` are kept and `live` has the traffic."""
    wanted: dict[str, list[str]] = {}

    def add(kind: str, *what: str) -> None:
        wanted.setdefault(kind, []).extend(what)

    for name, service in services.items():
        live, releases = service.get("live"), service.get("releases", [])
        add("file", f"git/{name}.git")
        add("quadlet", *(f"{name}@{number}.container" for number in releases))
        add("image", *(f"localhost/podkeeper/{name}:{number}" for number in releases))
        add("secret", *service.get("secrets", []))
        if live:
            unit = host.run("cat", f"/var/lib/podkeeper/.config/containers/systemd/{name}@{live}.container", check=False)
            (port,) = re.findall(r"PublishPort=127\.0\.0\.2:(\d+):", unit) or ["no port"]
            add("quadlet", f"{name}@{live}.container.d/live.conf")
            add("unit", f"{name}@{live}.service active")
            add("container", f"{name}-{live}")
            add("port", port)
            add("route", f"{name}.localhost/{port}")
        add("volume", *service.get("volumes", []))
    return {kind: sorted(what) for kind, what in wanted.items() if what}


def assert_nothing_leaks(host: Host, before: dict[str, list[str]], services: dict[str, dict], seconds: float = 30) -> None:
    """Beside what was there before, there is what `services` should have and nothing else.

    Layers without a name are the build's cache, which goes with the service: they are left out here.
    """

    def difference() -> dict[str, list[str]]:
        there, wanted = look(host), expected(host, services)
        found = {}
        for kind in sorted({*there, *wanted, *before} - {"layer"}):
            had = before.get(kind, [])
            now = [what for what in there.get(kind, []) if what not in had]
            if now != wanted.get(kind, []):
                found[kind] = [f"there: {now}", f"wanted: {wanted.get(kind, [])}"]
        return found

    what = lambda: f"nothing is left over and nothing lacks: {json.dumps(difference(), indent=1)}"
    wait_for(lambda: not difference(), seconds, what)
