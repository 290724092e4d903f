"""Status and logs over Socket.IO, with real clients: python-socketio here, socket.io-client in live/client.mjs."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
import requests
import socketio
import websocket
from containers import BASE, SERVE, Gate, push_behind
from flapping import Slow, flapped, flapping, newest, same, shown
from host import ROOT, SLACK, Host, wait_for
from sockets import URL, Client, Writer, raw

NODE = ROOT / "tests/e2e/live"
# How long a client reads nothing, in seconds: less than what the agent bears.
STALLED = 8


@pytest.fixture(scope="module")
def writer(host: Host, tmp_path_factory):
    writer = Writer(host, "t-live-writer", tmp_path_factory.mktemp("writer") / "clone")
    yield writer
    host.delete(writer.name)


@pytest.fixture
def client(host: Host):
    with Client(host.token, "/log", "/status") as client:
        yield client


def numbers(first: int, last: int) -> list[str]:
    return [f"{number} of many" for number in range(first, last + 1)]


def counted(client: Client, channel: int) -> list[str]:
    return [text for text in client.texts(channel) if text.endswith(" of many")]


# ---- logs ---------------------------------------------------------------------------------------------------------


def test_lines_come_as_they_were_written(writer: Writer, client: Client):
    channel = client.open(service=writer.name, lines=0)
    red, binary = b"\x1b[31mred\x1b[0m \xe2\x82\xac", bytes(range(1, 256)).replace(b"\n", b"")
    long = b"long " + b"x" * (1024 * 1024 - 10) + b" end"
    for line in (b"plain", b"", red, binary, long, b"last"):
        writer.print(line + b"\n")
    wait_for(lambda: "last" in client.texts(channel), 20 * SLACK, "the last line is there")
    lines = client.lines[channel]
    assert [raw(line) for line in lines] == [b"plain", b"", red, binary, long, b"last"]
    assert "bytes" not in lines[2] and "bytes" in lines[3] and lines[3]["message"].startswith("\x01\x02")
    assert all(line["release"] == 1 and line["build"] is None and line["priority"] == 6 for line in lines)


def test_only_what_was_asked_for_comes(host: Host, writer: Writer, client: Client):
    writer.print(b"an apple\n")
    writer.print(b"an error\n", output=2)
    writer.print(b"the end\n")
    everything = client.open(service=writer.name, lines=1000)
    grep = client.open(service=writer.name, lines=1000, grep="^an a.ple$")
    errors = client.open(service=writer.name, lines=1000, priority=3)
    release = client.open(service=writer.name, lines=1000, release=1)
    none = client.open(service=writer.name, lines=1000, release=99)
    deployment = host.call("GET", f"/services/{writer.name}/deployments", 200).json()["deployments"][0]["id"]
    story = client.open(deployment=deployment)
    wait_for(lambda: "the end" in client.texts(everything), 10 * SLACK, "all lines are there")
    wait_for(lambda: story in client.closed, 10 * SLACK, "the deployment's story has ended")
    assert client.closed[story] == {"channel": story}
    wait_for(lambda: any(text.startswith("live at ") for text in client.texts(story)), 10 * SLACK, "all of it is there")
    assert "queued" in client.texts(story) and any(text.startswith("STEP 1/") for text in client.texts(story))
    # A service's log has its builds' lines.
    assert any(line["build"] == deployment for line in client.lines[everything])
    wait_for(lambda: "the end" in client.texts(release), 10 * SLACK, "the release's lines are there")
    assert client.texts(grep) == ["an apple"]
    assert client.texts(errors) == ["an error"]
    assert not any(line["build"] for line in client.lines[release])
    assert none not in client.lines
    assert client.ask("/log", "close", channel=grep) == {}
    wait_for(lambda: grep in client.closed, 5 * SLACK, "it is closed")
    assert client.ask("/log", "close", channel=grep)["problem"] == "not-found"


def test_a_client_that_stalls_loses_nothing(host: Host, writer: Writer, client: Client):
    before = threads(host)
    channel = client.open(service=writer.name, lines=0)
    client.acknowledging = False
    writer.count(20_000)
    wait_for(lambda: client.lines.get(channel), 10 * SLACK, "the first lines are there")
    # The window is full, and the reader is closed until there is room again.
    wait_for(lambda: threads(host) == before, 5 * SLACK, "nobody reads the journal")
    held = len(client.lines[channel])
    assert held * 320 <= 64 * 1024, f"{held} lines came without being acknowledged"
    client.acknowledging = True
    last = client.last[channel]
    assert client.ask("/log", "ack", channel=channel, seq=last + 1)["problem"] == "bad-request"
    assert client.ask("/log", "ack", channel=channel, seq=last) == {}
    wait_for(lambda: len(counted(client, channel)) >= 20_000, 60 * SLACK, "all lines are there")
    assert counted(client, channel) == numbers(1, 20_000)


def test_a_client_may_acknowledge_in_batches(writer: Writer, client: Client):
    client.acknowledging = False
    channel = client.open(service=writer.name, lines=0)
    for number in range(1, 13):
        writer.print(f"{number} of many\n".encode())
        wait_for(lambda number=number: counted(client, channel) == numbers(1, number), 10 * SLACK, f"line {number} is there")
        if number % 5 == 0:
            assert client.ask("/log", "ack", channel=channel, seq=client.last[channel]) == {}
        if number in (1, 7):
            # However long it says nothing, what is on its way is less than a window.
            time.sleep(3)


def test_each_stream_has_one_reader_at_most(host: Host, writer: Writer, client: Client):
    before = threads(host)
    channels = [client.open(service=writer.name, lines=1) for _ in range(10)]
    with Steady(writer) as steady:
        wait_for(lambda: threads(host) == before + len(channels), 10 * SLACK, "each is read")
        while steady.lines < 500:
            assert threads(host) <= before + len(channels)
    last = f"{steady.lines} of many"
    wait_for(lambda: all(last in client.texts(channel) for channel in channels), 10 * SLACK, "each has all lines")
    assert threads(host) == before + len(channels)
    for channel in channels:
        assert client.ask("/log", "close", channel=channel) == {}
    wait_for(lambda: threads(host) == before, 10 * SLACK, "nobody reads the journal")


def test_a_build_that_begins_in_a_flood_is_in_the_services_log(host: Host, name: str, tmp_path, client: Client):
    flooding = Writer(host, name, tmp_path / "clone")
    channel = client.open(service=name, lines=0)

    def flood() -> None:
        # It ends with the release at the latest. The client has to do with so many lines for longer than the build.
        with contextlib.suppress(AssertionError, requests.RequestException):
            flooding.count(100_000)

    thread = threading.Thread(target=flood)
    thread.start()
    wait_for(lambda: len(counted(client, channel)) > 1000, 20 * SLACK, "there are always lines")
    deployment = host.start(name)
    thread.join()
    # What the new release prints lies behind the build, though not behind all that was flooded.
    flooding.print(b"the end\n")
    wait_for(lambda: "the end" in client.texts(channel), 60 * SLACK, "all lines are there")
    built = [line["message"] for line in client.lines[channel] if line["build"] == deployment["id"]]
    story = host.call("GET", f"/deployments/{deployment['id']}/log", 200).text.splitlines()
    wanted = [line for line in story if line.startswith(("STEP ", "COMMIT ", "Successfully "))]
    assert len(wanted) > 5 and [line for line in built if line in wanted] == wanted


def test_a_stream_ends_with_its_service(host: Host, name: str, client: Client):
    host.create(name)
    host.start(name)
    channel = client.open(service=name)
    wait_for(lambda: client.lines.get(channel), 10 * SLACK, "its lines are there")
    host.delete(name)
    # Another one has the name at once.
    host.create(name)
    wait_for(lambda: channel in client.closed, 10 * SLACK, "the stream is closed")
    assert client.closed[channel] == {"channel": channel, "problem": "not-found", "detail": "the service is gone"}
    assert client.ask("/log", "open", service=name)["channel"] != channel


def test_a_service_that_prints_much_loses_nothing(host: Host, writer: Writer, client: Client):
    # More than journald lets through by default, while its files change.
    lines = 60_000
    channel = client.open(service=writer.name, lines=0)
    writing = threading.Thread(target=writer.count, args=(lines,))
    writing.start()
    while writing.is_alive():
        host.run("journalctl", "--rotate")
        writing.join(0.5)
    wait_for(lambda: len(counted(client, channel)) >= lines, 60 * SLACK, "all lines are there")
    assert counted(client, channel) == numbers(1, lines)


def test_long_lines_that_nobody_reads_cost_little(host: Host, writer: Writer, client: Client):
    readers, memory = threads(host), host.agent_rss()
    client.acknowledging = False
    channels = [client.open(service=writer.name, lines=0) for _ in range(6)]
    line = b"y" * (1024 * 1024 - 1)
    for _ in range(3):
        writer.print(line + b"\n")
    writer.print(b"behind them\n")
    # Of such lines four are under way to one connection, each on a channel of its own; the journal has the others.
    wait_for(lambda: sum(len(lines) for lines in client.lines.values()) == 4, 20 * SLACK, "four lines came")
    wait_for(lambda: threads(host) == readers, 10 * SLACK, "nobody reads the journal")
    assert sorted(len(client.lines.get(channel, [])) for channel in channels) == [0, 0, 1, 1, 1, 1]
    assert host.agent_rss() - memory < 64 * 1024
    client.acknowledging = True
    for channel in [channel for channel in channels if client.lines.get(channel)]:
        client.ask("/log", "ack", channel=channel, seq=1)
    wait_for(lambda: all("behind them" in client.texts(channel) for channel in channels), 60 * SLACK, "all lines are there")
    for channel in channels:
        assert [len(text) for text in client.texts(channel)] == [len(line)] * 3 + [len("behind them")]


def threads(host: Host) -> int:
    """How many readers of the journal the agent has."""
    # A thread may end while they are listed.
    listed = host.run("sh", "-c", f"cat /proc/{host.agent_pid()}/task/*/comm", check=False)
    return listed.split("\n").count("journal")


class Steady:
    """Writes ten lines at a time until it is left."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.lines, self.stop = writer, 0, threading.Event()
        self.thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        while not self.stop.wait(0.05):
            first = self.lines + 1
            self.writer.print("".join(f"{number} of many\n" for number in range(first, first + 10)).encode())
            self.lines += 10

    def __enter__(self) -> Steady:
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop.set()
        self.thread.join()


def test_rotation_and_vacuum_lose_and_repeat_nothing(host: Host, writer: Writer, client: Client):
    channel = client.open(service=writer.name, lines=0)
    with Steady(writer) as steady:
        for command in (["--rotate"], ["--rotate"], ["--vacuum-files=1"], ["--rotate"], ["--rotate", "--vacuum-size=1"]):
            reached = steady.lines + 50
            wait_for(lambda reached=reached: steady.lines >= reached, 30 * SLACK, "lines are written")
            host.run("journalctl", *command)
    wait_for(lambda: len(counted(client, channel)) >= steady.lines, 10 * SLACK, "all lines are there")
    assert counted(client, channel) == numbers(1, steady.lines)
    # A cursor whose line is gone goes on with the first one that is there.
    gone = client.lines[channel][0]["cursor"]
    host.run("journalctl", "--rotate", "--vacuum-files=1")
    writer.print(b"behind the vacuum\n")
    again = client.open(service=writer.name, cursor=gone)
    wait_for(lambda: "behind the vacuum" in client.texts(again), 10 * SLACK, "the stream goes on")


def test_reconnecting_and_an_agents_restart_lose_and_repeat_nothing(host: Host, writer: Writer):
    lines, reasons = [], []
    with Steady(writer) as steady:
        cursor = None
        for number in range(6):
            what = {"lines": 0} if cursor is None else {"cursor": cursor}
            with Client(host.token, "/log") as client:
                channel = client.open(service=writer.name, **what)
                if number in (2, 4):
                    wait_for(lambda: counted(client, channel), 10 * SLACK, "lines come")
                    host.run("systemctl", *(["restart"] if number == 2 else ["kill", "-s", "KILL"]), "podkeeper.service")
                    wait_for(lambda: client.reasons, 10 * SLACK, "the connection is closed")
                    reasons.append(client.closed.get(channel))
                    host.wait_ready()
                else:
                    wait_for(lambda: len(counted(client, channel)) > 20, 10 * SLACK, "lines come")
                got = list(client.lines.get(channel, []))
            lines += got
            cursor = got[-1]["cursor"] if got else cursor
    with Client(host.token, "/log") as client:
        channel = client.open(service=writer.name, cursor=cursor)
        wait_for(lambda: len(lines) + len(client.lines.get(channel, [])) >= steady.lines, 10 * SLACK, "the rest is there")
        lines += client.lines.get(channel, [])
    first = int(lines[0]["message"].split()[0])
    assert [line["message"] for line in lines] == numbers(first, steady.lines)
    assert reasons[0]["problem"] == "restarting" and reasons[1] is None


def test_a_build_that_begins_meanwhile_is_in_the_services_log(host: Host, name: str, tmp_path, client: Client):
    host.create(name)
    channel = client.open(service=name)
    client.ask("/status", "stats", on=True)
    deployment = host.start(name)
    wait_for(
        lambda: any(text.startswith("Successfully tagged") for text in client.texts(channel)),
        10 * SLACK,
        "the build's lines are there",
    )
    assert {line["build"] for line in client.lines[channel]} <= {deployment["id"], None}
    # Its steps came too, and figures.
    def steps() -> set[str]:
        return {data["state"] for data in client.named("deployment") if data["id"] == deployment["id"]}

    wait_for(lambda: "live" in steps(), 10 * SLACK, "its last step is there")
    # Of steps that follow one another at once only the last is told; what is told has them all.
    (live,) = [data for data in client.named("deployment") if data["id"] == deployment["id"] and data["state"] == "live"]
    order = ["queued", "fetching", "building", "starting", "checking", "live"]
    assert sorted(live["steps"], key=live["steps"].get) == order and steps() <= set(order)
    figures = wait_for(
        lambda: [data for data in client.named("stats") if data["services"].get(name, {}).get("cpu_percent") is not None],
        10 * SLACK,
        "figures come",
    )
    assert set(figures[-1]["services"][name]) == {"cpu_percent", "memory_bytes", "pids", "received_bytes", "sent_bytes"}
    client.ask("/status", "stats", on=False)
    seen = len(client.named("stats"))
    host.delete(name)
    wait_for(lambda: {"name": name} in client.named("removed"), 10 * SLACK, "it is removed")
    assert len(client.named("stats")) <= seen + 1


def test_a_step_is_told_while_it_lasts(host: Host, name: str, tmp_path, client: Client):
    gate = Gate(host)
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": f"{BASE}RUN {gate.waits}\n{SERVE}", "site/index.html": "ready"})
    pushed = push_behind(clone)
    try:
        gate.wait_reached()
        told = lambda: [data["state"] for data in client.named("deployment") if data["service"] == name][-1:]
        wait_for(lambda: told() == ["building"], 1 * SLACK, "it is told that it builds")
    finally:
        gate.end()
        pushed.wait(60)
    wait_for(lambda: told() == ["live"], 10 * SLACK, "and that it is live")


# ---- status -------------------------------------------------------------------------------------------------------


def test_each_change_of_a_service_comes(host: Host, writer: Writer, client: Client):
    def state() -> dict:
        return [data for data in client.named("service") if data["name"] == writer.name][-1:] or [{}]

    snapshot = wait_for(lambda: client.named("snapshot"), 10 * SLACK, "the snapshot is there")[0]
    before = next(service for service in snapshot["services"] if service["name"] == writer.name)
    assert before["state"] == "running" and "cpu_percent" not in before
    assert {service["name"] for service in snapshot["services"]} == set(host.call("GET", "/services/status", 200).json())
    host.user("systemctl", "--user", "kill", "-s", "KILL", f"{writer.name}@1.service")
    wait_for(lambda: state()[0].get("restarts", 0) == before["restarts"] + 1, 10 * SLACK, "it has been restarted")
    wait_for(lambda: state()[0]["state"] == "running", 10 * SLACK, "it runs again")
    # Somebody who only looked now and then would be late for one of these.
    for _ in range(3):
        host.user("systemctl", "--user", "stop", f"{writer.name}@1.service")
        wait_for(lambda: state()[0]["state"] == "stopped", 1 * SLACK, "it is stopped")
        host.user("systemctl", "--user", "start", f"{writer.name}@1.service")
        wait_for(lambda: state()[0]["state"] == "running", 1 * SLACK, "it is started")
    assert len(client.named("snapshot")) == 1


def test_a_snapshot_has_whatever_was_answered_before(host: Host, name: str, client: Client):
    def shown() -> set[str]:
        with Client(host.token, "/status") as other:
            snapshot = wait_for(lambda: other.named("snapshot"), 10 * SLACK, "the snapshot is there")[0]
        return {service["name"] for service in snapshot["services"]}

    # As long as one client listens, there is a view that a new one could be shown at once.
    wait_for(lambda: client.named("snapshot"), 10 * SLACK, "the snapshot is there")
    for _ in range(5):
        host.create(name)
        assert name in shown()
        host.delete(name)
        assert name not in shown()


def test_figures_are_counted_once_for_all_and_only_while_somebody_asks(host: Host, client: Client):
    def counted(seconds: float) -> int:
        """How often Podman is asked for figures in this time. It logs each request."""
        began = time.time()
        time.sleep(seconds)
        said = host.run("journalctl", "-q", "-o", "cat", f"--since=@{began}", f"_UID={host.uid()}", "-t", "podman")
        return said.count("/containers/stats?")

    with Client(host.token, "/status") as other:
        for one in (client, other):
            one.ask("/status", "stats", on=True)
        wait_for(lambda: client.named("stats") and other.named("stats"), 10 * SLACK, "figures come to both")
        assert 1 <= counted(7) <= 5, "every two seconds, whoever asks"
        other.ask("/status", "stats", on=False)
        seen = len(client.named("stats"))
        wait_for(lambda: len(client.named("stats")) > seen, 10 * SLACK, "who still asks still gets them")
    client.ask("/status", "stats", on=False)
    time.sleep(2)
    assert counted(4) == 0


def test_a_podman_that_hangs_keeps_only_its_own_figures_back(host: Host, writer: Writer, client: Client):
    def restarts() -> int:
        return (newest(client.named("service")).get(writer.name) or {}).get("restarts", 0)

    client.ask("/status", "stats", on=True)
    wait_for(lambda: client.named("stats"), 10 * SLACK, "figures come")
    podman = host.user("systemctl", "--user", "show", "-P", "MainPID", "podman.service").strip()
    host.run("kill", "-STOP", podman)
    try:
        # They come every two seconds; the next question for them has no answer.
        time.sleep(2)
        seen = len(client.named("stats"))
        time.sleep(3)
        assert len(client.named("stats")) == seen
        before = restarts()
        host.user("systemctl", "--user", "kill", "-s", "KILL", f"{writer.name}@1.service")
        wait_for(lambda: restarts() > before, 5 * SLACK, "the change is shown")
    finally:
        host.run("kill", "-CONT", podman)
    wait_for(lambda: len(client.named("stats")) > seen, 10 * SLACK, "figures come again")


def test_a_health_check_that_fails_is_seen(host: Host, name: str, tmp_path, client: Client):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    base = "FROM docker.io/library/busybox:stable\nRUN mkdir /data && echo >/data/index.html && chmod -R a+rwx /data\nUSER 1000\n"
    check = "HEALTHCHECK --interval=1s --timeout=2s --retries=1 CMD test -e /data/index.html\n"
    clone.commit({"Containerfile": base + "EXPOSE 8080\nSTOPSIGNAL SIGKILL\n" + check + 'CMD ["httpd", "-f", "-p", "8080", "-h", "/data"]\n'})
    assert "Live:" in clone.push()

    def health() -> str | None:
        return ([data for data in client.named("service") if data["name"] == name] or [{}])[-1].get("health")

    wait_for(lambda: health() == "healthy", 15 * SLACK, "it is healthy")
    failing = time.time()
    host.user("podman", "exec", f"{name}-1", "rm", "/data/index.html")
    wait_for(lambda: health() == "unhealthy", 15 * SLACK, "it is not healthy any more")
    told = time.time()
    match = ["PODMAN_EVENT=health_status", "PODMAN_HEALTH_STATUS=unhealthy", f"PODMAN_NAME={name}-1"]
    found = host.run("journalctl", "--output=json", "--output-fields=PODMAN_NAME", f"_UID={host.uid()}", *match).splitlines()
    times = [int(json.loads(line)["__REALTIME_TIMESTAMP"]) / 1e6 for line in found]
    assert told - next(at for at in times if at > failing) < SLACK, "it is told at once"
    assert host.call("GET", "/services/status", 200).json()[name]["health"] == "unhealthy"


def test_services_that_flap_are_shown_to_a_slow_client_as_they_are_now(host: Host, name: str, client: Client):
    # A service takes a second to make, so there are few of them; each changes as often as many that flap.
    names = [f"{name[:30]}-{number}" for number in range(6)]
    try:
        for one in names:
            host.create(one)
        for begun in [host.call("POST", f"/services/{one}/start", 202).json()["id"] for one in names]:
            host.wait_deployment(begun)
        with flapping(host, names):
            wait_for(lambda: flapped(client, names), 20 * SLACK, "all flap")
            memory, before = host.agent_rss(), len(client.named("service"))
            with contextlib.closing(Slow(host.token)) as slow:
                time.sleep(STALLED)
                changes = client.named("service")[before:]
                came = slow.catch_up(client)
            grown = host.agent_rss() - memory
        wait_for(lambda: same(newest(client.named("service")), shown(host, names)), 10 * SLACK, "who reads has seen the last")
        assert grown < 16 * 1024
        assert len(came) < len(changes) / 2, "what waited for it was the newest state of each, and not all of them"
        for one in names:
            restarts = [data["restarts"] for data in came if data["name"] == one]
            assert restarts == sorted(restarts), "none comes after a newer one"
            states = [data for data in changes if data["name"] == one]
            assert all(state != after for state, after in zip(states, states[1:])), "what is told is a change"
    finally:
        for one in names:
            host.delete(one)


def test_a_token_of_one_service_sees_only_that(host: Host, writer: Writer, name: str):
    host.create(name)
    token = host.run("podkeeper", "token", "create", "--name", name, "--scope", "read", "--service", name).strip()
    with Client(token, "/log", "/status") as client:
        snapshot = wait_for(lambda: client.named("snapshot"), 10 * SLACK, "the snapshot is there")[0]
        assert [service["name"] for service in snapshot["services"]] == [name]
        assert client.ask("/log", "open", service=writer.name)["problem"] == "forbidden"
        assert "channel" in client.ask("/log", "open", service=name)
        host.user("systemctl", "--user", "restart", f"{writer.name}@1.service")
        client.ask("/status", "stats", on=True)
        wait_for(lambda: client.named("stats"), 10 * SLACK, "figures come")
        assert not [data for data in client.named("service") if data["name"] != name]
        assert all(set(data["services"]) <= {name} for data in client.named("stats"))


# ---- connections --------------------------------------------------------------------------------------------------


def test_a_token_that_is_removed_cuts_its_connections(host: Host, writer: Writer, name: str):
    token = host.run("podkeeper", "token", "create", "--name", name).strip()
    cut_off(lambda transports: Client(token, "/log", "/status", transports=transports), writer, lambda: host.run("podkeeper", "token", "remove", name))


def test_a_token_that_expires_cuts_its_connections(host: Host, writer: Writer, name: str):
    expires = time.time() + 5
    body = {"name": name, "scope": "read", "expires": datetime.datetime.fromtimestamp(expires, datetime.UTC).isoformat()}
    token = host.call("POST", "/credentials/tokens", 201, json=body).json()["token"]
    cut_off(
        lambda transports: Client(token, "/log", "/status", transports=transports),
        writer,
        lambda: time.sleep(max(0, expires - time.time())),
    )


def test_a_session_that_is_ended_cuts_its_connections(host: Host, writer: Writer):
    signed_in = requests.post(f"{URL}/sessions", json={"token": host.token}, headers={"Origin": URL}, timeout=30)
    assert signed_in.status_code == 201
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in signed_in.cookies.items()), "Origin": URL}
    asked = requests.get(f"{URL}/sessions", headers=headers, timeout=30).json()["sessions"]
    (session,) = [session["id"] for session in asked if session["current"]]
    cut_off(
        lambda transports: Client("", "/log", "/status", headers=headers, transports=transports),
        writer,
        lambda: host.call("DELETE", f"/sessions/{session}", 204),
    )


def cut_off(connect: Callable[[list[str] | None], Client], writer: Writer, end: Callable[[], object]) -> None:
    clients = [connect(transports) for transports in (["websocket"], ["polling"], None)]
    for client in clients:
        client.open(service=writer.name, lines=1)
    end()
    began = time.monotonic()
    for client in clients:
        wait_for(lambda client=client: len(client.reasons) >= 2, 10, "it is cut off")
    assert time.monotonic() - began < 1 * SLACK
    with pytest.raises(socketio.exceptions.ConnectionError):
        connect(None)


def test_a_client_that_vanishes_is_cleaned_up(host: Host, writer: Writer):
    before = threads(host)
    child = subprocess.Popen(
        [sys.executable, "-c", VANISHING, writer.name],
        env={**os.environ, "TOKEN": host.token},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(child.stdout.readline())
        connection = lambda: host.run("ss", "-Htn", "state", "established", f"( sport = :7070 and dport = :{port} )")
        assert connection() and threads(host) == before + 1
        # It neither reads nor answers any more, and doesn't close its connection either.
        child.send_signal(signal.SIGSTOP)
        wait_for(lambda: not connection(), 30, "its connection is closed")
        wait_for(lambda: threads(host) == before, 5 * SLACK, "nobody reads for it")
    finally:
        child.kill()
        child.wait()


VANISHING = """
import os, sys, socketio
io = socketio.Client(reconnection=False)
io.on("data", lambda data: None, namespace="/log")
io.connect("http://127.0.0.1:7070", headers={"Authorization": "Bearer " + os.environ["TOKEN"]}, namespaces=["/log"], transports=["websocket"])
io.call("open", {"service": sys.argv[1], "lines": 1}, namespace="/log")
print(io.eio.ws.sock.getsockname()[1], flush=True)
io.wait()
"""


@pytest.mark.parametrize("transports", ["websocket", "polling", "polling,websocket"])
def test_the_reference_client_speaks_with_us(host: Host, writer: Writer, transports: str):
    with Steady(writer) as steady:
        wait_for(lambda: steady.lines >= 500, 30 * SLACK, "lines are written")
        said = subprocess.run(
            ["node", NODE / "client.mjs", URL, writer.name, transports],
            env={**os.environ, "TOKEN": host.token},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert said.returncode == 0, said.stdout + said.stderr
    seen = json.loads(said.stdout)
    assert seen["transport"] == transports.split(",")[-1]
    assert seen["refused"].startswith("not-signed-in:")
    assert seen["nowhere"] == "Invalid namespace"
    assert seen["snapshot"] and seen["closed"] == {"channel": 1}
    # Those that were there and those that came meanwhile, in one row.
    first = int(seen["texts"][0].split()[0])
    assert seen["texts"] == numbers(first, first + len(seen["texts"]) - 1) and len(seen["texts"]) > 450
    assert seen["bad"] == "not-found"
