"""The two Debian packages: installed, upgraded and purged on a plain Debian 13."""

import pathlib
import re
import shutil
import subprocess
import time

import pytest
import requests
from conftest import debs
from host import Clients, Host, wait_for

# What purging the agent leaves, as it says: the host's part, which the services run on, and the services' own. Beside
# the files of podkeeper-host itself:
KEPT = (
    # What podkeeper-host wrote.
    "/etc/systemd/system/multi-user.target.wants/podkeeper-proxy.service",
    "/etc/systemd/system/user@UID.service.d",
    "/var/lib/systemd/linger/podkeeper",
    "/var/lib/podkeeper-proxy",
    # The services: repositories, Podman's storage, units.
    "/var/lib/podkeeper/.cache",
    "/var/lib/podkeeper/.config",
    "/var/lib/podkeeper/.local",
    "/var/lib/podkeeper/git",
)
# What any installation, any log line and any container changes.
OTHERS = re.compile(
    r"/(root|tmp|run|var/tmp|var/log|var/cache|var/lib/(apt|dpkg)|var/lib/systemd/(?!linger)"
    r"|var/lib/(containers|caddy|polkit-1|private))(/|$)|/etc/.*-$"
)


def files(host: Host) -> set[str]:
    # /var/lib is a mount of its own.
    everywhere = host.run("find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/sys", ")", "-prune", "-o", "-print")
    return set(everywhere.splitlines()) | set(host.run("find", "/var/lib", "-xdev").splitlines())


def stays(path: str, kept: list[str]) -> bool:
    # A folder is kept for what lies in it.
    return any(path == place or path.startswith(f"{place}/") or place.startswith(f"{path}/") for place in kept)


def test_a_changed_caddyfile_stops_the_installation(plain: Host):
    plain.run("sh", "-c", "echo 'example.com { respond ok }' >>/etc/caddy/Caddyfile")
    with pytest.raises(AssertionError, match="is not the one that Debian ships") as refused:
        plain.install(debs())
    assert "Move those sites away first" in str(refused.value)
    assert plain.run("systemctl", "is-active", "caddy") == "active\n"
    # Nothing is there by halves.
    assert plain.code("id", "podkeeper") != 0 and plain.code("test", "-e", "/usr/bin/podkeeper") != 0
    plain.run("sed", "-i", "$d", "/etc/caddy/Caddyfile")
    plain.install(debs())
    plain.wait_ready()


def test_installing_leaves_a_running_agent_and_what_it_stands_on(plain: Host):
    plain.install(debs())
    plain.wait_ready()
    for unit in ("podkeeper.service", "podkeeper.socket", "podkeeper-proxy.service"):
        assert plain.run("systemctl", "is-active", unit) == "active\n"
        assert plain.run("systemctl", "is-enabled", unit) == "enabled\n"
    assert plain.run("loginctl", "show-user", "-P", "Linger", "podkeeper") == "yes\n"
    for file in ("/etc/subuid", "/etc/subgid"):
        (line,) = [line for line in plain.run("cat", file).splitlines() if line.startswith("podkeeper:")]
        assert int(line.split(":")[2]) == 64 * 1024 * 1024
    assert plain.user("systemctl", "--user", "is-active", "podman.socket") == "active\n"
    assert plain.run("systemctl", "is-active", "caddy.service", check=False) == "inactive\n"
    assert plain.run("systemctl", "is-enabled", "caddy.service", check=False) == "disabled\n"
    assert plain.run("systemctl", "is-system-running") == "running\n"
    assert plain.user("systemctl", "--user", "is-system-running") == "running\n"
    # `apt purge podkeeper` and `autoremove` must not take the host's part away.
    assert set(plain.run("apt-mark", "showmanual").split()) >= {"podkeeper", "podkeeper-host"}
    assert "is good" in plain.run("podkeeper", "config", "check")
    assert plain.run("podkeeper", "--version").startswith("podkeeper ")
    plain.run("podkeeper", "doctor")


def test_the_packages_declare_what_they_stand_on():
    def depends(package: str) -> str:
        (file,) = debs().glob(f"{package}_*.deb")
        return subprocess.check_output(["dpkg-deb", "-f", file, "Depends", "Pre-Depends"], text=True)

    agent, base = depends("podkeeper"), depends("podkeeper-host")
    for package in ("podkeeper-host", "podman (>= 5.3)", "git", "openssh-client", "dbus-user-session"):
        assert package in agent
    for package in ("podman (>= 5.3)", "caddy", "uidmap", "passt", "crun", "netavark", "dbus-user-session"):
        assert package in base


def newer(package: str, folder: pathlib.Path) -> pathlib.Path:
    """The package again, with a higher version."""
    (file,) = debs().glob(f"{package}_*.deb")
    tree = folder / package
    subprocess.run(["dpkg-deb", "-R", file, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", "Version: 99.0", control.read_text()))
    built = folder / f"{package}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, built], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return built


def test_an_upgrade_of_the_agent_refuses_no_connection(own: Host, tmp_path):
    own.create("blog")
    own.start("blog")
    unit = own.user("systemctl", "--user", "show", "-P", "MainPID,InvocationID", "blog@1.service")
    proxy = own.run("systemctl", "show", "-P", "MainPID", "podkeeper-proxy")
    agent = own.agent_pid()
    own.put(newer("podkeeper", tmp_path), "/root/newer.deb")
    blog = {"Host": "blog.localhost:8080"}
    with (
        Clients("http://127.0.0.1:7070/healthz") as agents,
        Clients("http://127.0.0.1:8080/", headers=blog) as visitors,
    ):
        own.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "/root/newer.deb")
        own.wait_ready()
    assert own.agent_pid() != agent
    assert own.run("dpkg-query", "-W", "-f", "${Version}", "podkeeper") == "99.0"
    assert agents.answers > 10 and not agents.failures
    assert visitors.answers > 10 and not visitors.failures
    assert own.user("systemctl", "--user", "show", "-P", "MainPID,InvocationID", "blog@1.service") == unit
    assert own.run("systemctl", "show", "-P", "MainPID", "podkeeper-proxy") == proxy


def test_purging_leaves_what_it_says_and_the_services_go_on(plain: Host):
    before = files(plain)
    plain.install(debs())
    plain.wait_ready()
    plain.sign_in()
    plain.create("blog")
    plain.start("blog")
    uid = plain.uid()
    with Clients("http://127.0.0.1:8080/", headers={"Host": "blog.localhost:8080"}) as visitors:
        said = plain.run("apt-get", "purge", "-y", "podkeeper", check=False)
        plain.run("apt-get", "autoremove", "-y")
        time.sleep(1)
    assert visitors.answers > 10 and not visitors.failures
    assert "the services go on" in said and "/var/lib/podkeeper" in said
    assert plain.code("systemctl", "cat", "podkeeper.service") != 0

    began = time.monotonic()
    plain.reboot()

    def serves() -> bool:
        try:
            return plain.serve("blog").status_code == 200
        except requests.RequestException:
            return False

    wait_for(serves, 90, "the service answers after the reboot")
    print(f"without the agent: {time.monotonic() - began:.1f} s from power on to the first answer")
    packaged = [path for path in plain.run("dpkg", "-L", "podkeeper-host").splitlines() if path not in before]
    kept = [*packaged, *(place.replace("UID", uid) for place in KEPT)]
    left = {path for path in files(plain) - before if not OTHERS.match(path) and not stays(path, kept)}
    assert not left
    assert plain.run("systemctl", "is-system-running") == "running\n"

    said = plain.run("apt-get", "purge", "-y", "podkeeper-host", check=False)
    assert "stay in /var/lib/podkeeper" in said
    assert plain.code("systemctl", "is-active", f"user@{uid}.service") != 0
    assert not plain.run("pgrep", "-u", "podkeeper", check=False)
    data = ("/var/lib/podkeeper", "/var/lib/podkeeper/")
    left = {path for path in files(plain) - before if not OTHERS.match(path) and not path.startswith(data)}
    assert not left
    assert plain.code("test", "-d", "/var/lib/podkeeper/git/blog.git") == 0
