"""`packaging/up` and `packaging/down`, on a machine without systemd and on one with it."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
import requests
from conftest import debs
from host import HOST, ROOT, SLACK, Host, enter_network, wait_for

# Others come behind it in the list of hosts, in which it must be found all the same.
NAME = f"a-{os.environ.get('PYTEST_XDIST_WORKER', 'x')}"


def packages() -> list[str]:
    return [word for file in sorted(debs().glob("*.deb")) for word in ("--deb", str(file))]


@pytest.fixture
def machine() -> Iterator[list[str]]:
    """A network of its own, so that nobody else has the ports: the words that run a command in it.

    Whatever host a test leaves there ends with it.
    """
    with contextlib.ExitStack() as stack:
        holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"], stdout=subprocess.PIPE
        )
        stack.callback(holder.wait)
        stack.callback(holder.kill)
        assert holder.stdout and holder.stdout.readline() == b"up\n"
        before = stack.enter_context(open("/proc/self/ns/net"))
        stack.callback(enter_network, before.fileno())
        network = f"/proc/{holder.pid}/ns/net"
        with open(network) as file:
            enter_network(file.fileno())
        stack.callback(subprocess.run, [HOST, "stop", NAME], check=True)
        yield ["env", f"PODKEEPER_THROWAWAY={NAME}"]


def run(machine: list[str], command: str, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*machine, str(ROOT / "packaging" / command), *arguments], text=True, capture_output=True, timeout=3600, **options
    )


def test_up_makes_a_host_again_and_again_and_down_takes_it_away(machine):
    first = run(machine, "up", *packages(), "--json")
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout.splitlines()[-1])
    assert set(told) == {"url", "enroll_url", "enter"}
    # It tells how far it is, and what to do next.
    assert "[1/4]" in first.stderr and "[4/4]" in first.stderr
    assert told["enroll_url"].startswith(f"{told['url']}/#enroll=") and told["enroll_url"] in first.stderr
    assert told["url"] in first.stderr and "git push" in first.stderr and "packaging/down" in first.stderr
    # Nothing is built from what was given, and nothing that an internet would be needed for is promised.
    assert "while the packages are built" not in first.stderr and "no internet" in first.stderr
    # What it says to type works in the clone, too.
    (create,) = [line.strip() for line in first.stderr.splitlines() if " podkeeper create hello " in line]
    assert subprocess.run([*create.split()[:-4], "templates"], cwd="/", capture_output=True, text=True).returncode == 0

    def inside(*argv: str) -> str:
        return subprocess.check_output([*told["enter"], *argv], text=True).strip()

    assert inside("id", "-u") == "0" and inside("systemctl", "is-system-running") == "running"
    token = inside("podkeeper", "token", "create", "--name", "up")
    headers = {"Authorization": f"Bearer {token}"}
    assert requests.get(f"{told['url']}/readyz", timeout=60).status_code == 200
    service = {"template": "static"}
    assert requests.put(f"{told['url']}/services/blog", json=service, headers=headers, timeout=60).status_code == 201
    begun = requests.post(f"{told['url']}/services/blog/start", headers=headers, timeout=60).json()
    deployment = lambda: requests.get(f"{told['url']}/deployments/{begun['id']}", headers=headers, timeout=60).json()
    wait_for(lambda: deployment()["state"] == "live", 120, lambda: f"the service is live: {deployment()}")
    blog = {"Host": "blog.localhost:8080"}
    for address in ("127.0.0.1", "[::1]"):
        assert requests.get(f"http://{address}:8080/", headers=blog, timeout=60).status_code == 200

    again = run(machine, "up", *packages(), "--json")
    assert again.returncode == 0, again.stderr
    # The link is another one each time: it is good once.
    retold = json.loads(again.stdout.splitlines()[-1])
    assert retold.pop("enroll_url") != told["enroll_url"]
    assert retold.items() <= told.items() and len(retold) == 2
    assert requests.get(f"{told['url']}/services/blog", headers=headers, timeout=60).status_code == 200
    assert requests.get("http://127.0.0.1:8080/", headers=blog, timeout=60).status_code == 200

    forwarder = pathlib.Path(f"/run/podkeeper-up/{NAME}/forward.pid").read_text().strip()
    for _ in range(2):
        down = run(machine, "down")
        assert down.returncode == 0, down.stderr
        assert "is gone" in down.stderr
        assert NAME not in subprocess.check_output([HOST, "list"], text=True).split()
        for left in (f"/run/podkeeper-up/{NAME}", f"/run/podkeeper-test/{NAME}", f"/var/tmp/podkeeper-test/{NAME}"):
            assert not pathlib.Path(left).exists()
        # It sees the host's end and ends by itself.
        listed = lambda: subprocess.check_output(["ps", "-e", "-o", "pid=,stat="], text=True).splitlines()
        gone = lambda: not any(line.split()[0] == forwarder and "Z" not in line.split()[1] for line in listed())
        wait_for(gone, 10, "the forwarder has ended")
        with pytest.raises(requests.ConnectionError):
            requests.get(told["url"], timeout=60)


# A command that stands still when it is called like that, until the test interrupts it, and tells it. One that copies has
# begun to.
STANDS = """#!/bin/sh
case "$*" in {call}*) : >{reached}; for last; do :; done; [ {name} != cp ] || mkdir "$last"; exec sleep infinity ;; esac
exec {command} "$@"
"""


def test_up_goes_on_where_it_was_interrupted(machine, tmp_path):
    pid = pathlib.Path(f"/run/podkeeper-test/{NAME}/pid")
    said = tmp_path / "said"
    enter = [HOST, "enter", NAME, "--", "sh", "-c"]

    def begin(path: str = "") -> subprocess.Popen:
        with said.open("w") as out:
            argv = [*machine, f"PATH={path}{os.environ['PATH']}", str(ROOT / "packaging/up"), *packages()]
            # A shell that began these tests in the background has them ignore it.
            heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
            return subprocess.Popen(argv, stdout=out, stderr=out, start_new_session=True, preexec_fn=heard)

    def interrupt(up: subprocess.Popen, moment: Callable[[], object]) -> None:
        try:
            wait_for(lambda: moment() or up.poll() is not None, 120, lambda: f"it is so far: {said.read_text()}")
            # As Ctrl-C on a terminal.
            os.killpg(up.pid, signal.SIGINT)
            assert up.wait(60 * SLACK) == 130, said.read_text()
        finally:
            up.kill()
        assert "interrupted" in said.read_text()

    # Before the host's first process runs, and once it does.
    for name, call in (("cp", "-a"), ("ip", r"link\ del")):
        folder, reached = tmp_path / name, tmp_path / f"{name}.reached"
        folder.mkdir()
        (folder / name).write_text(STANDS.format(name=name, call=call, reached=reached, command=shutil.which(name)))
        (folder / name).chmod(0o755)
        interrupt(begin(f"{folder}:"), reached.exists)
        assert "[3/4]" in said.read_text() and not pid.exists()
    assert run(machine, "up", *packages()).returncode == 0
    # dpkg stands still once it has begun (dpkg(1), --pre-invoke), and goes on for a while after its end was asked for.
    gate = "/etc/dpkg/dpkg.cfg.d/gate"
    holds = "trap : INT; touch /run/reached; until [ -e /run/open ]; do sleep 0.1; done"
    subprocess.run([*enter, f"echo 'pre-invoke={holds}' >{gate}"], check=True)
    interrupt(begin(), lambda: subprocess.run([*enter, "[ -e /run/reached ]"]).returncode == 0)
    up = begin()
    try:
        log = pathlib.Path(f"/run/podkeeper-up/{NAME}/install.log")
        waits = lambda: "which holds apt's locks" in log.read_text()
        wait_for(lambda: waits() or up.poll() is not None, 120, lambda: f"the next one waits: {said.read_text()}")
        assert waits(), said.read_text()
        subprocess.run([*enter, f"rm {gate}; touch /run/open"], check=True)
        assert up.wait(600 * SLACK) == 0, said.read_text()
    finally:
        up.kill()

    # A host that ended by itself, and what was changed in it.
    subprocess.run([*enter, "echo '[services]\nkeep = 4' >/etc/podkeeper/podkeeper.toml; sync"], check=True)
    ends = int(pid.read_text())
    os.kill(ends, signal.SIGKILL)
    wait_for(lambda: not pathlib.Path(f"/proc/{ends}").exists(), 10, "the host has ended")
    again = run(machine, "up", *packages())
    assert again.returncode == 0, again.stderr
    assert "keep = 4" in subprocess.check_output([*enter, "cat /etc/podkeeper/podkeeper.toml"], text=True)
    assert run(machine, "down").returncode == 0


def test_up_says_what_is_missing(machine, tmp_path):
    (agent,) = debs().glob("podkeeper_*.deb")
    old = tmp_path / "rustc"
    old.write_text("#!/bin/sh\necho rustc 1.80.0\n")
    old.chmod(0o755)
    outdated = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for arguments, told, options in (
        (["--deb", str(agent)], "the package podkeeper-host is missing", {}),
        (["--deb", "/nowhere.deb"], "there is no package '/nowhere.deb'", {}),
        (["--deb"], "--deb takes a file", {}),
        (["--dev"], "Usage: packaging/up", {}),
        ([], "rustc 1.94 or later, and here is 1.80.0", {"env": outdated}),
        (packages(), "run it as root", {"user": 65534, "group": 65534}),
    ):
        refused = run(machine, "up", *arguments, **options)
        assert refused.returncode != 0 and told in refused.stderr, refused.stderr
    with socket.create_server(("127.0.0.1", 8080)):
        refused = run(machine, "up", *packages())
        assert refused.returncode != 0 and "something else listens on 127.0.0.1:8080. End it" in refused.stderr
    assert NAME not in subprocess.check_output([HOST, "list"], text=True).split()


def test_on_systemd_it_installs_on_this_machine(plain: Host, tmp_path):
    plain.run("mkdir", "-p", "/root/packaging", "/root/fake")
    for file in ("apt", "common", "up", "down"):
        plain.put(ROOT / "packaging" / file, f"/root/packaging/{file}")
        plain.run("chmod", "755", f"/root/packaging/{file}")
    given = []
    for file in debs().glob("*.deb"):
        plain.put(file, f"/root/{file.name}")
        given += ["--deb", f"/root/{file.name}"]

    plain.write("/root/fake/apt-cache", "#!/bin/sh\necho '  Candidate: 4.3.1+ds1-8'\n")
    plain.run("chmod", "755", "/root/fake/apt-cache")
    path = "PATH=/root/fake:/usr/sbin:/usr/bin:/sbin:/bin"
    refused = plain.run("env", path, "/root/packaging/up", *given, check=False, timeout=3600)
    assert "needs Podman 5.3 or later" in refused and "has 4.3.1" in refused and "Debian 13" in refused
    assert plain.code("test", "-e", "/usr/bin/podkeeper") != 0

    for port in ("7070", "8080"):
        plain.run("systemd-run", "--unit=other", "busybox", "nc", "-ll", "-p", port, "-e", "true")
        wait_for(lambda: plain.run("ss", "-Hltn", f"sport = :{port}"), 10, "it listens")
        refused = plain.run("/root/packaging/up", *given, check=False, timeout=3600)
        assert f"something else listens on 127.0.0.1:{port}. End it" in refused, refused
        assert plain.code("test", "-e", "/usr/bin/podkeeper") != 0
        plain.run("systemctl", "stop", "other")

    for _ in range(2):
        told = json.loads(plain.run("/root/packaging/up", *given, "--json", timeout=3600).splitlines()[-1])
        assert told["url"] == "http://localhost:7070" and told["enter"] == []
        plain.wait_ready()
    said = plain.run("/root/packaging/down", check=False, timeout=3600)
    assert "/var/lib/podkeeper" in said
    assert plain.code("systemctl", "cat", "podkeeper.service", "podkeeper-proxy.service") != 0
    # Nothing is left to take away, and that is fine.
    plain.run("/root/packaging/down")
