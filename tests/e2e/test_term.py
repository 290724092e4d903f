"""Terminals: the isolated shell and shells in services, by what they can do and what they can't reach."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from containers import numbers
from host import ROOT, Host, wait_for
from reach import INTERNET, LINK, REACH, at, has_address, reached, reaches, resolving, served_outside
from sockets import PATIENCE, URL
from terminal import NotFound, Refused, Session, Terminals

BASE = "FROM docker.io/library/busybox:stable\n"
SERVE = 'EXPOSE 8080\nSTOPSIGNAL SIGKILL\nCMD ["httpd", "-f", "-p", "8080"]\n'


@pytest.fixture(scope="module")
def running(host: Host):
    """A service that runs, for the shells in it."""
    name = "t-terminal-service"
    try:
        host.create(name)
        host.start(name)
        yield name
    finally:
        host.delete(name)


@pytest.fixture(scope="module")
def with_bash(host: Host, tmp_path_factory: pytest.TempPathFactory):
    """A service whose image has something that is called bash, beside sh."""
    name = "t-terminal-bash"
    try:
        host.create(name)
        clone = host.clone(name, tmp_path_factory.mktemp("bash") / "clone")
        clone.commit({"Containerfile": f"{BASE}COPY --chmod=755 bash /bin/bash\n{SERVE}", "bash": "#!/bin/sh\nIN=bash exec /bin/sh\n"})
        clone.push()
        yield name
    finally:
        host.delete(name)


@pytest.fixture
def terminals(host: Host):
    with Terminals(host) as terminals:
        yield terminals
        for session in terminals.list():
            # It may end by itself meanwhile.
            with contextlib.suppress(NotFound):
                terminals.ask("close", {"session": session["session"]})
    with Terminals(host) as after:
        wait_for(lambda: not after.list(), 30, "all sessions have ended")


def left_of(host: Host, session: str) -> str:
    """What the host has of a session."""
    return (
        host.user("podman", "ps", "-a", "-q", "--filter", f"name=podkeeper-shell-{session}")
        + host.user("systemctl", "--user", "list-units", "--all", "--no-legend", f"shell-{session}*", f"*reap-{session}*")
        + host.run("sh", "-c", f"ls /var/lib/podkeeper/agent/sessions/{session} 2>/dev/null || true")
    ).strip()


def deeds(host: Host, session: str) -> list[tuple[str, str, str]]:
    """What the audit log tells of a session: who, what, with what result; the oldest first."""
    told, cursor = [], None
    while True:
        page = host.call("GET", "/audit", 200, params={"limit": 1000, "cursor": cursor}).json()
        told += [row for row in page["rows"] if session in f"{row['target']} {row['detail']}"]
        cursor = page["cursor"]
        if cursor is None:
            return [(row["actor"].split(":")[0], row["action"], row["result"]) for row in reversed(told)]


def ended_by(host: Host, session: str, actor: str, result: str) -> None:
    """Waits until the audit log tells of a session's end, which was this one."""
    wait_for(lambda: len(deeds(host, session)) > 1, 10, "its end is written down")
    assert deeds(host, session) == [("token", "/term open", "done"), (actor, "/term close", result)]


class Lasting:
    """Processes that go on until they are ended, each a `sleep` of a number that nothing else has."""

    def __init__(self, host: Host, count: int) -> None:
        self.host = host
        self.seconds = [next(numbers) for _ in range(count)]
        self.pattern = f"^(/bin/)?sleep ({'|'.join(map(str, self.seconds))})$"

    def pids(self) -> list[str]:
        return self.host.run("pgrep", "-f", self.pattern, check=False).split()

    def wait_begun(self) -> None:
        wait_for(lambda: len(self.pids()) == len(self.seconds), 10, "all of them run")

    def wait_gone(self) -> None:
        wait_for(lambda: not self.pids(), 60, "they are gone")


def test_the_isolated_shell_is_a_shell(host: Host, terminals: Terminals):
    shell = terminals.open(cols=101, rows=31, name="first")
    assert shell.run("stty size") == "31 101"
    assert "uid=0(root)" in shell.run("id")
    terminals.ask("resize", {"session": shell.id, "cols": 132, "rows": 43})
    wait_for(lambda: shell.run("stty size") == "43 132", 10, "the program knows the new size")
    limits = host.user(
        "systemctl", "--user", "show", "-p", "MemoryMax", "-p", "TasksMax", "-p", "CPUQuotaPerSecUSec", f"shell-{shell.id}.slice"
    )
    assert set(limits.split()) == {"MemoryMax=1073741824", "TasksMax=512", "CPUQuotaPerSecUSec=1s"}, limits
    lasting = Lasting(host, 2)
    one, other = lasting.seconds
    shell.run(f"echo kept >/root/kept-by-a-test; sleep {one} & setsid sleep {other} >/dev/null 2>&1 &")
    lasting.wait_begun()
    shell.type("exit 7\n")
    assert shell.exit()["code"] == 7
    wait_for(lambda: not left_of(host, shell.id), 30, "nothing is left of it")
    assert not lasting.pids()
    again = terminals.open()
    assert again.run("cat /root/kept-by-a-test; rm /root/kept-by-a-test") == "kept"
    again.close()
    for session in (shell, again):
        ended_by(host, session.id, "token", "done")


def test_sessions_are_named_and_bounded(host: Host, terminals: Terminals):
    one = terminals.open(name="one")
    with pytest.raises(Refused) as refused:
        terminals.open(name="one")
    assert refused.value.code == "conflict"
    for bad in ({"cols": 1}, {"rows": 0}, {"cols": 5000}, {"name": "A b"}, {"service": "../x"}, {"nothing": 1}):
        with pytest.raises(Refused) as refused:
            terminals.open(**bad)
        assert refused.value.code in ("bad-request", "invalid-name"), bad
    two = terminals.open(name="two")
    one.run("echo first >/tmp/where")
    assert two.run("cat /tmp/where 2>&1").endswith("No such file or directory")
    assert one.run("cat /tmp/where") == "first"
    with host.configured("[shell]\nsessions = 2\n"), pytest.raises(Refused) as refused:
        terminals.open()
    assert refused.value.code == "exhausted"
    (listed,) = [session for session in terminals.list() if session["session"] == one.id]
    assert listed["name"] == "one" and listed["service"] is None and listed["viewers"] == 1
    for event in ("attach", "close", "input", "resize", "ack"):
        extra = {"input": {"text": "x"}, "resize": {"cols": 80, "rows": 24}, "ack": {"bytes": 1}}.get(event, {})
        with pytest.raises(Refused) as refused:
            terminals.ask(event, {"session": "aaaaaaaa", **extra})
        assert refused.value.code == "not-found"


def test_every_byte_and_character_comes_as_it_was_written(terminals: Terminals):
    shell = terminals.open()
    shell.type("stty -opost -echo; PS1=; echo re''ady\n")
    shell.wait(b"ready\n")
    octal = "".join(f"\\{byte:03o}" for byte in range(256))
    after = len(shell.seen)
    shell.type(f"printf 'from{octal}%s' to\n")
    shell.wait(b"from" + bytes(range(256)) + b"to", after=after)
    after = len(shell.seen)
    shell.type("i=0; while [ $i -lt 3000 ]; do printf '\\303\\251\\360\\237\\246\\200'; i=$((i+1)); done; printf ov''er\n")
    assert "é🦀" * 3000 + "over" in shell.wait("🦀over", after=after).decode()
    # Typed in the middle of a character.
    after = len(shell.seen)
    shell.type("read line; echo $line | tr a b; echo do''ne\n")
    for byte in "🦀a\n".encode():
        shell.type(bytes([byte]))
    assert "🦀b\n" in shell.wait(b"done\n", after=after).decode()


def test_every_key_reaches_the_program(running: str, terminals: Terminals):
    for shell in (terminals.open(), terminals.open(service=running)):
        # What is typed before it has begun waits for it.
        assert shell.run("echo begin; stty -ixon") == "begin"
        # Keys that Podman would take for its own, were it not told other ones.
        shell.type("cat -v\n\x10\x11\x1f\x1e\n")
        shell.wait(b"^P^Q^_^^\r\n")
        shell.type(b"\xff\n")
        shell.wait(b"M-^?\r\n")
        shell.close()


def test_a_session_that_is_closed_while_it_is_made_leaves_nothing(host: Host, running: str, terminals: Terminals):
    for delay in (0, 0.05, 0.2):
        for wanted in ({}, {"service": running}):
            shell = terminals.open(**wanted)
            time.sleep(delay)
            shell.close()
            marked = lambda: host.code("sh", "-c", f"grep -l -z PODKEEPER_SESSION={shell.id} /proc/*/environ") == 0
            wait_for(lambda: not left_of(host, shell.id) and not marked(), 30, "nothing is left of it")
            assert not host.user("podman", "ps", "-a", "-q", "--filter", "label=podkeeper.shell").split()


def test_control_c_ends_a_flood(terminals: Terminals):
    shell = terminals.open()
    shell.type("yes flood\n")
    wait_for(lambda: len(shell.seen) > 1024 * 1024, 30, "it goes on and on")
    after = len(shell.seen)
    shell.type(b"\x03echo qui''et\n")
    shell.wait(b"quiet\r\n", after=after)


def test_a_viewer_that_takes_nothing_holds_nobody_up(host: Host, terminals: Terminals):
    # So that only this one is left behind, and not who is merely slow.
    with host.configured('[shell]\npatience = "10s"\n'):
        shell = terminals.open()
    with Terminals(host, acks=False) as stalled:
        slow = stalled.attach(shell.id)
        assert shell.run("seq 1 1000000", seconds=120).endswith("\n1000000")
        assert len(slow.seen) < 400 * 1024
        before = len(slow.seen)
        stalled.acks = True
        stalled.ask("ack", {"session": shell.id, "bytes": before})
        shell.run("echo caught up")
        assert b"caught up" in slow.wait(b"caught up", after=before)
        # What it missed was kept for nobody.
        assert len(slow.seen) < 1024 * 1024
        with pytest.raises(Refused):
            stalled.ask("ack", {"session": shell.id, "bytes": 10**9})


def test_two_watch_one_session_and_it_outlives_both(host: Host, terminals: Terminals):
    shell = terminals.open()
    shell.run("echo on the screen")
    shell.type("read line && echo got $line\n")
    with Terminals(host) as second:
        other = second.attach(shell.id)
        assert b"on the screen" in other.wait("on the screen")
        second.ask("resize", {"session": shell.id, "cols": 90, "rows": 30})
        wait_for(lambda: any(size["cols"] == 90 for size in terminals.sizes), 10, "the first is told of the size")
        other.type("from the second\n")
        shell.wait("got from the second")
    terminals.ask("detach", {"session": shell.id})
    with Terminals(host) as third:
        (listed,) = [session for session in third.list() if session["session"] == shell.id]
        assert listed["viewers"] == 0
        assert b"got from the second" in third.attach(shell.id).wait("got from the second")


def test_a_session_that_nobody_watches_ends_in_its_time(host: Host, terminals: Terminals):
    lasting = Lasting(host, 1)
    with host.configured('[shell]\ndetached = "2s"\n'), Terminals(host) as left:
        session = left.open()
        session.run(f"sleep {lasting.seconds[0]} &")
        lasting.wait_begun()
    wait_for(lambda: session.id not in [s["session"] for s in terminals.list()], 30, "it has ended")
    wait_for(lambda: not left_of(host, session.id), 30, "nothing is left of it")
    assert not lasting.pids()
    with host.configured('[shell]\nidle = "2s"\n'):
        idle = terminals.open()
        assert idle.exit()["problem"] == "cancelled"
    for one in (idle, session):
        ended_by(host, one.id, "agent", "cancelled")


def test_a_shell_in_a_service_takes_its_processes_along(host: Host, running: str, terminals: Terminals):
    shell = terminals.open(service=running, cols=100, rows=40)
    assert shell.run("stty size") == "40 100"
    assert "httpd" in shell.run("ps")
    # Two that carry the mark and left the shell, and one without it that did not leave.
    lasting = Lasting(host, 3)
    one, two, bare = lasting.seconds
    shell.run(f"(sleep {one} &) ; setsid sleep {two} & env -i /bin/sh -c '/bin/sleep {bare}; true' &")
    lasting.wait_begun()
    shell.close()
    wait_for(lambda: not left_of(host, shell.id), 30, "nothing is left of it")
    assert not lasting.pids()
    assert host.serve(running).status_code == 200


def test_a_services_shell_is_bash_where_it_has_one(running: str, with_bash: str, terminals: Terminals):
    assert terminals.open(service=with_bash).run("echo $IN") == "bash"
    assert terminals.open(service=running).run("echo $0 $IN").endswith("/sh")


def test_what_has_no_shell_says_so(host: Host, name: str, terminals: Terminals, tmp_path):
    host.create(name)
    for service, code in (("t-nobody-has-this", "not-found"), (name, "conflict")):
        with pytest.raises(Refused) as refused:
            terminals.open(service=service)
        assert refused.value.code == code
    clone = host.clone(name, tmp_path / "clone")
    bare = f"{BASE.strip()} AS tools\nFROM scratch\nCOPY --from=tools /usr/bin/busybox /httpd\n"
    clone.commit({"Containerfile": bare + SERVE.replace('"httpd"', '"/httpd"')})
    clone.push()
    with pytest.raises(Refused) as refused:
        terminals.open(service=name)
    assert refused.value.code == "no-shell"


def two_that_last(
    host: Host, running: str, terminals: Terminals, **wanted: str
) -> tuple[tuple[Session, Session], Lasting]:
    """An isolated shell and one in a service, each with a process that goes on."""
    isolated, inside = terminals.open(**wanted), terminals.open(service=running)
    lasting = Lasting(host, 2)
    isolated.run(f"sleep {lasting.seconds[0]} &")
    inside.run(f"setsid sleep {lasting.seconds[1]} &")
    lasting.wait_begun()
    return (isolated, inside), lasting


def test_a_killed_agent_leaves_nothing_for_long(host: Host, running: str):
    with Terminals(host) as terminals:
        (isolated, inside), lasting = two_that_last(host, running, terminals)
        host.kill_agent()
    assert len(lasting.pids()) == 2
    host.start_agent()
    lasting.wait_gone()
    wait_for(lambda: not left_of(host, isolated.id) + left_of(host, inside.id), 60, "nothing is left of them")
    assert host.serve(running).status_code == 200
    for session in (isolated, inside):
        ended_by(host, session.id, "agent", "done")


def test_an_agent_that_stops_takes_its_sessions_along(host: Host, running: str):
    with Terminals(host) as terminals:
        (isolated, inside), lasting = two_that_last(host, running, terminals)
        host.run("systemctl", "restart", "podkeeper")
        for session in (isolated, inside):
            assert session.exit()["problem"] == "restarting"
    host.wait_ready()
    lasting.wait_gone()
    wait_for(lambda: not left_of(host, isolated.id) + left_of(host, inside.id), 60, "nothing is left of them")
    for session in (isolated, inside):
        wait_for(lambda: len(deeds(host, session.id)) > 1, 10, "its end is written down")
        assert deeds(host, session.id)[1] == ("agent", "/term close", "restarting")


@contextlib.contextmanager
def unable_to_reap(host: Host, session: str):
    """The unit that would kill the processes of a session can't be started, since there is another of its name."""
    unit = f"podkeeper-reap-{session}.service"
    host.user("systemd-run", "--user", "--quiet", f"--unit={unit}", "sleep", "infinity")
    try:
        yield
    finally:
        host.user("systemctl", "--user", "stop", unit, check=False)


def test_what_can_t_be_cleared_away_is_tried_until_it_is(host: Host, running: str, terminals: Terminals):
    (isolated, inside), lasting = two_that_last(host, running, terminals, name="lasting")
    podman = ("podman.socket", "podman.service")
    failed = lambda session: host.journal("-u", "podkeeper", "--grep", "is not cleared away", f"PODKEEPER_SESSION={session.id}")
    with unable_to_reap(host, inside.id):
        host.user("systemctl", "--user", "stop", *podman)
        try:
            for session in (isolated, inside):
                with contextlib.suppress(NotFound):
                    terminals.ask("close", {"session": session.id})
                session.exit()
            for session in (isolated, inside):
                wait_for(lambda: failed(session), 30, "its end has failed")
            # It is tried a few times more.
            time.sleep(4)
            listed = {session["session"]: session for session in terminals.list()}
            for session in (isolated, inside):
                assert listed[session.id]["ending"] is True
                for event, extra in (("attach", {}), ("input", {"text": "x"}), ("resize", {"cols": 90, "rows": 30})):
                    with pytest.raises(NotFound):
                        terminals.ask(event, {"session": session.id, **extra})
                # It is written down once.
                assert terminals.ask("close", {"session": session.id}) == {}
            assert len(lasting.pids()) == 2
        finally:
            host.user("systemctl", "--user", "start", podman[0])
    # Its name is free meanwhile.
    again = terminals.open(name="lasting")
    wait_for(lambda: [session["session"] for session in terminals.list()] == [again.id], 60, "the others are cleared away")
    for session in (isolated, inside):
        assert not left_of(host, session.id)
        wait_for(lambda: len(deeds(host, session.id)) > 1, 10, "its end is written down")
        assert len(deeds(host, session.id)) == 2, deeds(host, session.id)
        assert len(failed(session)) == 1
    assert not lasting.pids()


def test_a_leftover_that_can_t_be_cleared_away_holds_nothing_up(host: Host, running: str):
    with Terminals(host) as terminals:
        (isolated, stuck), lasting = two_that_last(host, running, terminals)
        host.kill_agent()
    with unable_to_reap(host, stuck.id):
        # As where the power was cut: the note of the session is gone, and its container is not.
        host.run("rm", f"/var/lib/podkeeper/agent/sessions/{isolated.id}")
        host.start_agent()
        with Terminals(host) as terminals:
            shell = terminals.open()
            assert shell.run("echo opened") == "opened"
            shell.close()
        wait_for(lambda: not left_of(host, isolated.id), 60, "the other one is cleared away")
        ended_by(host, isolated.id, "agent", "done")
        assert len(lasting.pids()) == 1
    wait_for(lambda: not left_of(host, stuck.id), 60, "nothing is left of it")
    lasting.wait_gone()
    ended_by(host, stuck.id, "agent", "done")
    told = host.journal("-u", "podkeeper", "--grep", "is not cleared away yet", f"PODKEEPER_SESSION={stuck.id}")
    assert len(told) == 1, told


def test_an_admin_of_one_service_changes_nothing_of_anothers_sessions(
    host: Host, running: str, with_bash: str, terminals: Terminals
):
    name = f"admin-of-one-{time.time_ns()}"
    token = host.run("podkeeper", "token", "create", "--name", name, "--scope", "admin", "--service", with_bash).strip()
    others = [terminals.open(service=running), terminals.open()]
    with contextlib.ExitStack() as stack:
        stack.callback(host.run, "podkeeper", "token", "remove", name)
        stranger = stack.enter_context(Terminals(host, token=token))
        own = stranger.open(service=with_bash)
        assert [session["session"] for session in stranger.list()] == [own.id]
        before = terminals.list()
        for session in others:
            session.run("echo untouched")
            for event, extra in (
                ("attach", {}),
                ("detach", {}),
                ("input", {"text": "echo ty''ped\n"}),
                ("input", {"data": b"echo ty''ped\n"}),
                ("resize", {"cols": 99, "rows": 33}),
                ("ack", {"bytes": 1}),
                ("close", {}),
            ):
                with pytest.raises(Refused) as refused:
                    stranger.ask(event, {"session": session.id, **extra})
                assert refused.value.code == "forbidden", event
            assert session.run("stty size") == "24 80"
            assert b"typed" not in session.seen
            assert session.id not in stranger.output
        assert terminals.list() == before
        for wanted in ({}, {"service": running}):
            with pytest.raises(Refused) as refused:
                stranger.open(**wanted)
            assert refused.value.code == "forbidden"
        assert own.run("echo mine") == "mine"


@pytest.mark.parametrize("transports", [("websocket",), ("polling",), ("polling", "websocket")])
def test_bytes_go_both_ways_over_every_transport(host: Host, terminals: Terminals, transports: tuple[str, ...]):
    """With the clients in Python and of npm. What is polled has its bytes in base64."""
    every = bytes(range(256)) * 8 + bytes(reversed(range(256))) * 8
    with Terminals(host, transports=transports) as client:
        shell = client.open()
        shell.type("stty raw -echo; echo re''ady; head -c 4096; exit 7\n")
        shell.wait(b"ready\n")
        shell.type(every[:1500])
        shell.type(every[1500:])
        assert shell.exit()["code"] == 7
        assert shell.seen.split(b"ready\n", 1)[1] == every
        assert client.client.transport() == transports[-1]
    said = subprocess.run(
        ["node", ROOT / "tests/e2e/live/terminal.mjs", URL, ",".join(transports)],
        env={**os.environ, "TOKEN": host.token},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert json.loads(said.stdout) == {"kinds": ["bytes"], "same": True, "code": 7, "transport": transports[-1]}


VANISHING = """
import os, sys, socketio
io = socketio.Client(reconnection=False, request_timeout=300)
io.on("output", lambda output: None, namespace="/term")
headers = {"Authorization": "Bearer " + os.environ["TOKEN"]}
io.connect("http://127.0.0.1:7070", headers=headers, namespaces=["/term"], wait_timeout=300)
io.call("attach", {"session": sys.argv[1]}, namespace="/term", timeout=300)
print("attached", flush=True)
io.wait()
"""


def test_a_viewer_that_vanishes_is_none_any_more(host: Host, terminals: Terminals):
    shell = terminals.open()
    terminals.ask("detach", {"session": shell.id})
    viewers = lambda: [session["viewers"] for session in terminals.list() if session["session"] == shell.id]
    wait_for(lambda: viewers() == [0], 5, "nobody watches")
    environment = {**os.environ, "TOKEN": host.token}
    child = subprocess.Popen([sys.executable, "-c", VANISHING, shell.id], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "attached\n"
        assert viewers() == [1]
        # It neither reads nor answers any more, and doesn't close its connection either.
        child.send_signal(signal.SIGSTOP)
        wait_for(lambda: viewers() == [0], 30, "it watches no more")
    finally:
        child.kill()
        child.wait()


def test_isolated_shells_have_namespaces_of_their_own(host: Host, running: str, terminals: Terminals):
    kinds = ("user", "net", "pid", "mnt", "ipc", "uts", "cgroup")
    links = "for kind in " + " ".join(kinds) + "; do readlink /proc/self/ns/$kind; done"
    one, other = terminals.open(), terminals.open()
    places = [
        host.run("sh", "-c", links),
        host.user("podman", "unshare", "sh", "-c", links),
        *(session.run(links) for session in (one, other, terminals.open(service=running))),
    ]
    told = [place.split() for place in places]
    assert all(len(place) == len(kinds) and place[0].startswith("user:[") for place in told), told
    # The host's own, those that all of Podman's containers lie in, those of two shells and of a service.
    assert len({place[0] for place in told}) == 5, told
    for number, kind in enumerate(kinds):
        mine = told[2][number]
        assert mine not in (told[0][number], told[1][number], told[3][number], told[4][number]), (kind, told)


def own_cgroup(host: Host, session: Session) -> str:
    """Where the session's shell is counted, as the host knows it."""
    lasting = Lasting(host, 1)
    session.run(f"sleep {lasting.seconds[0]} &")
    lasting.wait_begun()
    (pid,) = lasting.pids()
    return host.run("cat", f"/proc/{pid}/cgroup").split("0::")[1].strip()


def test_a_shells_own_processes_are_what_its_slice_limits(host: Host, terminals: Terminals):
    with host.configured("[shell]\nmemory_mib = 64\ncpu_percent = 50\ntasks = 32\n"):
        shell = terminals.open()
        slice = f"shell-{shell.id}.slice"
        path = own_cgroup(host, shell)
        assert f"/{slice}/" in path, path
        limits = host.user("systemctl", "--user", "show", "-p", "MemoryMax", "-p", "TasksMax", "-p", "CPUQuotaPerSecUSec", slice)
        assert set(limits.split()) == {"MemoryMax=67108864", "TasksMax=32", "CPUQuotaPerSecUSec=500ms"}
        above = f"/sys/fs/cgroup{path[: path.index(slice)]}{slice}"
        if "pids" not in host.run("cat", f"{above}/cgroup.controllers").split():
            pytest.skip("this machine's cgroups have no controllers: the limits are set, and nothing enforces them")
        told = {name: host.run("cat", f"{above}/{name}").strip() for name in ("pids.max", "memory.max", "cpu.max")}
        assert told == {"pids.max": "32", "memory.max": "67108864", "cpu.max": "50000 100000"}
        # Forty at most.
        said = shell.run("sh -c 'i=0; while [ $i -lt 40 ]; do sleep 60 & i=$((i+1)); done' 2>&1")
        assert "fork" in said
        assert int(host.run("cat", f"{above}/pids.current")) <= 32


def test_the_recipe_is_built_at_its_first_use_for_all_to_see(host: Host, terminals: Terminals):
    recipe = "/usr/share/podkeeper/shell/Containerfile"
    before = host.run("cat", recipe)
    try:
        host.write(recipe, f'# {time.time_ns()}\n{BASE}RUN echo built >/built\nCMD ["sh"]\n')
        with host.configured('[shell]\nimage = ""\n'):
            shell = terminals.open()
            # Typed while it is built.
            shell.type("cat /bu''ilt\n")
            shell.wait("STEP 1/3")
            shell.wait("built\r\n", after=len(shell.wait("COMMIT localhost/podkeeper-shell:")))
            assert "STEP" not in terminals.open().run("cat /built")
        host.write(recipe, f"{BASE}RUN false\n")
        with host.configured('[shell]\nimage = ""\n'):
            failed = terminals.open()
            assert failed.exit()["problem"] == "build-failed"
            assert b"RUN false" in failed.seen
    finally:
        host.write(recipe, before)
        host.user("sh", "-c", "podman images -q localhost/podkeeper-shell | xargs -r podman rmi -f")


FILES = "find / -path /proc -prune -o {} -print 2>/dev/null; true"
SOCKETS = "awk '$8 ~ /^[\\/@]/ {{ print $8 }}' /proc/net/unix"


def test_what_an_attacker_reaches_from_the_isolated_shell(
    host: Host, running: str, terminals: Terminals, tmp_path: pathlib.Path
):
    """The host's addresses, its sockets and files, other containers, the cloud's metadata: none of them.

    Each probe is shown to find its target from where it may: the host, or an ordinary container.
    """
    own = host.run("hostname", "-I").split()[0]
    extra = ("10.99.77.1", "203.0.113.1", "2001:db8:77::1")
    later = ("10.99.78.1", "203.0.113.2", "2001:db8:78::1", "fd77::1")
    peer = ["--name=t-attack-peer", "--network=t-attack", "--publish=0.0.0.0:9997:80"]
    busybox = "docker.io/library/busybox:stable"
    with contextlib.ExitStack() as stack, served_outside(host, own, tmp_path) as (machine, outside, cloud):
        for address in extra:
            has_address(host, stack, address, "lo")
        link_local = host.run("sh", "-c", "ip -o -6 addr show dev eth0 scope link").split("inet6 ")[1].split("/")[0]
        for unit, address, port in (("all", "[::]", 9998), ("all4", "0.0.0.0", 9999), ("near", "127.0.0.1", 9996)):
            host.run("systemd-run", f"--unit=t-attack-{unit}", "busybox", "httpd", "-f", "-p", f"{address}:{port}", "-h", "/etc")
            stack.callback(host.run, "systemctl", "stop", f"t-attack-{unit}.service", check=False)
        host.user("podman", "network", "create", "t-attack")
        stack.callback(host.user, "podman", "network", "rm", "-f", "-t", "0", "t-attack", check=False)
        host.user("podman", "run", "-d", *peer, busybox, "httpd", "-f", "-p", "80", "-h", "/etc")
        bridged = host.user("podman", "inspect", "-f", "{{(index .NetworkSettings.Networks \"t-attack\").IPAddress}}", "t-attack-peer")
        (port,) = host.run("sh", "-c", f"ls /var/lib/podkeeper-proxy/routes/{running}.localhost").split()

        loopback = {f"127.0.0.1:{port}" for port in (7070, 8080, 9996, 9998)} | {f"127.0.0.2:{port}"}
        of_host = {at(address, 9998) for address in (own, f"{LINK}2", *extra)} | {f"{own}:9997", f"{extra[0]}:9997"}
        of_host |= {f"{address}:9999" for address in (own, *extra) if ":" not in address}
        of_host |= {f"[{link_local}%eth0]:9998"}
        mapped = {"169.254.1.2:9998", "169.254.1.2:9997"}
        neighbour = {f"{bridged.strip()}:80"}
        every = REACH.format(" ".join(sorted(loopback | of_host | mapped | neighbour | outside | cloud | {machine})))

        on_host = lambda probe: host.run("sh", "-c", probe.replace("wget", "busybox wget"))
        reaches(lambda: on_host(every), loopback | of_host | outside | cloud | {machine})
        run = ["podman", "run", "--rm"]
        # What its interface has is an ordinary container's own, too. Metadata is shut to all of the user's, but for Azure's,
        # which is also where its machines find names.
        open_to_them = {target for target in of_host if not target.strip("[").startswith((own, LINK, link_local))}
        open_to_them |= mapped | neighbour | outside | {machine}
        from_ordinary: set[str] = set()

        def all_that_is_open() -> bool:
            for network in ([], ["--network=t-attack"]):
                from_ordinary.update(reached(host.user(*run, *network, busybox, "sh", "-c", every)))
            return from_ordinary >= open_to_them

        wait_for(all_that_is_open, 30, lambda: f"{open_to_them - from_ordinary} is reached")
        assert [target for target in from_ordinary & cloud if not target.startswith("168.63.129.16:")] == []

        shell = terminals.open()
        reaches(lambda: shell.run(every), outside)
        # Nor by addresses that it is given while a shell is open: at once where they aren't of the internet, and of the
        # internet's within seconds.
        for number, address in enumerate(later):
            has_address(host, stack, address, ("lo", "eth0")[number % 2])
        new = REACH.format(" ".join(at(address, 9998) for address in later))
        reaches(lambda: on_host(new), {at(address, 9998) for address in later})
        assert not reached(shell.run(new)) & {at(later[0], 9998), at(later[3], 9998)}
        wait_for(lambda: reached(shell.run(new)) == set(), 5, "the host's new addresses are closed")
        # It can't open its network again, nor get the privilege to.
        assert "Operation not permitted" in shell.run("ip link set lo down 2>&1; ip addr flush dev lo 2>&1")
        assert int(shell.run("awk '/CapBnd/ { print $2 }' /proc/self/status"), 16) & (1 << 12 | 1 << 21) == 0
        assert "NoNewPrivs:\t1" in shell.run("grep NoNewPrivs /proc/self/status")
        reaches(lambda: shell.run(every), outside)

        # Another shell's network is another one.
        other = terminals.open()
        served = REACH.format(f"127.0.0.1:9995 {own}:9995")
        other.run("httpd -p 9995 -h /etc")
        reaches(lambda: other.run(served), {"127.0.0.1:9995", f"{own}:9995"})
        assert reached(shell.run(served)) == set()

        # What is allowed besides is open, but for the host; and names are found, though its resolver is on the loopback.
        with host.configured(f'[shell]\nallow = ["10.99.0.0/16", "fd77::/64"]\n'), resolving(host):
            allowed = terminals.open()
            reaches(lambda: allowed.run(every), outside | {machine})
            assert reached(allowed.run(new)) == set()
            wait_for(lambda: INTERNET[0] in allowed.run("nslookup host.example.com"), 20, "a name is found")

    # No socket, no file and no process of the host.
    for probe, there in (
        (SOCKETS.format(), ("/run/podkeeper/agent.sock", "/podman/podman.sock", "/run/dbus/system_bus_socket", "/bus", "/systemd/private")),
        (FILES.format("-type s"), ("/run/podkeeper/agent.sock", "/podman/podman.sock", "/run/dbus/system_bus_socket")),
        (FILES.format("-name store.db"), ("/var/lib/podkeeper/agent/store.db",)),
        ("ps -o args", ("podkeeper agent", "/systemd --user", "httpd")),
        ("find /var/lib /run -name '*podkeeper*'; true", ("/var/lib/podkeeper",)),
    ):
        found = host.run("sh", "-c", probe if not probe.startswith("ps") else "ps -A -o args")
        for target in there:
            assert target in found, (probe, target, found)
        said = shell.run(probe)
        for target in ("podkeeper", "podman", "dbus", "systemd", "bus"):
            assert target not in said.replace("busybox", ""), (probe, said)
    assert shell.run(FILES.format("-type s")) == ""
    mounts = shell.run("awk '$5 != \"/\" { print $4, $5 }' /proc/self/mountinfo | grep -v -E ' /(proc|sys|dev)'")
    for line in mounts.splitlines():
        root, target = line.split()
        assert target in ("/root", "/etc/resolv.conf", "/etc/hostname", "/run/.containerenv", "/etc/hosts"), mounts
        assert "podkeeper-shell.home" in root or target != "/root", mounts
    assert " /root" in mounts
    # Root inside is nobody outside.
    assert shell.run("cat /proc/sys/kernel/hostname") == "shell"
    outer = int(shell.run("awk '{ print $2 }' /proc/self/uid_map").split()[0])
    assert outer != 0
    assert "permission denied" in shell.run("mount -t tmpfs none /tmp 2>&1; true").lower()


def test_a_shell_whose_network_is_not_closed_is_not_started(host: Host, terminals: Terminals):
    hook = "/usr/lib/podkeeper/hooks.d/podkeeper-shell.json"
    host.run("mv", hook, f"{hook}.away")
    try:
        # Podman's service reads its hooks when it starts, and ends by itself after some seconds without a call.
        host.user("systemctl", "--user", "stop", "podman.service")
        shell = terminals.open()
        ended = shell.exit()
        assert ended["problem"] == "internal" and "network" in ended["detail"], ended
        wait_for(lambda: not left_of(host, shell.id), 30, "nothing is left of it")
    finally:
        host.run("mv", f"{hook}.away", hook)
        host.user("systemctl", "--user", "stop", "podman.service")
