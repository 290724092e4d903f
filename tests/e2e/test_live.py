"""Status and logs over Socket.IO, with real clients: python-socketio here, socket.io-client in live/client.mjs."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests
import socketio
from containers import Gate, Push, built_behind
from flapping import Slow, flapped, flapping, newest, same, shown
from host import ROOT, Host, wait_for
from sockets import PATIENCE, URL, Client, Writer, raw

NODE = ROOT / "tests/e2e/live"
# The agent looks at everything once a minute; with this no such look tells what a test waits for.
NO_LOOK = '[services]\nmaintenance = "1h"\n'


@pytest.fixture(scope="module")
def one_writer(host: Host, tmp_path_factory):
    name = "t-live-writer"
    try:
        yield Writer(host, name, tmp_path_factory.mktemp("writer") / "clone")
    finally:
        host.delete(name)


@pytest.fixture
def writer(one_writer: Writer):
    """It runs, and nothing of what a test before had it print comes any more."""
    one_writer.settle()
    return one_writer


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
    wait_for(lambda: "last" in client.texts(channel), 20, "the last line is there")
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
    assert client.ask("/log", "open", service=writer.name, release=99)["problem"] == "release-gone"
    deployment = host.call("GET", f"/services/{writer.name}/deployments", 200).json()["deployments"][0]["id"]
    story = client.open(deployment=deployment)
    wait_for(lambda: "the end" in client.texts(everything), 10, "all lines are there")
    wait_for(lambda: story in client.closed, 10, "the deployment's story has ended")
    assert client.closed[story] == {"channel": story}
    wait_for(lambda: any(text.startswith("live at ") for text in client.texts(story)), 10, "all of it is there")
    assert "queued" in client.texts(story) and any(text.startswith("STEP 1/") for text in client.texts(story))
    # A service's log has its builds' lines.
    assert any(line["build"] == deployment for line in client.lines[everything])
    wait_for(lambda: "the end" in client.texts(release), 10, "the release's lines are there")
    # A second one of each tells that what lies between was passed over.
    writer.print(b"an apple\n")
    writer.print(b"an error\n", output=2)
    for channel, text in ((grep, "an apple"), (errors, "an error")):
        wait_for(lambda: client.texts(channel)[1:], 10, "the second one is there")
        assert client.texts(channel) == [text, text]
    assert not any(line["build"] for line in client.lines[release])
    assert client.ask("/log", "close", channel=grep) == {}
    assert client.ask("/log", "close", channel=grep)["problem"] == "not-found"
    wait_for(lambda: grep in client.closed, 5, "it is closed")


def test_a_client_that_stalls_loses_nothing(host: Host, writer: Writer, client: Client):
    readers = Readers(host)
    client.acknowledging = False
    channel = client.open(service=writer.name, lines=0)
    writer.count(20_000)
    wait_for(lambda: client.lines.get(channel), 10, "the first lines are there")
    # The window is full, and the reader is closed until there is room again.
    wait_for(lambda: readers.count() == 0, 5, "nobody reads the journal")
    # It was sent before this is answered: all that was to be sent has come.
    assert client.ask("/log", "ack", channel=channel, seq=10**6)["problem"] == "bad-request"
    held, last = len(client.lines[channel]), client.last[channel]
    assert held * 320 <= 64 * 1024, f"{held} lines came without being acknowledged"
    assert client.ask("/log", "ack", channel=channel, seq=last + 1)["problem"] == "bad-request"
    client.acknowledging = True
    assert client.ask("/log", "ack", channel=channel, seq=last) == {}
    wait_for(lambda: len(counted(client, channel)) >= 20_000, 60, "all lines are there")
    assert counted(client, channel) == numbers(1, 20_000)


def test_a_client_may_acknowledge_in_batches(writer: Writer, client: Client):
    client.acknowledging = False
    channel = client.open(service=writer.name, lines=0)
    for number in range(1, 13):
        writer.print(f"{number} of many\n".encode())
        wait_for(lambda number=number: counted(client, channel) == numbers(1, number), 10, f"line {number} is there")
        if number % 5 == 0:
            assert client.ask("/log", "ack", channel=channel, seq=client.last[channel]) == {}
        if number in (1, 7):
            # However long it says nothing, what is on its way is less than a window. After half a second the agent would
            # do what it does where a window is full.
            time.sleep(2)


def test_each_stream_has_one_reader_at_most(host: Host, writer: Writer, client: Client):
    readers = Readers(host)
    channels = [client.open(service=writer.name, lines=1) for _ in range(10)]
    with Steady(writer) as steady:
        wait_for(lambda: readers.count() == len(channels), 10, "each is read")
        for lines in range(0, 500, 20):
            steady.reach(lines)
            assert readers.count() <= len(channels)
    last = f"{steady.lines} of many"
    wait_for(lambda: all(last in client.texts(channel) for channel in channels), 10, "each has all lines")
    wait_for(lambda: readers.count() == len(channels), 10, "each is read")
    for channel in channels:
        assert client.ask("/log", "close", channel=channel) == {}
    wait_for(lambda: readers.count() == 0, 10, "nobody reads the journal")


def test_a_build_that_begins_in_a_flood_is_in_the_services_log(host: Host, name: str, tmp_path, client: Client):
    flooding = Writer(host, name, tmp_path / "clone")
    channel = client.open(service=name, lines=0)
    over = threading.Event()

    def flood() -> None:
        # However long the build takes, the client has to do with lines; they are never so many that it is far behind.
        written = 0
        while not over.is_set():
            if written > len(client.lines.get(channel, [])) + 5000:
                over.wait(0.05)
                continue
            # One that is under way while the new release takes the place of the old one may be cut off.
            with contextlib.suppress(AssertionError, requests.RequestException):
                flooding.count(5000)
                written += 5000

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        wait_for(lambda: len(counted(client, channel)) > 1000, 20, "there are always lines")
        deployment = host.start(name)
    finally:
        over.set()
        thread.join()
    # What the new release prints lies behind the build, though not behind all that was flooded.
    flooding.print(b"the end\n")
    wait_for(lambda: "the end" in client.texts(channel), 60, "all lines are there")
    built = [line["message"] for line in client.lines[channel] if line["build"] == deployment["id"]]
    story = host.call("GET", f"/deployments/{deployment['id']}/log", 200).text.splitlines()
    wanted = [line for line in story if line.startswith(("STEP ", "COMMIT"))]
    assert len(wanted) > 5 and [line for line in built if line in wanted] == wanted


def test_a_stream_ends_with_its_service(host: Host, name: str, client: Client):
    host.create(name)
    host.start(name)
    channel = client.open(service=name)
    wait_for(lambda: client.lines.get(channel), 10, "its lines are there")
    host.delete(name)
    # Another one has the name at once.
    host.create(name)
    wait_for(lambda: channel in client.closed, 10, "the stream is closed")
    assert client.closed[channel] == {"channel": channel, "problem": "not-found", "detail": "The service is gone."}
    assert client.ask("/log", "open", service=name)["channel"] != channel


def test_a_service_that_prints_much_loses_nothing(host: Host, writer: Writer, client: Client):
    # More than journald lets through by default, while its files change.
    lines = 60_000
    channel = client.open(service=writer.name, lines=0)
    writing = threading.Thread(target=writer.count, args=(lines,))
    writing.start()
    try:
        for read in range(0, lines, 5000):
            wait_for(lambda read=read: len(counted(client, channel)) > read, 20, "lines come")
            host.run("journalctl", "--rotate")
    finally:
        writing.join()
    wait_for(lambda: len(counted(client, channel)) >= lines, 60, "all lines are there")
    assert counted(client, channel) == numbers(1, lines)


def test_long_lines_that_nobody_reads_cost_little(host: Host, writer: Writer, client: Client):
    readers, memory = Readers(host), host.agent_rss()
    client.acknowledging = False
    channels = [client.open(service=writer.name, lines=0) for _ in range(6)]
    line = b"y" * (1024 * 1024 - 1)
    for _ in range(3):
        writer.print(line + b"\n")
    writer.print(b"behind them\n")
    # Of such lines four are under way to one connection, each on a channel of its own; the journal has the others.
    wait_for(lambda: sum(len(lines) for lines in client.lines.values()) == 4, 20, "four lines came")
    wait_for(lambda: readers.count() == 0, 10, "nobody reads the journal")
    assert sorted(len(client.lines.get(channel, [])) for channel in channels) == [0, 0, 1, 1, 1, 1]
    assert host.agent_rss() - memory < 64 * 1024
    client.acknowledging = True
    for channel in [channel for channel in channels if client.lines.get(channel)]:
        client.ask("/log", "ack", channel=channel, seq=1)
    wait_for(lambda: all("behind them" in client.texts(channel) for channel in channels), 60, "all lines are there")
    for channel in channels:
        assert [len(text) for text in client.texts(channel)] == [len(line)] * 3 + [len("behind them")]


class Readers:
    """The agent's threads that read the journal for who came since. Those from before may end meanwhile, and the agent
    itself reads what health checks say."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.before = self._all()

    def _all(self) -> set[str]:
        # A thread may end while they are listed.
        listed = self.host.run("sh", "-c", f"grep -lx journal /proc/{self.host.agent_pid()}/task/*/comm 2>/dev/null", check=False)
        return set(listed.split())

    def count(self) -> int:
        return len(self._all() - self.before)


class Steady:
    """Writes ten lines at a time until it is left."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.lines, self.stop = writer, 0, threading.Event()
        self.failed: Exception | None = None
        self.thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        try:
            while not self.stop.wait(0.05):
                first = self.lines + 1
                self.writer.print("".join(f"{number} of many\n" for number in range(first, first + 10)).encode())
                self.lines += 10
        except (AssertionError, requests.RequestException) as error:
            self.failed = error

    def reach(self, lines: int) -> None:
        """Returns when so many are written."""
        wait_for(lambda: self.failed or self.lines >= lines, 30, f"{lines} lines are written")
        assert not self.failed, self.failed

    def __enter__(self) -> Steady:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        self.stop.set()
        self.thread.join()
        assert kind or not self.failed, self.failed


def test_rotation_and_vacuum_lose_and_repeat_nothing(host: Host, writer: Writer, client: Client):
    channel = client.open(service=writer.name, lines=0)
    with Steady(writer) as steady:
        for command in ("--rotate", "--rotate", "--vacuum-files=1", "--rotate", "--vacuum-size=1"):
            reached = steady.lines + 50
            steady.reach(reached)
            # It reads in the newest file: what it has not read is in no other, which alone are vacuumed.
            wait_for(lambda reached=reached: len(counted(client, channel)) >= reached, 10, "they come")
            host.run("journalctl", command)
    wait_for(lambda: len(counted(client, channel)) >= steady.lines, 10, "all lines are there")
    assert counted(client, channel) == numbers(1, steady.lines)
    # A cursor whose line is gone goes on with the first one that is there.
    gone = client.lines[channel][0]["cursor"]
    host.run("journalctl", "--rotate", "--vacuum-files=1")
    writer.print(b"behind the vacuum\n")
    again = client.open(service=writer.name, cursor=gone)
    wait_for(lambda: "behind the vacuum" in client.texts(again), 10, "the stream goes on")


def test_a_stream_goes_on_where_the_journal_was_vacuumed_under_it(host: Host, writer: Writer, client: Client):
    channel = client.open(service=writer.name, lines=0)
    for number in range(3):
        before = f"read before the vacuum {number}"
        writer.print(before.encode() + b"\n")
        wait_for(lambda before=before: before in client.texts(channel), 10, "it is read")
        agent = str(host.agent_pid())
        host.run("kill", "-STOP", agent)
        try:
            # journald empties what it removes, also under those who still read it.
            writer.print(b"".join(b"vacuumed before it was read %d\n" % line for line in range(500)))
            host.run("journalctl", "--rotate", "--vacuum-size=1")
        finally:
            host.run("kill", "-CONT", agent)
        after = f"behind the vacuum {number}"
        writer.print(after.encode() + b"\n")
        wait_for(lambda after=after: after in client.texts(channel), 10, "the stream goes on")
    assert channel not in client.closed


def test_reconnecting_and_an_agents_restart_lose_and_repeat_nothing(host: Host, writer: Writer):
    lines, reasons = [], []
    with Steady(writer) as steady:
        cursor = None
        for number in range(6):
            what = {"lines": 0} if cursor is None else {"cursor": cursor}
            with Client(host.token, "/log") as client:
                channel = client.open(service=writer.name, **what)
                if number in (2, 4):
                    wait_for(lambda: counted(client, channel), 10, "lines come")
                    host.run("systemctl", *(["restart"] if number == 2 else ["kill", "-s", "KILL"]), "podkeeper.service")
                    wait_for(lambda: client.reasons, 10, "the connection is closed")
                    reasons.append(client.closed.get(channel))
                    host.wait_ready()
                else:
                    wait_for(lambda: len(counted(client, channel)) > 20, 10, "lines come")
                got = list(client.lines.get(channel, []))
            lines += got
            cursor = got[-1]["cursor"] if got else cursor
    with Client(host.token, "/log") as client:
        channel = client.open(service=writer.name, cursor=cursor)
        rest = lambda: client.lines.get(channel, [])
        wait_for(lambda: (lines + rest())[-1]["message"] == f"{steady.lines} of many", 10, "the last one is there")
        lines += rest()
    first = int(lines[0]["message"].split()[0])
    assert [line["message"] for line in lines] == numbers(first, steady.lines)
    assert reasons[0]["problem"] == "restarting" and reasons[1] is None


def test_a_build_that_begins_meanwhile_is_in_the_services_log(host: Host, name: str, tmp_path, client: Client):
    host.create(name)
    channel = client.open(service=name)
    client.ask("/status", "stats", on=True)
    deployment = host.start(name)
    wait_for(
        lambda: any(text.startswith("COMMIT") for text in client.texts(channel)),
        10,
        "the build's lines are there",
    )
    assert {line["build"] for line in client.lines[channel]} <= {deployment["id"], None}

    # Its steps came too, and figures.
    def steps() -> set[str]:
        return {data["state"] for data in client.named("deployment") if data["id"] == deployment["id"]}

    wait_for(lambda: "live" in steps(), 10, "its last step is there")
    # Of steps that follow one another at once only the last is told; what is told has them all.
    live = [data for data in client.named("deployment") if data["id"] == deployment["id"] and data["state"] == "live"][0]
    order = ["queued", "fetching", "building", "starting", "checking", "live"]
    assert sorted(live["steps"], key=live["steps"].get) == order and steps() <= set(order)
    figures = wait_for(
        lambda: [data for data in client.named("stats") if data["services"].get(name, {}).get("cpu_percent") is not None],
        10,
        "figures come",
    )
    assert set(figures[-1]["services"][name]) == {"cpu_percent", "memory_bytes", "pids", "received_bytes", "sent_bytes"}
    client.ask("/status", "stats", on=False)
    seen = len(client.named("stats"))
    host.delete(name)
    wait_for(lambda: {"name": name} in client.named("removed"), 10, "it is removed")
    assert len(client.named("stats")) <= seen + 1


def test_a_step_is_told_while_it_lasts(host: Host, name: str, tmp_path, client: Client, gate: Gate):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": built_behind(gate), "site/index.html": "ready"})
    told = lambda: [data["state"] for data in client.named("deployment") if data["service"] == name][-1:]
    pushed = Push(clone)
    try:
        gate.wait_reached()
        wait_for(lambda: told() == ["building"], 5, "it is told that it builds")
        assert gate.reached()
    finally:
        gate.end()
        pushed.end()
    wait_for(lambda: told() == ["live"], 10, "and that it is live")


# ---- status -------------------------------------------------------------------------------------------------------


def test_each_change_of_a_service_comes(host: Host, writer: Writer, client: Client):
    def state() -> dict:
        return [data for data in client.named("service") if data["name"] == writer.name][-1:] or [{}]

    snapshot = wait_for(lambda: client.named("snapshot"), 10, "the snapshot is there")[0]
    before = next(service for service in snapshot["services"] if service["name"] == writer.name)
    assert before["state"] == "running" and "cpu_percent" not in before
    assert {service["name"] for service in snapshot["services"]} == set(host.call("GET", "/services/status", 200).json())
    host.user("systemctl", "--user", "kill", "-s", "KILL", f"{writer.name}@1.service")
    wait_for(lambda: state()[0].get("restarts", 0) == before["restarts"] + 1, 10, "it has been restarted")
    wait_for(lambda: state()[0]["state"] == "running", 10, "it runs again")
    # Somebody who only looked now and then would not see these.
    with host.configured(NO_LOOK):
        for _ in range(3):
            host.user("systemctl", "--user", "stop", f"{writer.name}@1.service")
            wait_for(lambda: state()[0]["state"] == "stopped", 10, "it is stopped")
            host.user("systemctl", "--user", "start", f"{writer.name}@1.service")
            wait_for(lambda: state()[0]["state"] == "running", 10, "it is started")
    assert len(client.named("snapshot")) == 1


def test_a_snapshot_has_whatever_was_answered_before(host: Host, name: str, client: Client):
    def shown() -> set[str]:
        with Client(host.token, "/status") as other:
            snapshot = wait_for(lambda: other.named("snapshot"), 10, "the snapshot is there")[0]
        return {service["name"] for service in snapshot["services"]}

    # As long as one client listens, there is a view that a new one could be shown at once.
    wait_for(lambda: client.named("snapshot"), 10, "the snapshot is there")
    for _ in range(5):
        host.create(name)
        assert name in shown()
        host.delete(name)
        assert name not in shown()


def test_figures_are_counted_once_for_all_and_only_while_somebody_asks(host: Host, client: Client):
    first = time.time()

    def counts() -> int:
        """How often Podman was asked for figures. It logs each request."""
        said = host.journal(f"--since=@{first}", f"_UID={host.uid()}", "-t", "podman")
        return sum("/containers/stats?" in line for line in said)

    def quiet() -> bool:
        before = counts()
        time.sleep(5)
        return counts() == before

    wait_for(quiet, 20, "nobody asks")
    began, before = time.monotonic(), counts()
    with Client(host.token, "/status") as other:
        for one in (client, other):
            one.ask("/status", "stats", on=True)
        wait_for(lambda: min(len(one.named("stats")) for one in (client, other)) >= 7, 30, "figures come to both")
        asked, came = counts() - before, max(len(one.named("stats")) for one in (client, other))
        assert asked <= came + 2, "whoever asks, they are counted once"
        # Two seconds lie between two of them.
        assert time.monotonic() - began > 10
        other.ask("/status", "stats", on=False)
        seen = len(client.named("stats"))
        wait_for(lambda: len(client.named("stats")) > seen, 10, "who still asks still gets them")
    client.ask("/status", "stats", on=False)
    wait_for(quiet, 20, "nobody asks any more")


def test_a_podman_that_hangs_keeps_only_its_own_figures_back(host: Host, writer: Writer, client: Client):
    def restarts() -> int:
        return (newest(client.named("service")).get(writer.name) or {}).get("restarts", 0)

    client.ask("/status", "stats", on=True)
    wait_for(lambda: client.named("stats"), 10, "figures come")
    podman = host.user("systemctl", "--user", "show", "-P", "MainPID", "podman.service").strip()
    assert podman != "0"
    host.run("kill", "-STOP", podman)
    try:

        def silent() -> bool:
            before = len(client.named("stats"))
            time.sleep(5)
            return len(client.named("stats")) == before

        # They come every two seconds; the next question for them has no answer.
        wait_for(silent, 20, "no more figures come")
        seen, before = len(client.named("stats")), restarts()
        host.user("systemctl", "--user", "kill", "-s", "KILL", f"{writer.name}@1.service")
        wait_for(lambda: restarts() > before, 10, "the change is shown")
        assert len(client.named("stats")) == seen
    finally:
        host.run("kill", "-CONT", podman)
    wait_for(lambda: len(client.named("stats")) > seen, 10, "figures come again")


def test_a_health_check_that_fails_is_seen(host: Host, name: str, tmp_path, client: Client):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    base = "FROM docker.io/library/busybox:stable\nRUN mkdir /data && echo >/data/index.html && chmod -R a+rwx /data\nUSER 1000\n"
    check = "HEALTHCHECK --interval=1s --timeout=60s --retries=1 CMD test -e /data/index.html\n"
    clone.commit({"Containerfile": base + "EXPOSE 8080\nSTOPSIGNAL SIGKILL\n" + check + 'CMD ["httpd", "-f", "-p", "8080", "-h", "/data"]\n'})
    assert "Live:" in clone.push()

    def health() -> str | None:
        return ([data for data in client.named("service") if data["name"] == name] or [{}])[-1].get("health")

    wait_for(lambda: health() == "healthy", 15, "it is healthy")
    with host.configured(NO_LOOK):
        host.user("podman", "exec", f"{name}-1", "rm", "/data/index.html")
        wait_for(lambda: health() == "unhealthy", 15, "it is not healthy any more")
    assert host.call("GET", "/services/status", 200).json()[name]["health"] == "unhealthy"


def test_services_that_flap_are_shown_to_a_slow_client_as_they_are_now(host: Host, name: str, client: Client):
    # A service takes a second to make, so there are few of them; each changes as often as many that flap.
    names = [f"{name[:30]}-{number}" for number in range(6)]
    try:
        for one in names:
            host.create(one)
        for begun in [host.call("POST", f"/services/{one}/start", 202).json()["id"] for one in names]:
            host.wait_deployment(begun)
        # For as long as the slow one reads nothing.
        with host.configured('[limits]\nunread = "1h"\n'), flapping(host, names):
            wait_for(lambda: flapped(client, names), 20, "all flap")
            before = len(client.named("service"))
            with contextlib.closing(Slow(host.token)) as slow:
                changes = lambda: client.named("service")[before:]
                further = lambda more: wait_for(lambda: len(changes()) >= more, 30, f"{more} changes are told")

                def full() -> bool:
                    waiting = slow.waiting(host)
                    further(len(changes()) + 100)
                    return slow.waiting(host) == waiting

                wait_for(full, 60, "nothing more goes into its connection")
                # At most these will come to it, and the newest of each service, however much is told meanwhile.
                further(3 * len(changes()))
                missed = changes()
                came = slow.catch_up(client)
        wait_for(lambda: same(newest(client.named("service")), shown(host, names)), 10, "who reads has seen the last")
        assert len(came) < len(missed) / 2, "what waited for it was the newest state of each, and not all of them"
        for one in names:
            restarts = [data["restarts"] for data in came if data["name"] == one]
            assert restarts == sorted(restarts), "none comes after a newer one"
            states = [data for data in missed if data["name"] == one]
            assert all(state != after for state, after in zip(states, states[1:])), "what is told is a change"
    finally:
        for one in names:
            host.delete(one)


def test_a_token_of_one_service_sees_only_that(host: Host, writer: Writer, name: str):
    host.create(name)
    with of_token(host, name, "--scope", "read", "--service", name) as token, Client(token, "/log", "/status") as client:
        snapshot = wait_for(lambda: client.named("snapshot"), 10, "the snapshot is there")[0]
        assert [service["name"] for service in snapshot["services"]] == [name]
        assert client.ask("/log", "open", service=writer.name)["problem"] == "forbidden"
        assert "channel" in client.ask("/log", "open", service=name)
        host.user("systemctl", "--user", "restart", f"{writer.name}@1.service")
        client.ask("/status", "stats", on=True)
        wait_for(lambda: client.named("stats"), 10, "figures come")
        # What is told of its own is told behind what was to be told of the other.
        host.start(name)
        running = lambda: [data for data in client.named("service") if data["name"] == name and data["state"] == "running"]
        wait_for(running, 10, "its own changes come")
        assert not [data for data in client.named("service") if data["name"] != name]
        assert all(set(data["services"]) <= {name} for data in client.named("stats"))


@contextlib.contextmanager
def of_token(host: Host, name: str, *options: str) -> Iterator[str]:
    """A token that is there as long as this."""
    try:
        yield host.run("podkeeper", "token", "create", "--name", name, *options).strip()
    finally:
        host.run("podkeeper", "token", "remove", name, check=False)


# ---- connections --------------------------------------------------------------------------------------------------


def test_a_token_that_is_removed_cuts_its_connections(host: Host, writer: Writer, name: str):
    with of_token(host, name) as token:
        cut_off(by(token), writer, lambda: host.run("podkeeper", "token", "remove", name))


def test_a_token_that_expires_cuts_its_connections(host: Host, writer: Writer, name: str):
    for seconds in (5, 30, 300):
        expires = time.time() + seconds
        moment = datetime.datetime.fromtimestamp(expires, datetime.UTC).isoformat()
        body = {"name": f"{name}-{seconds}", "scope": "read", "expires": moment}
        connect = by(host.call("POST", "/credentials/tokens", 201, json=body).json()["token"])
        with contextlib.ExitStack() as stack:
            stack.callback(host.run, "podkeeper", "token", "remove", body["name"], check=False)
            try:
                clients = connected(stack, connect, writer)
            except (AssertionError, socketio.exceptions.SocketIOError):
                # They were not connected before it expired: it shall last longer.
                if time.time() < expires:
                    raise
                continue
            all_cut(clients, connect, seconds)
            assert time.time() >= expires
            return
    pytest.fail("nobody was connected within minutes")


def test_a_session_that_is_ended_cuts_its_connections(host: Host, writer: Writer):
    signed_in = requests.post(f"{URL}/sessions", json={"token": host.token}, headers={"Origin": URL}, timeout=PATIENCE)
    assert signed_in.status_code == 201
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in signed_in.cookies.items()), "Origin": URL}
    asked = requests.get(f"{URL}/sessions", headers=headers, timeout=PATIENCE).json()["sessions"]
    (session,) = [session["id"] for session in asked if session["current"]]
    cut_off(
        lambda transports: Client("", "/log", "/status", headers=headers, transports=transports),
        writer,
        lambda: host.call("DELETE", f"/sessions/{session}", 204),
    )


Connect = Callable[[list[str] | None], Client]


def by(token: str) -> Connect:
    return lambda transports: Client(token, "/log", "/status", transports=transports)


def cut_off(connect: Connect, writer: Writer, end: Callable[[], object]) -> None:
    with contextlib.ExitStack() as stack:
        clients = connected(stack, connect, writer)
        end()
        all_cut(clients, connect, 0)


def connected(stack: contextlib.ExitStack, connect: Connect, writer: Writer) -> list[Client]:
    """Clients by all transports, each with a stream."""
    clients = [stack.enter_context(connect(transports)) for transports in (["websocket"], ["polling"], None)]
    for client in clients:
        client.open(service=writer.name, lines=1)
    return clients


def all_cut(clients: list[Client], connect: Connect, after: float) -> None:
    """They are cut off, so many seconds from now, and can't come back."""
    for client in clients:
        wait_for(lambda client=client: len(client.reasons) >= 2, after + 10, "it is cut off")
    with pytest.raises(socketio.exceptions.ConnectionError):
        connect(None)


def test_a_client_that_vanishes_is_cleaned_up(host: Host, writer: Writer):
    readers = Readers(host)
    child = subprocess.Popen(
        [sys.executable, "-c", VANISHING, writer.name],
        env={**os.environ, "TOKEN": host.token},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(child.stdout.readline())
        connection = lambda: host.run("ss", "-Htn", "state", "established", f"( sport = :7070 and dport = :{port} )")
        assert connection()
        wait_for(lambda: readers.count() == 1, 5, "its stream is read")
        # It neither reads nor answers any more, and doesn't close its connection either.
        child.send_signal(signal.SIGSTOP)
        wait_for(lambda: not connection(), 30, "its connection is closed")
        wait_for(lambda: readers.count() == 0, 5, "nobody reads for it")
    finally:
        child.kill()
        child.wait()


VANISHING = """
import os, sys, socketio
io = socketio.Client(reconnection=False, request_timeout=300)
io.on("data", lambda data: None, namespace="/log")
headers = {"Authorization": "Bearer " + os.environ["TOKEN"]}
io.connect("http://127.0.0.1:7070", headers=headers, namespaces=["/log"], transports=["websocket"], wait_timeout=300)
io.call("open", {"service": sys.argv[1], "lines": 1}, namespace="/log", timeout=300)
print(io.eio.ws.sock.getsockname()[1], flush=True)
io.wait()
"""


@pytest.mark.parametrize("transports", ["websocket", "polling", "polling,websocket"])
def test_the_reference_client_speaks_with_us(host: Host, writer: Writer, transports: str):
    with Steady(writer) as steady:
        steady.reach(500)
        said = subprocess.run(
            ["node", NODE / "client.mjs", URL, writer.name, transports],
            env={**os.environ, "TOKEN": host.token},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
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
