"""The agent as a unit: who it runs as, how it starts, reloads and ends, and that its end cuts nothing off."""

import base64
import contextlib
import json
import pathlib
import re
import socket
import subprocess
import threading
from collections.abc import Iterator

import requests
from containers import Gate, Push, built_behind
from host import Clone, Clients, Host, wait_for


def under_way(host: Host, name: str) -> dict:
    """The service's newest deployment, once it is being built."""

    def look() -> dict | None:
        newest = host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"][:1]
        return newest[0] if newest and newest[0]["state"] == "building" else None

    return wait_for(look, 60, "it is being built")


def properties(host: Host, unit: str, *names: str) -> list[str]:
    return [host.run("systemctl", "show", "-P", name, unit).strip() for name in names]


@contextlib.contextmanager
def unit_with(host: Host, text: str) -> Iterator[None]:
    """The agent's unit has this in its section `[Service]`."""
    folder = "/run/systemd/system/podkeeper.service.d"
    host.run("mkdir", "-p", folder)
    host.write(f"{folder}/test.conf", f"[Service]\n{text}\n")
    host.run("systemctl", "daemon-reload")
    try:
        yield
    finally:
        host.run("rm", "-r", folder)
        host.run("systemctl", "daemon-reload")


def test_no_process_is_root(host: Host, name: str, gate: Gate, tmp_path):
    host.create(name)
    host.start(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": built_behind(gate)})
    push = Push(clone)
    step = f"sleep {gate.seconds}"
    programs = ("podkeeper agent", "http-backend", "podkeeper post-receive", "buildah build", step, "httpd", "caddy")
    uid = host.uid()

    def ours() -> list[tuple[int, str]] | None:
        """Ours of the host's processes, once all of these run."""
        found = []
        for line in host.run("ps", "-e", "-ww", "-o", "uid=,cgroup:200=,args=").splitlines():
            owner, cgroup, arguments = line.split(None, 2)
            if "podkeeper" in cgroup or f"user-{uid}.slice" in cgroup:
                found.append((int(owner), arguments))
        return found if all(any(program in line[1] for line in found) for program in programs) else None

    # The agent, git's backend and hook, a build with its RUN step, a running service, the proxy.
    found = wait_for(ours, 60, f"all of {programs} run")
    assert not [line for line in found if line[0] == 0]
    gate.open()
    push.end()
    # Nor may one become it.
    status = host.run("cat", f"/proc/{host.agent_pid()}/status")
    assert "NoNewPrivs:\t1" in status and "CapPrm:\t0000000000000000" in status and "CapBnd:\t0000000000000000" in status


def test_the_watchdog_ends_an_agent_that_hangs(host: Host):
    kind, user, watchdog = properties(host, "podkeeper.service", "Type", "User", "WatchdogUSec")
    assert (kind, user) == ("notify", "podkeeper") and watchdog not in ("0", "infinity")
    ended = lambda: len(host.journal("-u", "podkeeper", "--grep", "Watchdog timeout"))
    with unit_with(host, "WatchdogSec=10"):
        host.run("systemctl", "restart", "podkeeper")
        agent, before = host.agent_pid(), ended()
        host.run("kill", "-STOP", str(agent))

        def another() -> bool:
            pid, state = properties(host, "podkeeper.service", "MainPID", "ActiveState")
            return pid not in ("0", str(agent)) and state == "active"

        wait_for(another, 30, "systemd has started another one")
        assert ended() > before
    host.run("systemctl", "restart", "podkeeper")
    host.wait_ready()


def test_code_that_only_the_start_ran_takes_no_memory(host: Host):
    def part() -> float:
        """How much of the agent's own code is mapped. After a start it is more than three quarters."""
        maps = host.run("cat", f"/proc/{host.agent_pid()}/smaps")
        pattern = r"r-xp .* /usr/bin/podkeeper\nSize: +(\d+) kB\n(?:[A-Z].*\n)*?Rss: +(\d+) kB"
        ((size, mapped),) = re.findall(pattern, maps)
        return int(mapped) / int(size)

    host.run("systemctl", "restart", "podkeeper")
    host.wait_ready()
    # That is done soon after the start, and then each minute.
    wait_for(lambda: part() < 0.6, 70, "the rest is given back")
    host.wait_ready()


def test_a_restart_refuses_no_connection(host: Host):
    agents = {host.agent_pid()}
    with Clients("http://127.0.0.1:7070/healthz") as clients:
        # More often in a short time than systemd's default limit would take.
        for _ in range(7):
            host.run("systemctl", "restart", "podkeeper")
            clients.go_on(6)
            agents.add(host.agent_pid())
    assert len(agents) == 8
    assert not clients.failures
    with Clients("http://127.0.0.1:7070/healthz") as clients:
        killed = host.agent_pid()
        host.run("systemctl", "kill", "-s", "KILL", "podkeeper")
        wait_for(lambda: host.agent_pid() not in (0, killed), 30, "systemd has started the next one")
        clients.go_on(6)
    # What the killed one was answering is cut off; nobody is refused.
    assert not [failure for failure in clients.failures if "refused" in failure]


def test_a_reload_reads_the_configuration_again_and_a_bad_one_changes_nothing(host: Host):
    agent = host.agent_pid()
    body = {"name": "x" * 3000}

    def too_large() -> bool:
        return host.call("PUT", "/services/reload", json=body).status_code == 413

    def refusals() -> list[str]:
        return host.journal("-u", "podkeeper", "--grep", "the configuration is kept as it was")

    assert not too_large()
    with host.configured("[limits]\nbody_kib = 2\n"):
        assert too_large()
        assert host.agent_pid() == agent
        before = len(refusals())

        # systemctl tells that it is bad, and what is bad.
        host.write("/etc/podkeeper/podkeeper.toml", "[limits]\nbody_kib = 4096\nbodykib = 1\n")
        assert host.code("systemctl", "reload", "podkeeper") != 0
        # Also where a signal comes from elsewhere.
        host.run("systemctl", "kill", "-s", "HUP", "podkeeper")
        wait_for(lambda: len(refusals()) > before, 10, "it tells that it is bad")
        told = "\n".join(refusals()[before:])
        assert "line 3" in told and "bodykib" in told, told
        assert too_large()
        assert host.agent_pid() == agent and host.run("systemctl", "is-active", "podkeeper") == "active\n"
    assert not too_large()


def test_config_check_names_the_line_of_what_is_wrong(host: Host):
    assert "is good" in host.run("podkeeper", "config", "check")
    for text, told in (
        ("[builds]\nparallel = 1\nparalel = 2\n", ("line 3", "unknown field `builds.paralel`")),
        ("[buidls]\n", ("line 1", "unknown field `buidls`")),
        ("[builds]\n\ntimeout = 5\n", ("line 3",)),
        ("[builds]\nparallel = 99\n", ("builds.parallel", "from 1 to 16")),
    ):
        host.write("/tmp/check.toml", text)
        said = host.run("podkeeper", "config", "check", "/tmp/check.toml", check=False)
        assert all(part in said for part in told), said
        assert host.code("podkeeper", "config", "check", "/tmp/check.toml") == 1


class SlowPush:
    """A push by hand, of which all is sent but the end."""

    def __init__(self, host: Host, name: str, clone: Clone) -> None:
        old = clone.git("rev-parse", "HEAD").strip()
        clone.commit({"large.bin": pathlib.Path("/dev/urandom").open("rb").read(400_000)})
        self.old, self.new = old, clone.git("rev-parse", "HEAD").strip()
        pack = subprocess.run(
            ["git", "pack-objects", "--stdout", "--revs", "-q"],
            cwd=clone.folder,
            input=f"{self.new}\n^{old}\n".encode(),
            capture_output=True,
            check=True,
        ).stdout
        update = f"{old} {self.new} refs/heads/main\0 report-status\n".encode()
        body = b"%04x" % (len(update) + 4) + update + b"0000" + pack
        password = base64.b64encode(f"any:{host.token}".encode()).decode()
        head = (
            f"POST /git/{name}.git/git-receive-pack HTTP/1.1\r\nHost: localhost:7070\r\nAuthorization: Basic {password}\r\n"
            f"Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.stream = socket.create_connection(("127.0.0.1", 7070), timeout=600)
        self.stream.sendall(head.encode() + body[:-1000])
        self.rest = body[-1000:]
        taken = f"ls -d /var/lib/podkeeper/git/{name}.git/objects/tmp_objdir-incoming-*"
        wait_for(lambda: host.code("sh", "-c", taken) == 0, 30, "git takes in what is sent")

    def finish(self) -> str:
        """Sends the rest; the whole answer."""
        self.stream.sendall(self.rest)
        answer = b""
        while data := self.stream.recv(65536):
            answer += data
        return answer.decode(errors="replace")


def branch(host: Host, name: str) -> str:
    return host.user("git", "-C", f"/var/lib/podkeeper/git/{name}.git", "rev-parse", "refs/heads/main").strip()


# systemd's own time limit is not what is looked at here.
PATIENT = "TimeoutStopSec=15min"


def test_sigterm_ends_it_in_time_and_cuts_off_nothing_that_matters(host: Host, name: str, gate: Gate, tmp_path):
    host.create(name)
    other = f"{name[:30]}-other"
    host.create(other)
    try:
        clone = host.clone(name, tmp_path / "clone")
        clone.commit({"Containerfile": built_behind(gate), "site/index.html": "built over a restart"})
        push = Push(clone)
        deployment = under_way(host, name)
        gate.wait_reached()

        events: list[str] = []
        url = f"http://127.0.0.1:7070/deployments/{deployment['id']}/log"
        headers = {"Authorization": f"Bearer {host.token}", "Accept": "text/event-stream"}
        stream = requests.get(url, headers=headers, stream=True, timeout=600)
        reader = threading.Thread(target=lambda: events.extend(stream.iter_lines(decode_unicode=True)), daemon=True)
        reader.start()
        wait_for(lambda: events, 30, "the stream tells something")

        # Whoever is listening is told.
        with host.configured('[limits]\ngrace = "9s"\n'), unit_with(host, PATIENT):
            end(host)
        reader.join(600)
        event, data = [line for line in events if line][-2:]
        assert event == "event: closed"
        assert json.loads(data.removeprefix("data: ")) == {"detail": "The agent is stopping.", "problem": "restarting"}
        assert "The agent restarts. Your push is kept and goes on: podkeeper deployments" in push.end()
        goes_on(host, deployment, gate)

        # Who does not end is not waited for, and half of a push changes nothing.
        host.start_agent()
        unfinished = SlowPush(host, other, host.clone(other, tmp_path / "other"))
        with host.configured('[limits]\ngrace = "1s"\n'), unit_with(host, PATIENT):
            end(host)
        assert branch(host, other) == unfinished.old
        goes_on(host, deployment, gate)

        host.start_agent()
        gate.open()
        host.wait_deployment(deployment["id"])
        assert host.serve(name).text == "built over a restart"
        assert host.call("GET", f"/services/{other}/deployments", 200).json()["deployments"] == []
    finally:
        host.start_agent()
        host.delete(other)


def end(host: Host) -> None:
    """The agent is told to end, and ends by itself."""
    host.run("systemctl", "stop", "podkeeper.service", timeout=1200)
    assert properties(host, "podkeeper.service", "Result", "ExecMainStatus") == ["success", "0"]


def goes_on(host: Host, deployment: dict, gate: Gate) -> None:
    """The build goes on without the agent."""
    build = f"build-{deployment['id']}.service"
    assert host.user("systemctl", "--user", "show", "-P", "SubState", build) == "running\n" and gate.reached()


def test_a_push_that_ends_soon_after_sigterm_is_taken(host: Host, name: str, tmp_path):
    host.create(name)
    push = SlowPush(host, name, host.clone(name, tmp_path / "clone"))
    with host.configured('[limits]\ngrace = "9s"\n'), unit_with(host, PATIENT):
        host.run("systemctl", "stop", "--no-block", "podkeeper.service")
        wait_for(lambda: properties(host, "podkeeper.service", "ActiveState") == ["deactivating"], 10, "it stops")
        answer = push.finish()
        assert "ok refs/heads/main" in answer, answer
        assert branch(host, name) == push.new
        host.start_agent()

    def deployed() -> list:
        return host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"]

    (deployment,) = wait_for(deployed, 30, "what was pushed is deployed")
    assert deployment["commit"] == push.new
    host.wait_deployment(deployment["id"])


def test_the_units_are_sound_and_closed(host: Host):
    units = ("podkeeper.service", "podkeeper.socket", "podkeeper-proxy.service")
    assert not host.run("systemd-analyze", "verify", "--man=no", *(f"/usr/lib/systemd/system/{unit}" for unit in units), check=False)
    assert not host.user("systemd-analyze", "--user", "verify", "--man=no", "/usr/lib/systemd/user/build.slice")
    told = host.run("systemd-analyze", "security", "--no-pager", "podkeeper.service").strip().splitlines()[-1]
    assert float(told.split("podkeeper.service:")[1].split()[0]) <= 1.0, told
