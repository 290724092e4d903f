"""How long a forge waits for its answer, and how long until its push is being built."""

import hashlib
import hmac
import json
import pathlib
import selectors
import socket
import time

from host import Host
from measure import Row, median, quantile, wait_idle

AT_ONCE = 50
BURSTS = 10
BUILDS = 20
NAME = "bench-hooks"
PUSH = pathlib.Path(__file__).resolve().parents[1] / "data/hooks/github-push.http"


def delivery(key: str, identity: str) -> bytes:
    """A push as GitHub delivers it."""
    body = PUSH.read_bytes().split(b"\n\n", 1)[1]
    digest = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    head = (
        f"POST /hooks/{NAME} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\n"
        f"X-GitHub-Delivery: {identity}\r\nX-Hub-Signature-256: sha256={digest}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def at_once(requests: list[bytes], status: str) -> list[float]:
    """Each answer's time in ms, where all requests are sent at once, each on a connection of its own."""
    selector = selectors.DefaultSelector()
    connections = [socket.create_connection(("127.0.0.1", 7070)) for _ in requests]
    began, taken = {}, []
    for connection, request in zip(connections, requests, strict=True):
        began[connection] = time.perf_counter()
        connection.sendall(request)
        selector.register(connection, selectors.EVENT_READ)
    while len(taken) < len(requests):
        for ready, _ in selector.select(60):
            now = time.perf_counter()
            first = ready.fileobj.recv(65536).split(b"\r\n", 1)[0].decode()
            assert first.split()[1] == status, first
            taken.append((now - began[ready.fileobj]) * 1000)
            selector.unregister(ready.fileobj)
    for connection in connections:
        connection.close()
    return taken


def until_build(host: Host, key: str, identity: str) -> float:
    """From the first byte of the hook to the start of the build's unit, as the journal has it, in ms."""
    wait_idle(host, NAME)
    with socket.create_connection(("127.0.0.1", 7070)) as connection:
        began = time.time()
        connection.sendall(delivery(key, identity))
        answer = connection.recv(65536)
    deployment = json.loads(answer.split(b"\r\n\r\n", 1)[1])["id"]
    host.wait_deployment(deployment)
    lines = host.run("journalctl", "-o", "json", "-n", "50", f"USER_UNIT=build-{deployment}.service").splitlines()
    started = next(line for line in map(json.loads, lines) if line["MESSAGE"].startswith("Start"))
    return int(started["__REALTIME_TIMESTAMP"]) / 1000 - began * 1000


def measure(host: Host) -> list[Row]:
    key = host.create(NAME)["hook_key"]
    host.start(NAME)
    ours, theirs = [], []
    for burst in range(BURSTS):
        ours += at_once([delivery(key, f"{burst}-{number}") for number in range(AT_ONCE)], "202")
        theirs += at_once([b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"] * AT_ONCE, "200")
        time.sleep(1)
    stored = host.call("GET", f"/services/{NAME}/hook", 200).json()["deliveries"]
    assert {one["outcome"] for one in stored} == {"deployed"} and len(stored) == 50
    builds = [until_build(host, key, f"build-{number}") for number in range(BUILDS)]
    host.delete(NAME)
    reference = f"{AT_ONCE} GET /healthz at once"
    return [
        Row(f"{AT_ONCE} hooks at once, each answered with its row stored: p50", median(ours), "ms", median(theirs), reference),
        Row("the same: p99", quantile(ours, 0.99), "ms", quantile(theirs, 0.99), reference, at_most=200),
        Row("hook → its build's unit started: p50", median(builds), "ms"),
        Row("the same: p99", quantile(builds, 0.99), "ms", at_most=200),
    ]
