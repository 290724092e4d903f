"""A deployment's story and the last lines of one that failed, where journald is behind with what was written."""

import contextlib
import re
import threading
from collections.abc import Iterator

import pytest
import requests
from containers import IMAGE, Gate, last, push_behind
from host import Host, wait_for
from sockets import Client


@contextlib.contextmanager
def held(host: Host) -> Iterator[None]:
    """journald reads nothing. What is sent to it meanwhile waits, as long as it is little."""
    signal = ["systemctl", "kill", "-s"]
    host.run(*signal, "STOP", "systemd-journald.service")
    try:
        yield
    finally:
        host.run(*signal, "CONT", "systemd-journald.service")


@pytest.fixture(autouse=True)
def patient(host: Host) -> Iterator[None]:
    """Nothing that is said too late is given up."""
    with host.configured('[limits]\njournal = "10m"\n'):
        yield


class Story:
    """The lines of a deployment as a client reads them."""

    def __init__(self, host: Host, identity: int, **headers: str) -> None:
        url = f"http://127.0.0.1:7070/deployments/{identity}/log"
        headers = {"Authorization": f"Bearer {host.token}", **headers}
        self.told: list[str] = []
        # Once its head is there, the agent reads for it, whatever becomes of the row.
        self.answer = requests.get(url, headers=headers, stream=True, timeout=600)
        assert self.answer.status_code == 200, self.answer.text
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        with self.answer:
            self.told.extend(line.decode() for line in self.answer.iter_lines(chunk_size=1))

    def ended(self) -> bool:
        return not self.reader.is_alive()

    def lines(self) -> list[str]:
        """All of them, once the story is over."""
        wait_for(self.ended, 60, lambda: f"the story ends: {self.told[-20:]}")
        return self.told


@pytest.fixture
def client(host: Host) -> Iterator[Client]:
    with Client(host.token, "/log") as client:
        yield client


def begun(host: Host, name: str, gate: Gate, folder, behind: str) -> int:
    """A deployment whose build waits at the gate; what it does then follows."""
    host.create(name)
    clone = host.clone(name, folder)
    clone.commit({"Containerfile": f"{IMAGE}RUN {gate.waits}; {behind}\n"})
    push_behind(clone)
    gate.wait_reached()
    return last(host, name)["id"]


def build_is(host: Host, identity: int) -> str:
    return host.user("systemctl", "--user", "show", "-P", "SubState", f"build-{identity}.service").strip()


def test_the_last_lines_of_a_build_are_kept_however_late_journald_reads_them(host: Host, name: str, gate: Gate, tmp_path):
    identity = begun(host, name, gate, tmp_path / "clone", "seq 1 20000; echo the last word; exit 7")
    story = Story(host, identity)
    with held(host):
        gate.open()
        # Its program has ended, and what it said is not read.
        program = lambda: host.code("pgrep", "-f", f"^/usr/bin/podman build .*/{identity}$") == 0
        wait_for(lambda: not program(), 60, "podman has ended")
        assert build_is(host, identity) == "running" and not story.ended()
        assert last(host, name)["state"] == "building"
    deployment = host.wait_deployment(identity, "failed")
    assert deployment["problem"]["code"] == "build-failed"
    tail = deployment["tail"].splitlines()
    assert tail[-1].startswith("Error: ") and "the last word" in tail[-2] and "20000" in tail[-3], tail
    lines = story.lines()
    assert re.search("^failed: The step `RUN .*` ended with status 7", lines[-1])
    numbers = [line for line in lines if line.isdigit()]
    assert numbers == [str(number) for number in range(1, 20001)]
    assert lines.index("20000") < lines.index(lines[-1])


def test_a_story_ends_with_what_the_agent_says_at_last(host: Host, name: str, gate: Gate, tmp_path):
    identity = begun(host, name, gate, tmp_path / "clone", "exit 7")
    stories = [Story(host, identity), Story(host, identity, **{"Accept": "text/event-stream"})]
    build = f"build-{identity}.service"
    with held(host):
        # Nothing is said by a build that is killed, and its unit ends at once.
        host.user("systemctl", "--user", "kill", "-s", "KILL", build)
        wait_for(lambda: build_is(host, identity) != "running", 60, "the build has ended")
        assert not any(story.ended() for story in stories)
    host.wait_deployment(identity, "failed")
    text, events = (story.lines() for story in stories)
    assert text[-1].startswith("failed: A program of the build was killed (status 137)")
    assert any("failed: A program of the build was killed" in line for line in events[-6:]), events[-6:]
    assert [line for line in text if line.startswith("failed: ")] == text[-1:]
    # Whoever comes later reads the same, and whoever has read to the end is told that it is one.
    assert Story(host, identity).lines() == text
    cursor = next(line for line in reversed(events) if line.startswith("id: ")).removeprefix("id: ")
    assert Story(host, identity, **{"Last-Event-ID": cursor}).lines() == []


def test_nothing_is_told_behind_the_end(host: Host, name: str, gate: Gate, tmp_path):
    """Be it live, cancelled, superseded or removed with its service."""
    host.create(name)
    live = host.start(name)["id"]
    assert Story(host, live).lines()[-1].startswith("live at ")
    # Another one takes the place of the first, which drains and goes.
    again = host.call("POST", f"/services/{name}/restart", 202, json={"quick": True}).json()["id"]
    assert Story(host, again).lines()[-1].startswith("live at ")

    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": f"{IMAGE}RUN {gate.waits}\n"})
    push_behind(clone)
    gate.wait_reached()
    under_way = last(host, name)["id"]
    waiting = [host.call("POST", f"/services/{name}/start", 202).json()["id"] for _ in range(3)]
    stories = {identity: Story(host, identity) for identity in [under_way, *waiting]}
    superseded = f"superseded by deployment {waiting[1]}"
    waits = f"waits for deployment {under_way}, which comes first"
    assert stories[waiting[0]].lines() == ["queued", waits, superseded]
    assert not stories[under_way].ended() and not stories[waiting[2]].ended()
    host.call("DELETE", f"/deployments/{waiting[2]}", 200)
    assert stories[waiting[2]].lines() == ["queued", waits, "cancelled"]
    assert Story(host, waiting[2]).lines() == ["queued", waits, "cancelled"]
    waiting.append(host.call("POST", f"/services/{name}/start", 202).json()["id"])
    stories[waiting[3]] = Story(host, waiting[3])
    host.delete(name)
    assert stories[under_way].lines()[-1] == "cancelled"
    assert stories[waiting[3]].lines()[-1] == "cancelled"
    for identity in [live, again, under_way, *waiting]:
        states = host.journal("-u", "podkeeper", f"PODKEEPER_DEPLOYMENT={identity}", "-o", "json")
        last_state = [line for line in states if '"PODKEEPER_STATE"' in line]
        assert last_state and last_state[-1] == states[-1], states[-3:]


def test_a_filter_hides_the_end_and_not_that_it_is_one(host: Host, name: str, client):
    host.create(name)
    identity = host.start(name)["id"]
    for part in ({"grep": "^queued$"}, {"grep": "nothing is like this"}, {"priority": 2}, {"lines": 0}, {"lines": 1}):
        channel = client.open(deployment=identity, **part)
        wait_for(lambda channel=channel: channel in client.closed, 30, f"it ends: {part}")
        assert client.closed[channel] == {"channel": channel}
        told = client.texts(channel) if channel in client.lines else []
        if part == {"lines": 1}:
            assert len(told) == 1 and told[0].startswith("live at ")
        else:
            assert told == (["queued"] if part == {"grep": "^queued$"} else []), part


def test_a_story_without_its_end_is_over_when_nothing_more_can_come(host: Host, name: str):
    host.create(name)
    identity = host.start(name)["id"]
    before = Story(host, identity).lines()
    # As where the agent was killed between the row and what it says of it: its journal is gone.
    host.run("journalctl", "--rotate")
    host.run("journalctl", "--vacuum-time=1us")
    assert before and not host.journal("-u", "podkeeper", f"PODKEEPER_DEPLOYMENT={identity}")
    with host.configured('[limits]\njournal = "100ms"\n'):
        # It has ended for longer than journald may take.
        assert Story(host, identity).lines() == []


def test_an_agent_that_was_killed_tells_the_end_when_it_is_back(host: Host, name: str, gate: Gate, tmp_path):
    identity = begun(host, name, gate, tmp_path / "clone", "echo the reason; exit 7")
    host.kill_agent()
    try:
        gate.open()
        wait_for(lambda: build_is(host, identity) != "running", 60, "the build has ended")
    finally:
        host.start_agent()
    lines = Story(host, identity).lines()
    assert "the reason" in lines and re.search("^failed: The step `RUN .*` ended with status 7", lines[-1])
    deployment = host.wait_deployment(identity, "failed")
    assert "the reason" in deployment["tail"]


def test_what_a_container_could_not_be_started_for_is_kept(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": f'{IMAGE}EXPOSE 8080\nCMD ["/not-there/tini"]\n'})
    clone.push()
    deployment = last(host, name)
    assert deployment["problem"]["code"] == "start-failed"
    # It is an init itself, so that Podman's own is not there to say it.
    assert "/not-there/tini" in deployment["tail"], deployment["tail"]
    clone.commit({"Containerfile": f'{IMAGE}EXPOSE 8080\nCMD ["/not-there"]\n'})
    clone.push()
    problem = last(host, name)["problem"]
    assert problem["detail"] == "The program of the image can't be run: there is none." and "CMD" in problem["hint"], problem


def test_the_log_of_a_service_ends_with_its_last_line(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    says = "trap 'seq 1 2000; echo farewell; exit' TERM; httpd -f -p 8080 & while :; do sleep 1 & wait $!; done"
    clone.commit({"Containerfile": f'{IMAGE}EXPOSE 8080\nCMD ["sh", "-c", "{says}"]\n'})
    clone.push()
    headers = {"Authorization": f"Bearer {host.token}", "Accept": "text/plain"}
    url = f"http://127.0.0.1:7070/services/{name}/logs?follow=true"
    answer = requests.get(url, headers=headers, stream=True, timeout=600)
    assert answer.status_code == 200, answer.text
    host.delete(name)
    lines = [line.decode() for line in answer.iter_lines() if line]
    assert lines[-1] == "[not-found]" and lines[-2].endswith(": farewell"), lines[-3:]
    numbers = [line.rsplit(": ", 1)[-1] for line in lines]
    assert [number for number in numbers if number.isdigit()] == [str(number) for number in range(1, 2001)]


def test_each_line_of_a_build_is_its_own_whoever_wrote_it(host: Host, name: str, gate: Gate, tmp_path):
    """Another user's, and those of processes that have ended before journald looks at them."""
    steps = "sh -c 'echo by a process that has ended'\nUSER 1234\nRUN echo by another user; exit 7"
    identity = begun(host, name, gate, tmp_path / "clone", steps)
    story = Story(host, identity)
    with held(host):
        gate.open()
        program = lambda: host.code("pgrep", "-f", f"^/usr/bin/podman build .*/{identity}$") == 0
        wait_for(lambda: not program(), 60, "podman has ended")
    deployment = host.wait_deployment(identity, "failed")
    for line in ("by a process that has ended", "by another user"):
        assert line in story.lines() and line in deployment["tail"].splitlines(), line
    entries = host.call("GET", f"/services/{name}/logs", 200).json()["entries"]
    assert {entry["build"] for entry in entries} == {identity}
    assert "by another user" in [entry["message"] for entry in entries]


def test_the_last_words_of_a_program_are_kept_however_late_journald_reads_them(host: Host, name: str, gate: Gate, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    # It ends the first time that it is started, and serves the second time.
    program = f"[ -e /data/x ] && exec httpd -f -p 8080 -h /; touch /data/x; {gate.waits}; echo its last words; exit 7"
    clone.commit({"Containerfile": f'{IMAGE}EXPOSE 8080\nVOLUME /data\nCMD ["sh", "-c", "{program}"]\n'})
    push_behind(clone)
    gate.wait_reached()
    deployment = last(host, name)
    first = host.user("podman", "inspect", "-f", "{{.Id}}", f"{name}-{deployment['release']}").strip()
    with held(host):
        gate.open()
        # Nothing of the first one is to be seen any more when journald comes.
        wait_for(lambda: first not in host.run("pgrep", "-af", "conmon|podman", check=False), 60, "it has ended")
    host.wait_deployment(deployment["id"])
    entries = host.call("GET", f"/services/{name}/logs", 200).json()["entries"]
    assert [entry["release"] for entry in entries if entry["message"] == "its last words"] == [deployment["release"]], entries
