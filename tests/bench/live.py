"""Log lines over Socket.IO: how soon one is at the client, how many in a row, and what clients cost that don't read."""

from __future__ import annotations

import json
import pathlib
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable

import websocket
from host import HOST, Host, wait_for
from measure import Row, median, quantile, say
from sockets import Client, Writer

LINES, RATE, SECONDS = 300, 10_000, 60
STALLED = 1000


class Output:
    """The standard output of a service's first process, to write into as that process does."""

    def __init__(self, host: Host, name: str) -> None:
        inner = host.user("podman", "inspect", "--format", "{{.State.Pid}}", f"{name}-1").strip()
        boot = host.run("readlink", f"/proc/{inner}/ns/mnt").strip()
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if str((folder / "ns/mnt").readlink()) == boot and "httpd" in (folder / "comm").read_text():
                    self.file = open(folder / "fd/1", "wb", buffering=0)
                    return
            except OSError:
                continue
        raise AssertionError("the service's process is not to be found")

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.file.write(view) :]


def delays(times: list[tuple[str, int]], mark: str) -> list[float]:
    """How long each marked line took, in ms: it holds the moment at which it was written."""
    marked = [(text.split(), at) for text, at in times if text.startswith(mark)]
    return [(at - int(words[1])) / 1e6 for words, at in marked]


def latency(host: Host, output: Output, name: str) -> list[Row]:
    # A `journalctl -f` that finds no line of its match at first shows none later.
    output.write(b"begin\n")
    time.sleep(1)
    seen: list[tuple[str, int]] = []
    followed: list[tuple[str, int]] = []
    with Client(host.token, "/log") as client:
        client.on_line = lambda line: seen.append((line["message"], time.time_ns()))
        client.open(service=name, lines=0)
        reference = subprocess.Popen(
            [HOST, "enter", host.name, "--", "journalctl", "-f", "-n", "0", "-o", "cat", "-t", name],
            stdout=subprocess.PIPE,
            text=True,
        )

        def follow() -> None:
            for line in reference.stdout:
                followed.append((line, time.time_ns()))

        threading.Thread(target=follow, daemon=True).start()
        time.sleep(2)
        for _ in range(LINES):
            output.write(f"late {time.time_ns()}\n".encode())
            time.sleep(0.05)
        wait_for(lambda: len(delays(seen, "late")) >= LINES, 30, "all lines are there")
        wait_for(lambda: len(delays(followed, "late")) >= LINES, 30, "journalctl has all lines")
        reference.terminate()
    ours, theirs = delays(seen, "late"), delays(followed, "late")
    return [
        Row("line written to client: p50", median(ours), "ms", median(theirs), "journalctl -f"),
        Row("line written to client: p99", quantile(ours, 0.99), "ms", quantile(theirs, 0.99), "journalctl -f", at_most=100),
    ]


def sustained(host: Host, output: Output, name: str) -> list[Row]:
    count = [0, 0]
    with Client(host.token, "/log") as client:

        def take(line: dict) -> None:
            if line["message"].startswith("fast "):
                # In their order, each once.
                count[0] += int(line["message"].split()[1]) == count[0] + 1
                count[1] += 1

        client.on_line = take
        client.keeping = False
        client.open(service=name, lines=0)
        began = time.monotonic()
        chunk = RATE // 10
        for number in range(SECONDS * 10):
            first = number * chunk + 1
            output.write("".join(f"fast {line} {'x' * 60}\n" for line in range(first, first + chunk)).encode())
            time.sleep(max(0.0, began + (number + 1) / 10 - time.monotonic()))
        written = time.monotonic() - began
        wait_for(lambda: count[0] >= RATE * SECONDS or count[1] > RATE * SECONDS, 120, "all lines are there")
        behind = time.monotonic() - began - written
    total = RATE * SECONDS
    return [
        Row(f"lines lost or repeated of {total:,}", max(total - count[0], abs(count[1] - total)), "lines", at_most=0),
        Row("lines written a second", total / written, "lines"),
        Row("client behind the last of them", behind, "s"),
    ]


def pss(host: Host) -> float:
    """The agent's memory in MiB, a page of a journal file counted once however many readers have it."""
    text = host.run("cat", f"/proc/{host.agent_pid()}/smaps_rollup")
    return int(text.split("Pss:")[1].split()[0]) / 1024


def stalled(host: Host, name: str) -> list[Row]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    host.run("systemctl", "restart", "podkeeper.service")
    host.wait_ready()
    before, began = host.agent_rss(), pss(host)
    peak = began
    sockets: list[websocket.WebSocket] = []
    stop = threading.Event()

    def alive() -> None:
        # They answer the server's questions without ever reading them.
        while not stop.wait(4):
            for socket in list(sockets):
                try:
                    socket.send("3")
                except OSError:
                    pass

    keeping = threading.Thread(target=alive)
    keeping.start()
    try:
        for number in range(STALLED):
            socket = websocket.create_connection(
                "ws://127.0.0.1:7070/socket.io/?EIO=4&transport=websocket",
                header={"Authorization": f"Bearer {host.token}"},
                timeout=30,
            )
            socket.send("40/log,")
            while not (said := socket.recv()).startswith("40/log"):
                if said == "2":
                    socket.send("3")
            # The newest lines that are there fill a window.
            socket.send("42/log," + json.dumps(["open", {"service": name, "lines": 200}]))
            sockets.append(socket)
            if number % 50 == 0:
                peak = max(peak, pss(host))
        # Then none of them is being read for.
        time.sleep(15)
        memory = (host.agent_rss() - before) / 1024
        without = sum(not has_lines(socket) for socket in sockets)
    finally:
        stop.set()
        keeping.join()
        for socket in sockets:
            socket.close(timeout=0)
    return [
        Row(f"memory of {STALLED} stalled clients", memory, "MiB", at_most=100),
        Row("the most while they came, with the journal's pages", peak - began, "MiB"),
        Row("of them without lines", without, "clients", at_most=0),
    ]


def has_lines(socket: websocket.WebSocket) -> bool:
    """Whether lines had come to it."""
    try:
        while said := socket.recv():
            if said.startswith('42/log,["data"'):
                return True
    except (OSError, websocket.WebSocketException):
        pass
    return False


def measure(host: Host) -> list[Row]:
    name = "bench-live"
    with tempfile.TemporaryDirectory() as folder:
        Writer(host, name, pathlib.Path(folder) / "clone")
    output = Output(host, name)
    rows: list[Row] = []
    steps: list[tuple[str, Callable[[], list[Row]]]] = [
        ("latency", lambda: latency(host, output, name)),
        ("sustained", lambda: sustained(host, output, name)),
        ("stalled", lambda: stalled(host, name)),
    ]
    for what, step in steps:
        say(f"measuring live: {what}")
        rows += step()
    host.delete(name)
    return rows
