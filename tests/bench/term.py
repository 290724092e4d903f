"""100 MB of output through a terminal, and Ctrl-C in the middle of a flood, against WeTTY and Cockpit on the same host, with
few services on it and with many.

A client is a few lines on a socket, the same for all. It answers each server as that server's own page does, and looks
at no more of a frame than it must.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

from host import HOST, MACHINE, Host, enter_network, wait_for
from measure import Row, ensure_services, install, median, quantile, say
from status import UNITS

WETTY = pathlib.Path(__file__).resolve().parent / "wetty"
IMAGE = "docker.io/library/busybox:stable"
# One line of the flood; a terminal makes its end into two bytes.
LINE = "0123456789" * 7 + "abcdefg"
BYTES = 100_000_000
# How many run on the host, beside which all is measured; none is taken away in between.
SERVICES = sorted({3, 20, UNITS})
# In each, every terminal has its turn, and so many tries of Ctrl-C.
ROUNDS, TRIES = 5, 6
SIZE = {"cols": 120, "rows": 40}
PROMPT = b"re-ady> "
PACKAGES = {"node": "nodejs", "npm": "npm", "g++": "g++", "make": "make", "python3": "python3"}
PLAIN = ["busybox", "sh"]
CONTAINER = "bench-terminal"
# Without a log, as our own have none: with one it is ten times slower.
PODMAN = ["podman", "run", "-it", "--rm", "--log-driver=none", "--name", CONTAINER, IMAGE, "sh"]
# Where the references listen.
WETTY_PLAIN, WETTY_PODMAN, COCKPIT = 17680, 17681, 17690


class Socket:
    """A WebSocket, as little of it as will do."""

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.buffer = bytearray(1 << 20)
        self.view = memoryview(self.buffer)
        self.begin = self.end = 0
        asked = {
            "Host": f"127.0.0.1:{port}",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **headers,
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in asked.items())]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        while (head := self.buffer.find(b"\r\n\r\n", 0, self.end)) < 0:
            self.fill()
        assert self.buffer.startswith(b"HTTP/1.1 101"), bytes(self.buffer[:head])
        self.begin = head + 4

    def fill(self) -> None:
        if self.begin == self.end:
            self.begin = self.end = 0
        if self.end == len(self.buffer):
            assert self.begin > 0, "a frame larger than the buffer"
            rest = bytes(self.view[self.begin : self.end])
            self.buffer[: len(rest)] = rest
            self.begin, self.end = 0, len(rest)
        read = self.socket.recv_into(self.view[self.end :])
        assert read, "the server closed the connection"
        self.end += read

    def need(self, length: int) -> int:
        while self.end - self.begin < length:
            self.fill()
        begin = self.begin
        self.begin += length
        return begin

    def receive(self) -> tuple[bool, memoryview]:
        """The next frame: whether it is binary, and what it holds until the next call."""
        while True:
            at = self.need(2)
            kind, length = self.buffer[at] & 0x0F, self.buffer[at + 1]
            assert self.buffer[at] & 0x80, "a message in several frames"
            if length == 126:
                (length,) = struct.unpack_from(">H", self.buffer, self.need(2))
            elif length == 127:
                (length,) = struct.unpack_from(">Q", self.buffer, self.need(8))
            # Moves what is there to the front where it has no room.
            at = self.need(length)
            data = self.view[at : at + length]
            if kind in (1, 2):
                return kind == 2, data
            assert kind == 9, (kind, bytes(data))
            self.frame(10, bytes(data))

    def send(self, text: str | bytes) -> None:
        self.frame(1 if isinstance(text, str) else 2, text.encode() if isinstance(text, str) else text)

    def frame(self, kind: int, data: bytes) -> None:
        assert len(data) <= 0xFFFF
        length = bytes([0x80 | len(data)]) if len(data) < 126 else struct.pack(">BH", 0xFE, len(data))
        # A mask of zeros leaves the data as it is.
        self.socket.sendall(bytes([0x80 | kind]) + length + bytes(4) + data)

    def close(self) -> None:
        self.socket.close()


class Terminal:
    """A shell on a server, through its socket."""

    socket: Socket

    def type(self, text: str) -> None:
        raise NotImplementedError

    def read(self) -> bytes | memoryview:
        """More of the output, which is acknowledged."""
        raise NotImplementedError

    def close(self) -> None:
        self.socket.close()


class Podkeeper(Terminal):
    """Our own: an event and its binary part for each piece; what is shown is acknowledged by its total."""

    EVERY = 64 * 1024

    def __init__(self, host: Host) -> None:
        headers = {"Authorization": f"Bearer {host.token}"}
        self.socket = Socket(7070, "/socket.io/?EIO=4&transport=websocket", headers)
        self.total = self.told = 0
        self.text(b"0")
        self.socket.send("40/term,")
        self.text(b"40/term")
        self.socket.send("42/term,1" + json.dumps(["open", SIZE]))
        self.session = json.loads(self.text(b"43/term,1")[9:])[0]["session"]

    def text(self, begin: bytes) -> bytes:
        while True:
            data = bytes(self.socket.receive()[1])
            if data.startswith(begin):
                return data
            if data == b"2":
                self.socket.send("3")

    def event(self, name: str, **data: object) -> None:
        self.socket.send("42/term," + json.dumps([name, {"session": self.session, **data}]))

    def type(self, text: str) -> None:
        self.event("input", text=text)

    def read(self) -> bytes | memoryview:
        while True:
            binary, data = self.socket.receive()
            if binary:
                self.total += len(data)
                if self.total - self.told >= self.EVERY:
                    self.told = self.total
                    self.event("ack", bytes=self.total)
                return data
            if data[0] == 0x32:
                self.socket.send("3")

    def close(self) -> None:
        self.event("close")
        super().close()


class Wetty(Terminal):
    """WeTTY: text in JSON; its page tells of each quarter of a megabyte that it has shown."""

    EVERY = 256 * 1024

    def __init__(self, port: int) -> None:
        self.socket = Socket(port, "/socket.io/?EIO=4&transport=websocket", {})
        self.shown = 0
        self.socket.send("40")
        # What is sent before its program runs is lost.
        while self.socket.receive()[1] != b'42["login"]':
            pass
        self.event("resize", SIZE)

    def event(self, name: str, data: object) -> None:
        self.socket.send("42" + json.dumps([name, data]))

    def type(self, text: str) -> None:
        self.event("input", text)

    def read(self) -> bytes | memoryview:
        while True:
            _, data = self.socket.receive()
            if data[:9] == b'42["data"':
                text = json.loads(bytes(data[2:]))[1]
                self.shown += len(text)
                while self.shown >= self.EVERY:
                    self.event("commit", self.EVERY)
                    self.shown -= self.EVERY
                return text.encode()
            if data == b"2":
                self.socket.send("3")


class Cockpit(Terminal):
    """Cockpit: a channel of its protocol; each ping in it is answered by its page once it is shown."""

    def __init__(self, user: list[str], command: list[str]) -> None:
        # It ends its session, for good, once nobody has been there for a moment.
        options = [f"--port={COCKPIT}", "--address=127.0.0.1", "--local-session=cockpit-bridge"]
        self.server = start([*user, "/usr/lib/cockpit/cockpit-ws", *options], COCKPIT)
        headers = {"Sec-WebSocket-Protocol": "cockpit1", "Origin": f"http://127.0.0.1:{COCKPIT}"}
        self.socket = Socket(COCKPIT, "/cockpit/socket", headers)
        self.control(command="init", version=1)
        self.control(
            command="open",
            channel="1:1!1",
            payload="stream",
            spawn=command,
            environ=["TERM=xterm-256color"],
            pty=True,
            binary="raw",
            window=SIZE,
            **{"flow-control": True},
        )

    def control(self, **message: object) -> None:
        self.socket.send("\n" + json.dumps(message))

    def type(self, text: str) -> None:
        self.socket.send(b"1:1!1\n" + text.encode())

    def read(self) -> bytes | memoryview:
        while True:
            _, data = self.socket.receive()
            if data[0] != 0x0A:
                return data[6:]
            message = json.loads(bytes(data))
            if message["command"] == "ping":
                self.control(**{**message, "command": "pong"})
            assert message["command"] != "close", message

    def close(self) -> None:
        super().close()
        end(self.server)



def wait(terminal: Terminal, wanted: bytes, seconds: float = 120) -> int:
    """Reads until the output ends with `wanted`; how much it was."""
    terminal.socket.socket.settimeout(seconds)
    tail, total = b"", 0
    while True:
        data = terminal.read()
        total += len(data)
        tail = (tail + bytes(data[-64:]))[-64:]
        # Shells ask for the cursor's place behind their prompt.
        if wanted in tail:
            return total


def ready(terminal: Terminal) -> None:
    """A shell with a prompt that nothing else holds, and a file to show."""
    terminal.type("PS1='re''-ady> '; cd /tmp; yes %s | head -c %d >flood; sync; echo be''gin\n" % (LINE, BYTES))
    wait(terminal, b"begin\r\n" + PROMPT)


def flood(terminal: Terminal) -> tuple[float, float]:
    """Shows the file: how long until its end is here, and how much of that the client itself took."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    terminal.type("cat flood; echo en''ded\n")
    total = wait(terminal, b"ended\r\n" + PROMPT)
    taken = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert total >= BYTES + BYTES // (len(LINE) + 1), total
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def interrupt(terminal: Terminal) -> float:
    """Ctrl-C in the middle of a flood: how long until the prompt is back, in ms."""
    terminal.type("yes %s\n" % LINE)
    seen = 0
    while seen < 4_000_000:
        seen += len(terminal.read())
    began = time.monotonic()
    terminal.type("\x03")
    wait(terminal, PROMPT)
    taken = time.monotonic() - began
    return taken * 1000


def prepare() -> pathlib.Path:
    """Installs WeTTY and what it takes, while this process still has this machine's network; its folder."""
    install(PACKAGES)
    digest = hashlib.sha256((WETTY / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = pathlib.Path(os.environ.get("PODKEEPER_CACHE", "/var/cache/podkeeper-test")) / f"npm-{digest}"
    if not (folder / ".complete").exists():
        say("installing WeTTY")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(WETTY, folder)
        # The headers that its pseudo-terminals are compiled with are node's own.
        prefix = pathlib.Path(shutil.which("node")).resolve().parents[1]
        if not (prefix / "include/node/node_api.h").exists():
            install({"a header of node": "libnode-dev"})
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        for command in (["ci", "--ignore-scripts"], ["rebuild", "node-pty", f"--nodedir={prefix}"]):
            subprocess.run(["npm", *command, *quiet], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (folder / ".complete").touch()
    return folder


def install_cockpit(host: Host) -> None:
    """Puts Cockpit into the host, by way of this machine's network."""
    if host.code("test", "-x", "/usr/lib/cockpit/cockpit-ws") == 0:
        return
    say("installing Cockpit")
    host.put(pathlib.Path("/etc/resolv.conf"), "/etc/resolv.conf")
    try:
        entry = [word for word in host.verb("argv").stdout.split() if word != "-n"]
        apt = "apt-get update -qq && apt-get install -y -qq --no-install-recommends cockpit-ws cockpit-bridge"
        environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
        outside = lambda: enter_network(MACHINE)  # noqa: E731
        subprocess.run([*entry, *environment, "sh", "-c", apt], check=True, capture_output=True, preexec_fn=outside)
    finally:
        host.write("/etc/resolv.conf", "")


def start(argv: list[str], port: int) -> subprocess.Popen[bytes]:
    """Starts a server in the background, and waits until it listens."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens, 30, f"{argv} listens")
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(20)


@contextlib.contextmanager
def wetty(user: list[str]) -> Iterator[None]:
    """WeTTY with either shell."""
    main = prepare() / "node_modules/wetty/build/main.js"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        for port, shell in ((WETTY_PLAIN, PLAIN), (WETTY_PODMAN, PODMAN)):
            # It takes a program without arguments.
            program = pathlib.Path(folder) / f"shell-{port}"
            program.write_text(f"#!/bin/sh\nexec {' '.join([*user, *shell])}\n")
            program.chmod(0o755)
            options = ["--host=127.0.0.1", f"--port={port}", f"--command={program}", "--log-level=error"]
            stack.callback(end, start(["node", str(main), *options], port))
        yield


@dataclasses.dataclass
class Taken:
    """What was measured of one way to a terminal."""

    floods: list[float] = dataclasses.field(default_factory=list)
    client: list[float] = dataclasses.field(default_factory=list)
    interrupts: list[float] = dataclasses.field(default_factory=list)


def peak(host: Host, pid: int, forget: bool = False) -> float:
    """The most memory that the agent had since it was forgotten, in MiB."""
    if forget:
        host.run("sh", "-c", f"echo 5 >/proc/{pid}/clear_refs")
    return int(host.run("cat", f"/proc/{pid}/status").split("VmHWM:")[1].split()[0]) / 1024


def measure(host: Host) -> list[Row]:
    install_cockpit(host)
    rows = []
    for count in SERVICES:
        ensure_services(host, count)
        rows += beside(host, count)
    return rows


def beside(host: Host, count: int) -> list[Row]:
    """All of it, with so many services on the host."""
    # The service user's, as the containers of our own are.
    user = [str(HOST), "as", host.name, "podkeeper", "--"]
    ways: dict[str, Callable[[], Terminal]] = {
        "ours": lambda: Podkeeper(host),
        "WeTTY": lambda: Wetty(WETTY_PLAIN),
        "WeTTY, podman run": lambda: Wetty(WETTY_PODMAN),
        "Cockpit": lambda: Cockpit(user, PLAIN),
        "Cockpit, podman run": lambda: Cockpit(user, PODMAN),
    }
    taken = {what: Taken() for what in ways}
    growth = []
    agent = host.agent_pid()
    with host.configured(f'[shell]\nimage = "{IMAGE}"\n'), wetty(user):
        host.user("podman", "pull", "-q", IMAGE)
        for number in range(ROUNDS):
            for what, open_one in ways.items():
                before = peak(host, agent, forget=True)
                one = taken[what]
                with contextlib.closing(open_one()) as terminal:
                    ready(terminal)
                    seconds, client = flood(terminal)
                    one.floods.append(seconds)
                    one.client.append(client / seconds)
                    one.interrupts += [interrupt(terminal) for _ in range(TRIES)]
                if what == "ours":
                    growth.append(peak(host, agent) - before)
                else:
                    host.user("podman", "rm", "-f", "-i", "-t", "0", CONTAINER)
            floods = ", ".join(f"{what} {one.floods[-1]:.2f} s" for what, one in taken.items())
            say(f"{count} services, round {number + 1}: {floods}")
    ours = taken.pop("ours")
    rows = []
    for what, theirs in taken.items():
        # The round in the middle, by the ratio in each.
        pairs = sorted(zip(ours.floods, theirs.floods, strict=True), key=lambda pair: pair[0] / pair[1])
        mine, reference = pairs[len(pairs) // 2]
        rows.append(Row(f"100 MB through a terminal, {count} services", mine, "s", reference, what, ratio_at_most=1.0))
    for part in (0.5, 0.99):
        for what, theirs in taken.items():
            mine, reference = quantile(ours.interrupts, part), quantile(theirs.interrupts, part)
            at_most = 200 if part > 0.5 else None
            name = f"Ctrl-C in a flood to prompt, {count} services: p{part * 100:.0f}"
            rows.append(Row(name, mine, "ms", reference, what, at_most=at_most))
    busiest = max([ours, *taken.values()], key=lambda one: median(one.client))
    return [
        *rows,
        Row(f"the agent's memory grew during it, {count} services, at most", max(growth), "MiB", at_most=8),
        Row(f"the client's share of a core, {count} services, at most", median(busiest.client) * 100, "%", at_most=50),
    ]
