"""The two Debian packages: installed, upgraded and purged on a plain Debian 13."""

import pathlib
import re
import shutil
import subprocess

import pytest
import requests
from conftest import debs, fresh, install
from containers import BASE
from host import HOST, Clients, Host, wait_for

# What purging the agent leaves, as it says: the host's part, which the services run on, and the services' own. Beside
# the files of podkeeper-host itself:
KEPT = (
    # What podkeeper-host wrote.
    "/etc/systemd/system/multi-user.target.wants/podkeeper-proxy.service",
    "/etc/systemd/system/user@UID.service.d",
    "/var/lib/systemd/linger/podkeeper",
    "/var/lib/podkeeper-proxy",
    # The services: what the agent knows of them, repositories, Podman's storage, units.
    "/var/lib/podkeeper/agent",
    "/var/lib/podkeeper/.cache",
    "/var/lib/podkeeper/.config",
    "/var/lib/podkeeper/.local",
    "/var/lib/podkeeper/git",
    # Which ids all of that belongs to.
    "/var/lib/podkeeper/subuid",
    "/var/lib/podkeeper/subgid",
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


def serves(host: Host, name: str) -> bool:
    try:
        return host.serve(name).status_code == 200
    except requests.RequestException:
        return False


def stays(path: str, kept: list[str]) -> bool:
    # A folder is kept for what lies in it.
    return any(path == place or path.startswith(f"{place}/") or place.startswith(f"{path}/") for place in kept)


def test_a_caddy_that_serves_something_is_its_owners_to_stop(plain: Host):
    caddyfile, unit = "/etc/caddy/Caddyfile", "/etc/systemd/system/caddy.service"
    told = "curl -sf -X POST -H 'Content-Type: application/json' -d @- http://127.0.0.1:2019/load"
    cases = (
        (f"echo 'example.com {{ respond ok }}' >>{caddyfile}", "sed -i '$d' " + caddyfile, f"{caddyfile} is not as the package has it"),
        ("echo ok >/usr/share/caddy/own.html", "rm /usr/share/caddy/own.html", "it serves /usr/share/caddy/own.html"),
        (f"mkdir {unit}.d && echo '[Service]' >{unit}.d/own.conf", f"rm -r {unit}.d", "own.conf changes its unit"),
        (f"cp /usr/lib/systemd/system/caddy.service {unit}", f"rm {unit}", f"its unit is {unit}"),
        (
            f"""echo '{{"apps":{{"http":{{"servers":{{"own":{{"listen":[":81"]}}}}}}}}}}' | {told}""",
            "systemctl restart caddy",
            "it was told otherwise than its Caddyfile says",
        ),
    )
    for set_up, undo, found in cases:
        plain.run("sh", "-c", f"{set_up} && systemctl daemon-reload")
        with pytest.raises(AssertionError) as refused:
            plain.install(debs())
        assert found in str(refused.value) and "systemctl disable --now caddy" in str(refused.value), refused.value
        assert plain.run("systemctl", "is-active", "caddy") == "active\n"
        # Nothing is there by halves.
        assert plain.code("id", "podkeeper") != 0 and plain.code("test", "-e", "/usr/bin/podkeeper") != 0
        plain.run("sh", "-c", f"{undo} && systemctl daemon-reload")
    # As Debian ships it, nobody misses it.
    plain.install(debs())
    plain.wait_ready()
    assert plain.run("systemctl", "is-active", "caddy", check=False) == "inactive\n"
    # Turned on again, it is somebody's: no later installation stops it, nor does the proxy.
    plain.write(caddyfile, "http://:81 {\n  reverse_proxy 127.0.0.1:7070\n}\n")
    plain.run("systemctl", "enable", "--now", "caddy")
    asked = ("curl", "-sf", "-H", "Host: 127.0.0.1:7070", "http://127.0.0.1:81/healthz")
    before = plain.run("systemctl", "show", "-P", "MainPID", "caddy")
    assert plain.run(*asked)
    plain.run("systemctl", "restart", "podkeeper-proxy")
    plain.install(debs(), "--reinstall")
    assert plain.run(*asked)
    assert plain.run("systemctl", "show", "-P", "MainPID", "caddy") == before
    assert plain.run("systemctl", "is-enabled", "caddy") == "enabled\n"


def test_installing_again_restarts_the_proxy_only_for_what_it_runs(own: Host):
    proxy = lambda: own.run("systemctl", "show", "-P", "MainPID", "podkeeper-proxy")
    before = proxy()
    install(own, "--reinstall")
    assert proxy() == before
    own.run("sh", "-c", "echo >>/etc/podkeeper/proxy.json")
    install(own, "--reinstall")
    changed = proxy()
    assert changed != before
    own.run("mkdir", "/etc/systemd/system/podkeeper-proxy.service.d")
    own.write("/etc/systemd/system/podkeeper-proxy.service.d/own.conf", "[Service]\nLimitNOFILE=70000\n")
    own.run("chmod", "600", "/etc/systemd/system/podkeeper-proxy.service.d/own.conf")
    install(own, "--reinstall")
    assert proxy() not in (before, changed, "0\n")
    # What an administrator stopped and disabled stays so.
    own.run("systemctl", "disable", "--now", "podkeeper-proxy")
    install(own, "--reinstall")
    assert own.run("systemctl", "is-active", "podkeeper-proxy", check=False) == "inactive\n"
    assert own.run("systemctl", "is-enabled", "podkeeper-proxy", check=False) == "disabled\n"
    # What was removed is started when it comes back.
    own.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "remove", "-y", "podkeeper-host")
    assert own.run("systemctl", "is-active", "podkeeper-proxy", check=False) == "inactive\n"
    install(own)
    own.wait_ready()
    assert own.run("systemctl", "is-active", "podkeeper-proxy") == "active\n"


def test_without_an_ipv6_loopback_the_proxy_serves_all_the_same(own: Host):
    own.create("blog")
    own.start("blog")
    own.run("sysctl", "net.ipv6.conf.lo.disable_ipv6=1")
    # As it is, each address on a line of its own, and the other way round.
    for edit in ("", r's/(, *)("\[::1\]:[0-9]+")/\1\n\2/', r's/\["(127[^"]+)",\s*("\[::1\]:[0-9]+")/[\2, "\1"/'):
        own.run("sed", "-zEi", edit, "/etc/podkeeper/proxy.json")
        own.run("systemctl", "restart", "podkeeper-proxy")
        assert own.serve("blog").status_code == 200


@pytest.mark.parametrize("port", [8080, 7070])
def test_a_port_that_something_else_has_is_told(plain: Host, port: int):
    plain.run("systemd-run", "--unit=other", "busybox", "nc", "-ll", "-p", str(port), "-e", "true")
    wait_for(lambda: plain.run("ss", "-Hltn", f"sport = :{port}"), 10, "it listens")
    with pytest.raises(AssertionError, match=f"(does not start|something else may).* 127.0.0.1:{port}") as refused:
        plain.install(debs())
    assert "then install again" in str(refused.value)
    plain.run("systemctl", "stop", "other")
    plain.install(debs())
    plain.wait_ready()
    plain.run("podkeeper", "doctor")


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
    for manager in ((), ("--user", "-M", "podkeeper@")):
        state = lambda manager=manager: plain.run("systemctl", *manager, "is-system-running", check=False)
        wait_for(lambda: state() == "running\n", 30, lambda: f"nothing has failed: {manager} is {state()}")
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
    for package in ("podman (>= 5.3)", "caddy", "uidmap", "passt", "crun", "catatonit", "netavark", "dbus-user-session"):
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
        for clients in (agents, visitors):
            clients.go_on(5)
        own.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "/root/newer.deb")
        own.wait_ready()
        for clients in (agents, visitors):
            clients.go_on(5)
    assert own.agent_pid() != agent
    assert own.run("dpkg-query", "-W", "-f", "${Version}", "podkeeper") == "99.0"
    assert not agents.failures and not visitors.failures
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
        visitors.go_on(5)
        said = plain.run("apt-get", "purge", "-y", "podkeeper", check=False)
        plain.run("apt-get", "autoremove", "-y")
        visitors.go_on(5)
    assert not visitors.failures
    assert "the services go on" in said and "/var/lib/podkeeper" in said
    assert plain.code("systemctl", "cat", "podkeeper.service") != 0

    plain.reboot()
    wait_for(lambda: serves(plain, "blog"), 90, "the service answers after the reboot")
    packaged = [path for path in plain.run("dpkg", "-L", "podkeeper-host").splitlines() if path not in before]
    kept = [*packaged, *(place.replace("UID", uid) for place in KEPT)]
    left = {path for path in files(plain) - before if not OTHERS.match(path) and not stays(path, kept)}
    assert not left
    assert plain.run("systemctl", "is-system-running") == "running\n"

    said = plain.run("apt-get", "purge", "-y", "podkeeper-host", check=False)
    assert "stay in /var/lib/podkeeper" in said
    assert plain.code("systemctl", "is-active", f"user@{uid}.service") != 0
    of_user = lambda: plain.run("pgrep", "-a", "-u", "podkeeper", check=False)
    wait_for(lambda: not of_user(), 10, lambda: f"its processes are gone: {of_user()}")
    data = ("/var/lib/podkeeper", "/var/lib/podkeeper/")
    left = {path for path in files(plain) - before if not OTHERS.match(path) and not path.startswith(data)}
    assert not left
    assert plain.code("test", "-d", "/var/lib/podkeeper/git/blog.git") == 0


# Each start writes a line into the volume, which is what it serves.
WRITES = """CMD ["sh", "-c", "echo $WORD >>/data/index.html; exec httpd -f -p 8080 -h /data"]\n"""


def add_services(host: Host, folder: pathlib.Path) -> None:
    """One that runs, with something of all that a service keeps, and one that is stopped."""
    host.create("blog")
    settings = {"volumes": {"data": "/data"}, "domains": ["blog.example.org"]}
    host.call("PATCH", "/services/blog", 200, json=settings)
    host.call("POST", "/services/blog/env/update", 200, json={"env": {"WORD": "kept"}, "restart": False})
    clone = host.clone("blog", folder)
    clone.commit({"Containerfile": BASE + WRITES, "site/index.html": ""})
    clone.push()
    assert host.serve("blog").text == "kept\n"
    host.create("idle")
    host.start("idle")
    host.call("POST", "/services/idle/stop", 200)


def assert_they_are_back(host: Host, folder: pathlib.Path, starts: int) -> None:
    """With the token that was good before; and they can be worked on as before."""
    wait_for(lambda: serves(host, "blog"), 60, "what ran serves by itself")
    assert host.serve("blog").text == "kept\n" * starts
    states = lambda: {name: facts["state"] for name, facts in host.call("GET", "/services/status", 200).json().items()}
    wait_for(lambda: states() == {"blog": "running", "idle": "stopped"}, 30, "each is as it was")
    at_domain = {"headers": {"Host": "blog.example.org"}, "timeout": 60}
    routed = lambda: requests.get("http://127.0.0.1:8080/", **at_domain).status_code == 200
    wait_for(routed, 30, "its domain leads to it")
    assert host.call("GET", "/services/blog/env", 200).json()["env"] == {"WORD": "kept"}
    assert len(host.call("GET", "/services/blog/deployments", 200).json()["deployments"]) >= 1
    clone = host.clone("blog", folder)
    clone.commit({"site/index.html": "again"})
    said = clone.push()
    assert "Live: " in said, said
    assert host.serve("blog").text == "kept\n" * (starts + 1)
    host.start("idle")
    assert serves(host, "idle")
    host.call("POST", "/services/idle/stop", 200)
    found = lambda: host.run("podkeeper", "doctor", check=False)
    wait_for(lambda: host.code("podkeeper", "doctor") == 0, 30, lambda: f"nothing is wrong: {found()}")
    host.run("podkeeper", "audit", "verify")


def test_what_was_purged_comes_back_when_it_is_installed_again(own: Host, tmp_path):
    add_services(own, tmp_path / "blog")
    own.run("apt-get", "purge", "-y", "podkeeper")
    install(own)
    own.wait_ready()
    assert_they_are_back(own, tmp_path / "blog", 1)

    said = own.run("apt-get", "purge", "-y", "podkeeper-host", "podkeeper", check=False)
    assert "installed again, all services come back" in said and "go on without the agent" not in said
    assert not serves(own, "blog")
    install(own)
    own.wait_ready()
    # What the pushes before wrote, and one line of the start that the installation was.
    assert_they_are_back(own, tmp_path / "blog", 3)


def ids(host: Host) -> list[str]:
    """The services' user, and what /etc/subuid and /etc/subgid give it."""
    given = host.run("grep", "-h", "^podkeeper:", "/etc/subuid", "/etc/subgid").split()
    return [host.uid(), host.run("id", "-g", "podkeeper").strip(), *given]


def test_another_machine_takes_a_copy(plain: Host, tmp_path):
    # Whoever comes later would be given other ids.
    plain.run("useradd", "--system", "early")
    plain.run("sh", "-c", "echo early:335544320:65536 | tee -a /etc/subuid >>/etc/subgid")
    install(plain)
    plain.wait_ready()
    plain.sign_in()
    add_services(plain, tmp_path / "blog")
    uid, _, subuid, _ = ids(plain)
    # As README says.
    plain.run("systemctl", "stop", "podkeeper.socket", "podkeeper", f"user@{uid}")
    pack = ["tar", "-C", "/", "--xattrs", "--xattrs-include=*", "-c", "var/lib/podkeeper"]
    unpack = ["tar", "-C", "/", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-x"]
    with fresh("y") as other:
        packing = subprocess.Popen([HOST, "enter", plain.name, "--", *pack], stdout=subprocess.PIPE)
        subprocess.run([HOST, "enter", other.name, "--", *unpack], stdin=packing.stdout, check=True)
        assert packing.wait() == 0
        for take, free, told in (
            (f"useradd --system --uid {uid} late", "userdel late", f"belongs to number {uid} of /etc/passwd, and on this machine that is late"),
            (f"echo late:{subuid.split(':')[1]}:1 >>/etc/subuid", "sed -i /^late/d /etc/subuid", "not free in /etc/subuid"),
            ("echo podkeeper:200000:65536 >>/etc/subgid", "sed -i /^podkeeper/d /etc/subgid", "not free in /etc/subgid"),
        ):
            other.run("sh", "-c", take)
            with pytest.raises(AssertionError, match=told):
                other.install(debs())
            assert other.code("test", "-e", "/usr/bin/podkeeper") != 0
            other.run("sh", "-c", free)
        install(other)
        assert ids(other) == ids(plain)
        other.wait_ready()
        other.token = plain.token
        assert_they_are_back(other, tmp_path / "moved", 2)
