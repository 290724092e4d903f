"""Terminals: the isolated shell and shells in services, by what they can do and what they can't reach."""

import contextlib
import pathlib
import subprocess
import sys
import time

import pytest
from host import MACHINE, SLACK, Host, enter_network, wait_for
from terminal import NotFound, Refused, Terminals

BASE = "FROM docker.io/library/busybox:stable\n"
SERVE = 'EXPOSE 8080\nSTOPSIGNAL SIGKILL\nCMD ["httpd", "-f", "-p", "8080"]\n'


@pytest.fixture(scope="module")
def running(host: Host):
    """A service that runs, for the shells in it."""
    name = "t-terminal-service"
    host.create(name)
    host.start(name)
    yield name
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
    rows = host.call("GET", "/audit?limit=200", 200).json()["rows"]
    told = [row for row in reversed(rows) if session in f"{row['target']} {row['detail']}"]
    return [(row["actor"].split(":")[0], row["action"], row["result"]) for row in told]


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
    shell.run("echo kept >/root/kept-by-a-test; sleep 1234 & setsid sleep 1235 >/dev/null 2>&1 &")
    assert len(host.run("pgrep", "-f", "^sleep 123[45]").split()) == 2
    shell.type("exit 7\n")
    assert shell.exit()["code"] == 7
    wait_for(lambda: not left_of(host, shell.id), 30, "nothing is left of it")
    assert host.code("pgrep", "-f", "^sleep 123[45]") == 1
    again = terminals.open()
    assert again.run("cat /root/kept-by-a-test; rm /root/kept-by-a-test") == "kept"
    assert deeds(host, shell.id) == [("token", "/term open", "done"), ("token", "/term close", "done")]
    again.close()
    wait_for(lambda: len(deeds(host, again.id)) == 2, 10, "its end is written down")
    assert deeds(host, again.id)[1] == ("token", "/term close", "done")


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


def test_control_c_ends_a_flood_at_once(terminals: Terminals):
    shell = terminals.open()
    shell.type("yes flood\n")
    shell.wait(b"flood\r\n" * 20_000)
    after = len(shell.seen)
    began = time.monotonic()
    shell.type(b"\x03echo qui''et\n")
    shell.wait(b"quiet\r\n", after=after)
    assert time.monotonic() - began < 1 * SLACK


def test_a_viewer_that_takes_nothing_holds_nobody_up(host: Host, terminals: Terminals):
    shell = terminals.open()
    with Terminals(host, acks=False) as stalled:
        slow = stalled.attach(shell.id)
        assert shell.run("seq 1 1000000", seconds=120).endswith("\n1000000")
        assert len(slow.seen) < 400 * 1024
        before = len(slow.seen)
        stalled.ask("ack", {"session": shell.id, "bytes": before})
        stalled.acks = True
        shell.run("echo caught up")
        assert b"caught up" in slow.wait(b"caught up", after=before)
        with pytest.raises(Refused):
            stalled.ask("ack", {"session": shell.id, "bytes": 10**9})
    assert host.agent_rss() < 40 * 1024


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
    with host.configured('[shell]\ndetached = "2s"\nidle = "4s"\n'):
        idle = terminals.open()
        with Terminals(host) as left:
            session = left.open()
            session.run("sleep 1236 &")
        wait_for(lambda: session.id not in [s["session"] for s in terminals.list()], 30, "it has ended")
        wait_for(lambda: not left_of(host, session.id), 30, "nothing is left of it")
        assert host.code("pgrep", "-f", "^sleep 1236") == 1
        assert idle.exit()["problem"] == "cancelled"
        for one in (idle, session):
            wait_for(lambda: len(deeds(host, one.id)) == 2, 10, "its end is written down")
            assert deeds(host, one.id)[1] == ("agent", "/term close", "cancelled")


def test_a_shell_in_a_service_takes_its_processes_along(host: Host, running: str, terminals: Terminals):
    shell = terminals.open(service=running, cols=100, rows=40)
    assert shell.run("stty size") == "40 100"
    assert "httpd" in shell.run("ps")
    # Two that carry the mark and left the shell, and one without it that did not leave.
    shell.run("(sleep 1237 &) ; setsid sleep 1243 & env -i /bin/sh -c '/bin/sleep 1238; true' & sleep 1")
    for number in ("1237", "1238", "1243"):
        assert host.run("pgrep", "-f", f"^(/bin/)?sleep {number}").split()
    shell.close()
    wait_for(lambda: not left_of(host, shell.id), 30, "nothing is left of it")
    assert host.code("pgrep", "-f", "^(/bin/)?sleep 12(37|38|43)") == 1
    assert host.serve(running).status_code == 200


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


def test_a_killed_agent_leaves_nothing_for_long(host: Host, running: str):
    with Terminals(host) as terminals:
        isolated, inside = terminals.open(), terminals.open(service=running)
        isolated.run("sleep 1239 &")
        inside.run("sleep 1240 &")
        host.kill_agent()
    assert len(host.run("pgrep", "-f", "^sleep 12(39|40)").split()) == 2
    host.start_agent()
    wait_for(lambda: host.code("pgrep", "-f", "^sleep 12(39|40)") == 1, 60, "their processes are gone")
    wait_for(lambda: not left_of(host, isolated.id) + left_of(host, inside.id), 60, "nothing is left of them")
    assert host.serve(running).status_code == 200
    for session in (isolated, inside):
        wait_for(lambda: len(deeds(host, session.id)) == 2, 10, "their end is written down")
        assert deeds(host, session.id)[1] == ("agent", "/term close", "done")


def test_an_agent_that_stops_takes_its_sessions_along(host: Host, running: str):
    with Terminals(host) as terminals:
        isolated, inside = terminals.open(), terminals.open(service=running)
        isolated.run("sleep 1241 &")
        inside.run("sleep 1242 &")
        host.run("systemctl", "restart", "podkeeper")
        for session in (isolated, inside):
            assert session.exit()["problem"] == "restarting"
    host.wait_ready()
    wait_for(lambda: host.code("pgrep", "-f", "^sleep 124[12]") == 1, 60, "their processes are gone")
    wait_for(lambda: not left_of(host, isolated.id) + left_of(host, inside.id), 60, "nothing is left of them")
    for session in (isolated, inside):
        assert deeds(host, session.id)[1] == ("agent", "/term close", "restarting")


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
        host.user("sh", "-c", "podman images -q localhost/podkeeper-shell | xargs podman rmi -f")


# What is reached says so. An error of a server is an answer, too.
REACH = (
    "for at in {}; do "
    "{{ wget -T 3 -O /dev/null http://$at/ 2>&1 | grep -q -E 'HTTP/|saving to' && echo reached $at; }} & done; wait"
)
FILES = "find / -path /proc -prune -o {} -print 2>/dev/null; true"
SOCKETS = "awk '$8 ~ /^[\\/@]/ {{ print $8 }}' /proc/net/unix"


def reached(said: str) -> set[str]:
    return {line.split()[-1] for line in said.splitlines() if line.startswith("reached ")}


@contextlib.contextmanager
def served_outside(own: str, folder: pathlib.Path):
    """A page on the machine that the host is connected to; its address."""
    outside = own.rsplit(".", 1)[0] + ".1"
    command = [sys.executable, "-u", "-m", "http.server", "--bind", outside, "--directory", str(folder), "0"]
    inside = lambda: enter_network(MACHINE)  # noqa: E731
    with subprocess.Popen(command, preexec_fn=inside, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            yield f"{outside}:{server.stdout.readline().split(' port ')[1].split()[0]}"
        finally:
            server.kill()


def test_what_an_attacker_reaches_from_the_isolated_shell(
    host: Host, running: str, terminals: Terminals, tmp_path: pathlib.Path
):
    """The host's addresses, its sockets and files, other containers, the cloud's metadata: none of them.

    Each probe is shown to find its target from where it may: the host, or an ordinary container.
    """
    own = host.run("hostname", "-I").split()[0]
    extra = ("10.99.77.1", "169.254.169.254")
    peer = ["--name=t-attack-peer", "--network=t-attack", "--publish=0.0.0.0:9997:80"]
    busybox = "docker.io/library/busybox:stable"
    with contextlib.ExitStack() as stack, served_outside(own, tmp_path) as outside:
        for address in extra:
            host.run("ip", "addr", "add", f"{address}/32", "dev", "lo")
            stack.callback(host.run, "ip", "addr", "del", f"{address}/32", "dev", "lo", check=False)
        for unit, address, port in (("all", "0.0.0.0", 9998), ("near", "127.0.0.1", 9996)):
            host.run("systemd-run", f"--unit=t-attack-{unit}", "busybox", "httpd", "-f", "-p", f"{address}:{port}", "-h", "/etc")
            stack.callback(host.run, "systemctl", "stop", f"t-attack-{unit}.service", check=False)
        host.user("podman", "network", "create", "t-attack")
        stack.callback(host.user, "podman", "network", "rm", "-f", "-t", "0", "t-attack", check=False)
        host.user("podman", "run", "-d", *peer, busybox, "httpd", "-f", "-p", "80", "-h", "/etc")
        bridged = host.user("podman", "inspect", "-f", "{{(index .NetworkSettings.Networks \"t-attack\").IPAddress}}", "t-attack-peer")
        (port,) = host.run("sh", "-c", f"ls /var/lib/podkeeper-proxy/routes/{running}.localhost").split()

        loopback = {f"127.0.0.1:{port}" for port in (7070, 8080, 9996, 9998)} | {f"127.0.0.2:{port}"}
        of_host = {f"{address}:9998" for address in (own, *extra)} | {f"{own}:9997", f"{extra[0]}:9997"}
        mapped = {"169.254.1.2:9998", "169.254.1.2:9997"}
        neighbour = {f"{bridged.strip()}:80"}
        every = REACH.format(" ".join(sorted(loopback | of_host | mapped | neighbour | {outside})))

        from_host = reached(host.run("sh", "-c", every.replace("wget", "busybox wget")))
        assert from_host == loopback | of_host | {outside}
        run = ["podman", "run", "--rm"]
        from_ordinary = reached(host.user(*run, busybox, "sh", "-c", every))
        from_ordinary |= reached(host.user(*run, "--network=t-attack", busybox, "sh", "-c", every))
        # The host's own address is an ordinary container's own, too; metadata is shut to all of the user's.
        open_to_them = {at for at in of_host if not at.startswith((own, "169.254.169.254"))}
        assert from_ordinary >= open_to_them | mapped | neighbour | {outside}

        shell = terminals.open()
        assert reached(shell.run(every, seconds=120)) == {outside}
        # It can't open its network again, nor get the privilege to.
        assert "Operation not permitted" in shell.run("ip link set lo down 2>&1; ip addr flush dev lo 2>&1")
        assert int(shell.run("awk '/CapBnd/ { print $2 }' /proc/self/status"), 16) & (1 << 12 | 1 << 21) == 0
        assert "NoNewPrivs:\t1" in shell.run("grep NoNewPrivs /proc/self/status")
        assert reached(shell.run(every, seconds=120)) == {outside}

        # Another shell's network is another one.
        other = terminals.open()
        served = REACH.format(f"127.0.0.1:9995 {own}:9995")
        other.run("httpd -p 9995 -h /etc")
        assert reached(other.run(served)) == {"127.0.0.1:9995", f"{own}:9995"}
        assert reached(shell.run(served)) == set()

    # No socket, no file and no process of the host.
    for probe, there in (
        (SOCKETS.format(), ("/run/podkeeper/agent.sock", "/podman/podman.sock", "/run/dbus/system_bus_socket", "/bus", "/systemd/private")),
        (FILES.format("-type s"), ("/run/podkeeper/agent.sock", "/podman/podman.sock", "/run/dbus/system_bus_socket")),
        (FILES.format("-name store.db"), ("/var/lib/podkeeper/agent/store.db",)),
        ("ps -o args", ("podkeeper agent", "/systemd --user", "httpd")),
        ("find /var/lib /run -name '*podkeeper*'; true", ("/var/lib/podkeeper",)),
    ):
        on_host = host.run("sh", "-c", probe if not probe.startswith("ps") else "ps -A -o args")
        for target in there:
            assert target in on_host, (probe, target, on_host)
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
