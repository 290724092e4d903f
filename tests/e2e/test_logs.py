"""Logs: what the interface gives is what journald holds, with journalctl as the reference."""

import base64
import contextlib
import http.client
import json
import pathlib
import queue
import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from host import SLACK, Host, wait_for
from journal import being_written, matches, pretend
from sockets import PATIENCE, Writer

# Prints what it is told to; each line goes out at once.
APP = r"""
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        os.write(2 if self.path == "/err" else 1, body)
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_):
        pass

print("the program starts", flush=True)
server = http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler)
server.serve_forever()
"""
Line = dict[str, Any]


def say(host: Host, name: str, text: str | bytes, path: str = "/out") -> None:
    data = text.encode() if isinstance(text, str) else text
    answer = requests.post(f"http://127.0.0.1:8080{path}", data, headers={"Host": f"{name}.localhost:8080"}, timeout=PATIENCE)
    assert answer.status_code == 204


def said(host: Host, name: str, text: str) -> None:
    """Has it say a line, and waits until that is the newest one."""
    say(host, name, f"{text}\n")
    wait_for(lambda: [entry["message"] for entry in page(host, name, lines=1)["entries"]] == [text], 10, "it is there")


@pytest.fixture(scope="module")
def service(host: Host, tmp_path_factory) -> Iterator[str]:
    """A service of two releases with a few hundred lines, and all that is odd about lines."""
    name = "t-logs"
    try:
        make(host, name, tmp_path_factory.mktemp("logs") / "clone")
        yield name
    finally:
        host.delete(name)


def make(host: Host, name: str, folder: pathlib.Path) -> None:
    host.create(name, "python")
    clone = host.clone(name, folder)
    containerfile = (clone.folder / "Containerfile").read_text() + "STOPSIGNAL SIGKILL\n"
    clone.commit({"app.py": APP, "Containerfile": containerfile})
    clone.push()
    say(host, name, "".join(f"line {number}\n" for number in range(150)))
    say(host, name, "a complaint\n", "/err")
    say(host, name, "ünïçödé 日本語 🦀\n\n  spaces  \n\ttab\n")
    say(host, name, b"bytes \xff\xfe\x00\x01 end\n")
    for number in range(6):
        say(host, name, f"long {number} " + "x" * 100_000 + f" end {number}\n")
    # Two outputs at once, whose pieces lie between one another.
    both = [threading.Thread(target=say, args=(host, name, f"mixed {path} " + path[1] * 300_000 + "\n", path)) for path in ("/out", "/err")]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    # What a program says last may have no line's end.
    say(host, name, "last words")
    say(host, name, "fatal: " + "z" * 20_000, "/err")
    quick = host.call("POST", f"/services/{name}/restart", 202, json={"quick": True}).json()
    host.wait_deployment(quick["id"])
    say(host, name, "".join(f"second {number}\n" for number in range(50)))
    say(host, name, "the last line\n")
    last = {"the last line", "last words"}
    wait_for(lambda: last <= {line["message"] for line in reference(host, name)}, 30, "it is all in the journal")


def reference(host: Host, name: str) -> list[Line]:
    """The service's lines by journalctl, the pieces of long ones joined."""
    host.run("journalctl", "--sync")
    created = host.call("GET", f"/services/{name}", 200).json()["created"]
    since = datetime.fromisoformat(created).strftime("%Y-%m-%d %H:%M:%S.%f UTC")
    output = host.run("journalctl", "-q", "-o", "json", "--all", f"--since={since}", *matches(host, name))
    lines: list[Line] = []
    pieces: dict[tuple[str, str], bytes] = {}
    for text in output.splitlines():
        entry = json.loads(text)
        message = entry["MESSAGE"]
        content = bytes(message) if isinstance(message, list) else (message or "").encode()
        # conmon writes the line's end too.
        content = content.removesuffix(b"\n") if "CONTAINER_ID_FULL" in entry else content
        key = (entry.get("CONTAINER_ID_FULL", ""), entry["PRIORITY"])
        # Of a line that goes on conmon writes 8 KiB at least; what is shorter was left when the output ended.
        goes_on = entry.get("CONTAINER_PARTIAL_MESSAGE") and len(content) >= 8192
        content = pieces.pop(key, b"") + content
        if goes_on:
            pieces[key] = content
            continue
        release, build = entry.get("CONTAINER_NAME", ""), entry.get("SYSLOG_IDENTIFIER", "").removeprefix("build-")
        lines.append(
            {
                "cursor": entry["__CURSOR"],
                "time": int(entry["__REALTIME_TIMESTAMP"]),
                "priority": int(entry["PRIORITY"]),
                "release": int(release.rsplit("-", 1)[1]) if release else None,
                "build": int(build) if entry["_TRANSPORT"] == "stdout" else None,
                "message": content.decode(errors="replace"),
                "content": content,
            }
        )
    return lines


def page(host: Host, name: str, **query: Any) -> dict[str, Any]:
    return host.call("GET", f"/services/{name}/logs", 200, params=query).json()


def micros(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1_000_000)


def plain(lines: list[Line]) -> list[Line]:
    """The reference's lines as the interface shows them, but for their bytes and times."""
    return [{key: line[key] for key in ("cursor", "priority", "release", "build", "message")} for line in lines]


def shown(entries: list[Line]) -> list[Line]:
    return [{key: value for key, value in entry.items() if key not in ("bytes", "time")} for entry in entries]


def test_history_is_the_journals_both_ways(host: Host, service: str):
    wanted = reference(host, service)
    assert len(wanted) > 215 and {line["release"] for line in wanted} == {None, 1, 2}
    for direction, limit in (("forward", 37), ("backward", 41), ("forward", 10_000), ("backward", 1)):
        entries: list[Line] = []
        cursor = None
        for _ in range(1000):
            query = {"direction": direction, "lines": limit} | ({"cursor": cursor} if cursor else {})
            got = page(host, service, **query)
            assert len(got["entries"]) <= limit
            entries = entries + got["entries"] if direction == "forward" else got["entries"] + entries
            cursor = got["cursor"]
            if cursor is None or limit == 1 and len(entries) == 20:
                break
        expected = wanted if limit > 1 else wanted[-20:]
        assert shown(entries) == plain(expected), direction
        for entry, line in zip(entries, expected, strict=True):
            assert micros(entry["time"]) == line["time"]
            if "bytes" in entry:
                assert base64.b64decode(entry["bytes"]) == line["content"]
            else:
                assert entry["message"].encode() == line["content"]
    # Without anything it is the newest 200.
    assert shown(page(host, service)["entries"]) == plain(wanted[-200:])


def test_long_lines_are_one(host: Host, service: str):
    messages = [entry["message"] for entry in page(host, service, lines=10_000)["entries"]]
    for number in range(6):
        assert f"long {number} " + "x" * 100_000 + f" end {number}" in messages
    for path in ("/out", "/err"):
        assert f"mixed {path} " + path[1] * 300_000 in messages
    assert "last words" in messages and "fatal: " + "z" * 20_000 in messages


@pytest.mark.parametrize(
    ("query", "keep"),
    [
        ({"grep": "line 1[0-4]$"}, lambda line: re.search("line 1[0-4]$", line["message"])),
        ({"grep": "日本.*🦀"}, lambda line: "日本" in line["message"]),
        # What is found at a long line's beginning, which is another entry than its end.
        ({"grep": "^long [0-9]"}, lambda line: line["message"].startswith("long ")),
        ({"grep": "end 3$"}, lambda line: line["message"].endswith("end 3")),
        ({"grep": "^long .* end"}, lambda line: line["message"].startswith("long ")),
        ({"grep": "no such thing"}, lambda line: False),
        ({"priority": 3}, lambda line: line["priority"] <= 3),
        ({"priority": 7}, lambda line: True),
        ({"release": 1}, lambda line: line["release"] == 1),
        ({"release": 2}, lambda line: line["release"] == 2),
        ({"release": 2, "grep": "second .*7"}, lambda line: re.search("second .*7", line["message"])),
    ],
    ids=lambda value: " ".join(f"{key}-{text}" for key, text in value.items()) if isinstance(value, dict) else "",
)
def test_filters_apply_to_whole_lines(host: Host, service: str, query: dict[str, Any], keep):
    wanted = plain([line for line in reference(host, service) if keep(line)])
    for direction in ("forward", "backward"):
        got = page(host, service, lines=10_000, direction=direction, **query)
        assert shown(got["entries"]) == wanted and got["cursor"] is None
    # A page holds no more than was asked for, and its cursor leads to the rest.
    first = page(host, service, lines=3, **query)
    assert shown(first["entries"]) == wanted[-3:]
    if len(wanted) > 3:
        second = page(host, service, lines=10_000, cursor=first["cursor"], **query)
        assert shown(second["entries"]) == wanted[:-3]


def test_since_and_until_are_moments_of_the_journal(host: Host, service: str):
    lines = reference(host, service)

    def moment(line: Line, later: int = 0) -> str:
        return datetime.fromtimestamp((line["time"] + later) / 1_000_000, UTC).isoformat()

    first, last = lines[20], lines[-20]
    inside = [line for line in lines if first["time"] <= line["time"] <= last["time"]]
    for direction in ("forward", "backward"):
        query = {"since": moment(first), "until": moment(last), "lines": 10_000, "direction": direction}
        assert shown(page(host, service, **query)["entries"]) == plain(inside)
    after = [line for line in lines if line["time"] > last["time"]]
    assert shown(page(host, service, since=moment(last, 1))["entries"]) == plain(after)
    assert page(host, service, since="2999-01-01T00:00:00Z")["entries"] == []
    assert page(host, service, until="1999-01-01T00:00:00Z")["entries"] == []


def test_plain_text_is_what_journalctl_prints(host: Host, service: str):
    query = {"lines": 10_000, "grep": "^(line|second|STEP|a complaint|ünï)"}
    text = host.call("GET", f"/services/{service}/logs", 200, params=query, headers={"Accept": "text/plain"})
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    since = f"--since={host.call('GET', f'/services/{service}', 200).json()['created'][:19].replace('T', ' ')} UTC"
    host.run("journalctl", "--sync")
    wanted = host.run(
        "journalctl", "-q", "-o", "short-iso", "--utc", since, "--grep=^(line|second|STEP|a complaint|ünï)",
        "--case-sensitive=true", *matches(host, service),
    )  # fmt: skip
    assert text.text.splitlines() == wanted.splitlines() and len(text.text.splitlines()) > 200


def test_a_line_that_journald_is_writing_is_read_when_it_is_written(host: Host, service: str):
    said(host, service, "half of it is written")
    told: queue.Queue[list[str]] = queue.Queue()
    with being_written(host, "half of it is written"):
        read = lambda: told.put([entry["message"] for entry in page(host, service, lines=1)["entries"]])
        reader = threading.Thread(target=read)
        reader.start()
        # What is told too soon is told by then.
        reader.join(0.5)
    assert told.get(timeout=PATIENCE) == ["half of it is written"]
    reader.join()


def test_what_journald_drops_is_told(host: Host, name: str, tmp_path):
    writer = Writer(host, name, tmp_path / "clone")
    limit = f"/run/systemd/units/log-rate-limit-burst:user@{host.uid()}.service"
    before = host.run("readlink", limit).strip()

    def set_limit(lines: str) -> None:
        # As systemd tells it to journald.
        host.run("ln", "-sfn", lines, "/run/t-limit")
        host.run("mv", "-T", "/run/t-limit", limit)

    def told() -> list[Line]:
        return [entry for entry in page(host, name, lines=10_000)["entries"] if re.match("Suppressed [0-9]+ messages from ", entry["message"])]

    follower = Follower(host, name, lines=1, grep="^Suppressed")
    set_limit("200")
    try:
        wait_for(lambda: writer.count(2000) or told(), 30, "journald drops lines")
        (followed,) = follower.take(1)
    finally:
        set_limit(before)
        follower.close()
    assert followed == told()[0] and followed["release"] is None and followed["build"] is None
    # Nothing is dropped any more, and nothing of before is under way.
    wait_for(lambda: writer.print(b"all of it\n") or "all of it" in writer.shown(), 30, "it prints again")
    writer.settle()
    agree = lambda: shown(page(host, name, lines=10_000)["entries"])[-20:] == plain(reference(host, name))[-20:]
    wait_for(agree, 10, "its newest lines are those of the journal")


class Follower:
    """Reads what follows beside the test."""

    def __init__(self, host: Host, name: str, headers: dict[str, str] | None = None, **query: Any) -> None:
        headers = {"Authorization": f"Bearer {host.token}", "Accept": "text/event-stream", **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", 7070, timeout=PATIENCE)
        path = f"/services/{name}/logs?{urlencode({'follow': 'true', **query})}"
        connection.request("GET", path, headers=headers)
        self.answer = connection.getresponse()
        assert self.answer.status == 200
        self.socket = connection.sock
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while line := self.answer.readline():
                # A comment says that the stream lives.
                if not line.startswith(b":"):
                    self.lines.put(line.decode().rstrip("\n"))

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)

    def event(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        while True:
            line = self.lines.get(timeout=15 * SLACK)
            if line:
                key, value = line.split(": ", 1)
                fields[key] = value
            elif fields:
                return fields

    def take(self, count: int) -> list[Line]:
        events = [self.event() for _ in range(count)]
        entries = [json.loads(event["data"]) for event in events]
        assert [event["id"] for event in events] == [entry["cursor"] for entry in entries]
        return entries


def test_following_goes_on_where_it_was_lost(host: Host, service: str):
    before = reference(host, service)
    follower = Follower(host, service, lines=5)
    assert follower.answer.headers["Content-Type"] == "text/event-stream"
    assert shown(follower.take(5)) == plain(before[-5:])
    say(host, service, "one\ntwo\n")
    assert [entry["message"] for entry in follower.take(2)] == ["one", "two"]
    say(host, service, "three " + "y" * 100_000 + "\n")
    (three,) = follower.take(1)
    assert three["message"] == "three " + "y" * 100_000
    follower.close()
    # Written while nobody listens; the browser says what it has.
    say(host, service, "four\n")
    again = Follower(host, service, {"Last-Event-ID": three["cursor"]})
    say(host, service, "five\n")
    assert [entry["message"] for entry in again.take(2)] == ["four", "five"]
    again.close()
    only = Follower(host, service, lines=1, grep="^six", priority=3)
    # The two outputs are read by turns, so one waits for the other.
    said(host, service, "six, and no error")
    say(host, service, "six\n", "/err")
    assert [entry["message"] for entry in only.take(1)] == ["six"]
    only.close()
    text = Follower(host, service, {"Accept": "text/plain"}, lines=1)
    line = text.lines.get(timeout=15 * SLACK)
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 throwaway {service}\[\d+\]: six", line), line
    text.close()


def test_a_followed_log_ends_with_the_token_that_it_was_asked_for_with(host: Host, service: str, name: str):
    token = host.run("podkeeper", "token", "create", "--name", name, "--scope", "read").strip()
    follower = Follower(host, service, {"Authorization": f"Bearer {token}"}, lines=1)
    follower.take(1)
    host.run("podkeeper", "token", "remove", name)
    closed = follower.event()
    assert closed["event"] == "closed" and json.loads(closed["data"])["problem"] == "not-signed-in"
    follower.close()


def test_a_followed_log_ends_with_its_service_and_shows_nothing_of_the_next(host: Host, name: str):
    host.create(name)
    # More than fits between the agent and a client that reads nothing.
    pretend(host, name, [("a", 6, f"of-the-first-{number}", 4096, False) for number in range(5000)])
    wait_for(lambda: [entry["message"][:17] for entry in page(host, name, lines=1)["entries"]] == ["of-the-first-4999"], 30, "it is all there")
    client = socket.socket()
    client.settimeout(PATIENCE)
    client.connect(("127.0.0.1", 7070))
    query = f"GET /services/{name}/logs?follow=true&lines=10000 HTTP/1.1"
    client.sendall(f"{query}\r\nHost: localhost\r\nAuthorization: Bearer {host.token}\r\nConnection: close\r\n\r\n".encode())
    said = client.recv(64)
    assert said.startswith(b"HTTP/1.1 200")
    host.delete(name)
    # Somebody else's, who takes the name at once.
    host.create(name)
    pretend(host, name, [("b", 6, "of-the-next", 0, False)])
    wait_for(lambda: [entry["message"] for entry in page(host, name)["entries"]] == ["of-the-next"], 10, "the next one's line is there")
    while more := client.recv(1 << 20):
        said += more
    client.close()
    assert b"event: closed" in said and b'"problem":"not-found"' in said
    assert b"of-the-first" in said and b"of-the-next" not in said


def test_a_line_is_whole_whatever_lies_between_its_pieces(host: Host, name: str):
    host.create(name)
    # The one writes much between the pieces of the other, and there are those that were killed in the middle of a line.
    short = [("a", 6, f"short-{number}", 0, False) for number in range(1500)]
    long = [("b", 3, f"piece-{number}", 8192, True) for number in range(3)]
    dead = [(f"dead{number}", 6, "killed", 8192, True) for number in range(70)]
    end = ("b", 3, "its-end", 0, False)
    pretend(host, name, [*dead, *short[:10], long[0], *short[10:1200], long[1], *dead[:40], long[2], *short[1200:], end, ("a", 6, "last", 0, False)])
    wait_for(lambda: page(host, name)["entries"][-1:] and page(host, name)["entries"][-1]["message"] == "last", 10, "it is all there")
    wanted = reference(host, name)
    (whole,) = [line for line in wanted if line["message"].endswith("its-end")]
    assert len(whole["message"]) == 3 * 8192 + len("its-end")
    # A piece that nothing follows is no line, and makes no page shorter.
    assert len(wanted) == 1500 + 2
    for direction in ("forward", "backward"):
        entries: list[Line] = []
        cursor, pages = None, 0
        while cursor or not pages:
            got = page(host, name, direction=direction, lines=100, **({"cursor": cursor} if cursor else {}))
            entries = entries + got["entries"] if direction == "forward" else got["entries"] + entries
            cursor, pages = got["cursor"], pages + 1
        assert shown(entries) == plain(wanted), direction
        assert pages <= 17
    # It goes on behind a line that lies between the pieces.
    at = [line["message"] for line in wanted].index("short-700")
    follower = Follower(host, name, {"Last-Event-ID": wanted[at]["cursor"]})
    assert shown(follower.take(len(wanted) - at - 1)) == plain(wanted[at + 1 :])
    follower.close()


def test_the_last_words_of_a_program_are_shown(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    base = "FROM docker.io/library/busybox:stable\nEXPOSE 8080\nSTOPSIGNAL SIGKILL\n"
    clone.commit({"Containerfile": base + 'CMD ["sh", "-c", "echo hello; printf \'out at last\'; printf \'fatal: no DB_URL\' >&2; exit 1"]\n'})
    clone.push()
    (deployment,) = host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"]
    failed = host.wait_deployment(deployment["id"], "failed")
    assert {"hello", "out at last", "fatal: no DB_URL"} <= set(failed["tail"].splitlines())
    wanted = plain(reference(host, name))
    entries = page(host, name, lines=10_000)["entries"]
    assert [entry["message"] for entry in entries if entry["priority"] == 3 and entry["release"]] .count("fatal: no DB_URL") >= 1
    assert shown(page(host, name, lines=10_000, direction="forward")["entries"]) == shown(entries) == wanted
    assert "fatal: no DB_URL" in host.run("podkeeper", "logs", name)


def test_last_words_come_to_who_follows(host: Host, service: str):
    follower = Follower(host, service, lines=1)
    (before,) = follower.take(1)
    say(host, service, "the end of it")
    say(host, service, "no end of line", "/err")
    host.user("systemctl", "--user", "restart", f"{service}@2.service")
    came = follower.take(3)
    follower.close()
    assert {entry["message"] for entry in came} == {"the end of it", "no end of line", "the program starts"}
    # Nor twice or less for who comes back between them.
    for have, rest in ((before, came), (came[0], came[1:]), (came[1], came[2:])):
        again = Follower(host, service, {"Last-Event-ID": have["cursor"]})
        assert shown(again.take(len(rest))) == shown(rest)
        again.close()
    wait_for(lambda: host.serve(service, timeout=PATIENCE).status_code == 501, 30, "it answers again")


@pytest.mark.parametrize(
    "query",
    [
        {"lines": -1},
        {"lines": 10_001},
        {"lines": "many"},
        {"cursor": "nonsense"},
        {"grep": "("},
        {"grep": "a{1000}{1000}{1000}"},
        {"priority": 8},
        {"since": "yesterday"},
        {"until": "1"},
        {"direction": "sideways"},
        {"release": 0},
        {"linse": 1},
        {"name": "another"},
        {"follow": "1", "until": "2999-01-01T00:00:00Z"},
    ],
    ids=str,
)
def test_what_cannot_be_asked(host: Host, service: str, query: dict[str, Any]):
    answer = host.call("GET", f"/services/{service}/logs", 400, params=query)
    assert answer.json()["type"] == "urn:podkeeper:problem:bad-request"


def test_a_release_that_never_was_has_no_log(host: Host, service: str):
    answer = host.call("GET", f"/services/{service}/logs", 404, params={"release": 99})
    assert answer.json()["type"] == "urn:podkeeper:problem:release-gone"


def test_a_service_has_only_its_own_lines(host: Host, service: str, name: str):
    host.create(name)
    assert page(host, name) == {"entries": [], "cursor": None}
    # Anybody may claim a name, but not to be its container.
    host.run("logger", "-t", name, "a lie of root's")
    host.user("logger", "-t", name, "a lie of the user's")
    host.start(name)
    host.run("journalctl", "--sync")
    entries = page(host, name)["entries"]
    assert entries and not any("lie" in entry["message"] for entry in entries)
    host.delete(name)
    host.create(name)
    # What another service of this name has printed is not its own.
    assert page(host, name)["entries"] == []
    host.call("GET", "/services/nothing-here/logs", 404)
