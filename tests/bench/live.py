"""Log lines over Socket.IO: how soon one is at the client, how many in a row, and what clients cost that don't read."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable

import websocket
from host import HOST, Host, wait_for
from journal import matches
from measure import Row, median, quantile, seconds, say
from sockets import Client, Writer

LINES, RATE, SECONDS = 300, 10_000, 60
SEARCHED, SEARCHES = 32_000, 15
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


class Reader:
    """A client that does nothing but count, or it would be what is measured: python-socketio has a thread a message."""

    def __init__(self, host: Host, name: str) -> None:
        self.socket = connect(host)
        self.socket.send("42/log," + json.dumps(["open", {"service": name, "lines": 0}]))
        self.lines = self.wrong = 0
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        line, seq = re.compile(r'"message":"fast (\d+) '), re.compile(r'"seq":(\d+)')
        # Until it is closed.
        with contextlib.suppress(OSError, websocket.WebSocketException):
            while said := self.socket.recv():
                if said == "2":
                    self.socket.send("3")
                elif said.startswith('42/log,["data"'):
                    # In their order, each once.
                    for number in map(int, line.findall(said)):
                        self.wrong += number != self.lines + 1
                        self.lines = number
                    self.socket.send(f'42/log,["ack",{{"channel":1,"seq":{seq.search(said)[1]}}}]')


def write(output: Output, seconds: int, rate: int | None) -> float:
    """Writes `seconds` times RATE lines, so many a second or as many as go; how many a second went."""
    began, chunk = time.monotonic(), RATE // 10
    for number in range(seconds * 10):
        first = number * chunk + 1
        output.write("".join(f"fast {line} {'x' * 60}\n" for line in range(first, first + chunk)).encode())
        if rate:
            time.sleep(max(0.0, began + (number + 1) * chunk / rate - time.monotonic()))
    return seconds * RATE / (time.monotonic() - began)


def sustained(host: Host, output: Output, name: str) -> list[Row]:
    host.kill_agent()
    alone, most_alone = write(output, 6, RATE), write(output, 12, None)
    host.start_agent()
    total = RATE * SECONDS
    # What was written before is read by journald's end before this begins.
    time.sleep(3)
    reader = Reader(host, name)
    time.sleep(2)
    written, end = write(output, SECONDS, RATE), time.monotonic()
    wait_for(lambda: reader.lines >= total, 120, "all lines are there")
    behind = time.monotonic() - end
    wrong = reader.wrong
    reader.socket.close(timeout=0)
    return [
        Row(f"lines lost or repeated of {total:,}", wrong, "lines", at_most=0),
        Row("lines written a second, one client follows", written, "lines", alone, "the agent stopped"),
        Row("client behind the last of them", behind, "s", at_most=2),
        Row("the most that the host writes a second", most_alone, "lines"),
    ]


def connect(host: Host) -> websocket.WebSocket:
    """A bare connection to `/log`. One address may make 50 a second."""
    time.sleep(0.02)
    socket = websocket.create_connection(
        "ws://127.0.0.1:7070/socket.io/?EIO=4&transport=websocket",
        header={"Authorization": f"Bearer {host.token}"},
        timeout=30,
    )
    socket.send("40/log,")
    until(socket, "40/log")
    return socket


def receive(socket: websocket.WebSocket) -> str:
    """What it is told next. It is asked whether it is there at any time, and first as soon as it is."""
    while (said := socket.recv()) == "2":
        socket.send("3")
    return said


def until(socket: websocket.WebSocket, wanted: str) -> None:
    while not receive(socket).startswith(wanted):
        pass


def readers(host: Host) -> int:
    """How many readers of the journal the agent has."""
    return host.run("sh", "-c", f"cat /proc/{host.agent_pid()}/task/*/comm", check=False).split("\n").count("journal")


def pss(host: Host) -> float:
    """The agent's memory in MiB, a page of a journal file counted once however many readers have it."""
    text = host.run("cat", f"/proc/{host.agent_pid()}/smaps_rollup")
    return int(text.split("Pss:")[1].split()[0]) / 1024


# Runs a command so often, and prints how many nanoseconds each run took.
TIMES = """
for run in $(seq "$1"); do
  began=$(date +%s%N); "${@:2}" >/dev/null; echo $(($(date +%s%N) - began))
done
"""


def search(host: Host, output: Output, name: str) -> list[Row]:
    """A pattern that finds one line, the oldest of many."""
    mark = f"searched {time.time_ns()}"
    output.write("".join(f"{mark} {line} {'x' * 60}\n" for line in range(1, SEARCHED + 1)).encode())
    newest = lambda: host.call("GET", f"/services/{name}/logs", 200, params={"lines": 1}).json()["entries"][0]["message"]
    wait_for(lambda: newest().startswith(f"{mark} {SEARCHED} "), 60, "all lines are there")
    pattern = f"^{mark} 1 x"
    reference = ["journalctl", "-q", "-o", "cat", "--case-sensitive=true", "-g", pattern, *matches(host, name)]
    # conmon writes the line's end too.
    assert host.run(*reference).strip().startswith(f"{mark} 1 x")
    runs = host.run("bash", "-c", TIMES, "times", str(SEARCHES), *reference)
    theirs = median([int(run) / 1e6 for run in runs.split()])

    def page() -> None:
        query = {"grep": pattern, "lines": 100}
        assert len(host.call("GET", f"/services/{name}/logs", 200, params=query).json()["entries"]) == 1

    rest = median([seconds(page) * 1e3 for _ in range(SEARCHES)])
    took: list[dict[str, float]] = []
    socket = connect(host)
    socket.send("42/log,0" + json.dumps(["open", {"service": name, "lines": 0}]))
    until(socket, "43/log,0")
    for number in range(SEARCHES):
        began, times = time.monotonic(), {}
        socket.send("42/log,1" + json.dumps(["open", {"service": name, "grep": pattern}]))
        # While it is searched, a line comes to who follows.
        output.write(f"live {number}\n".encode())
        while len(times) < 3:
            said, at = receive(socket), (time.monotonic() - began) * 1e3
            if said.startswith("43/log,1"):
                times["answered"] = at
            elif said.startswith('42/log,["data"'):
                data = json.loads(said.removeprefix("42/log,"))[1]
                times["live" if data["channel"] == 1 else "found"] = at
                socket.send("42/log," + json.dumps(["ack", {"channel": data["channel"], "seq": data["seq"]}]))
        socket.send("42/log," + json.dumps(["close", {"channel": number + 2}]))
        took.append(times)
    socket.close(timeout=0)
    answered, live, found = ([times[what] for times in took] for what in ("answered", "live", "found"))
    return [
        Row(f"one line found among {SEARCHED:,}: REST", rest, "ms", theirs, "journalctl -g", ratio_at_most=1.5),
        Row(f"one line found among {SEARCHED:,}: /log", median(found), "ms", theirs, "journalctl -g", ratio_at_most=1.5),
        Row("a search answered: p99", quantile(answered, 0.99), "ms", at_most=100),
        Row("a live line beside searches: p99", quantile(live, 0.99), "ms", at_most=200),
    ]


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
            socket = connect(host)
            socket.send("42/log," + json.dumps(["open", {"service": name, "lines": 200}]))
            sockets.append(socket)
            if number % 50 == 0:
                peak = max(peak, pss(host))
        # Then none of them is being read for.
        wait_for(lambda: not readers(host), 60, "nobody reads the journal")
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
    # It goes on being asked whether it lives.
    end = time.monotonic() + 5
    socket.settimeout(5)
    try:
        while time.monotonic() < end:
            if socket.recv().startswith('42/log,["data"'):
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
        # Before there are many more lines than it looks through.
        ("search", lambda: search(host, output, name)),
        ("latency", lambda: latency(host, output, name)),
        ("sustained", lambda: sustained(host, output, name)),
        ("stalled", lambda: stalled(host, name)),
    ]
    for what, step in steps:
        say(f"measuring live: {what}")
        rows += step()
    host.delete(name)
    return rows
