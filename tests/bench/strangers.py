"""What the agent takes while strangers do their worst: many addresses, and no credential that is good."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import struct
import time
from collections.abc import Callable

from host import Host
from measure import Row, say

# Each attack is so many connections, from so many of the loopback's addresses in turn; it is held for a moment.
CONNECTIONS = 900
ADDRESSES = 30
HELD = 3
KIB = 1024
MIB = 1024 * KIB
WEB = ("127.0.0.1", 7070)
HANDSHAKE = "/socket.io/?EIO=4&transport="
HEAD = "Host: localhost\r\n"
UPGRADE = (
    f"GET {HANDSHAKE}websocket HTTP/1.1\r\n{HEAD}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()


def filler(length: int) -> str:
    """Headers of so many bytes in all, a few KiB each."""
    return "".join(f"X-{number}: {'x' * 4000}\r\n" for number in range(length // 4000))


class Attack:
    """Connections of strangers, all of which are closed at its end."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> Attack:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.sockets:
            one.close()

    def send(self, number: int, data: bytes, hold: bool = True) -> socket.socket | None:
        """Sends it on a connection of its own, as much of it as is taken."""
        one = socket.socket()
        one.settimeout(0.2)
        try:
            one.bind((f"127.0.1.{1 + number % ADDRESSES}", 0))
            one.connect(WEB)
            one.sendall(data)
        except OSError:
            pass
        if hold:
            self.sockets.append(one)
            return one
        one.close()
        return None

    def all(self, data: bytes, hold: bool = True, count: int = CONNECTIONS) -> None:
        for number in range(count):
            self.send(number, data, hold)


def handshakes(attack: Attack) -> None:
    for length in (360 * KIB, 28 * KIB, 0):
        head = f"GET {HANDSHAKE}polling HTTP/1.1\r\n{HEAD}{filler(length)}\r\n"
        attack.all(head.encode(), hold=False)


def heads_without_end(attack: Attack) -> None:
    attack.all(f"GET / HTTP/1.1\r\n{HEAD}{filler(30 * KIB)}".encode())


def bodies_without_end(attack: Attack) -> None:
    paths = ["/sessions", "/credentials/fido/login", "/credentials/fido/login/options", "/credentials/logout", "/hooks/blog"]
    head = f"{HEAD}Content-Type: application/json\r\n{filler(28 * KIB)}Content-Length: 16384\r\n\r\n"
    for number in range(CONNECTIONS):
        attack.send(number, f"POST {paths[number % len(paths)]} HTTP/1.1\r\n{head}{'x' * 16000}".encode())


def deliveries(attack: Attack) -> None:
    signed = f"POST /hooks/blog HTTP/1.1\r\n{HEAD}X-GitHub-Event: push\r\nX-Hub-Signature-256: sha256=00\r\n"
    attack.all(f"{signed}Content-Length: 65536\r\n\r\n{'x' * 32000}".encode(), count=300)
    # Whole ones, whose signatures are wrong.
    large = f"{signed}Content-Length: {20 * MIB}\r\n\r\n".encode() + bytes(20 * MIB)
    for number in range(10):
        one = socket.socket()
        one.settimeout(10)
        attack.sockets.append(one)
        with contextlib.suppress(OSError):
            one.bind((f"127.0.2.{1 + number}", 0))
            one.connect(WEB)
            one.sendall(large)
            one.recv(4096)


def answers_that_nobody_reads(attack: Attack) -> None:
    for path in ("/openapi.json", "/"):
        attack.all(f"GET {path} HTTP/1.1\r\n{HEAD}\r\n".encode() * 20)


def sessions_that_join_nothing(attack: Attack) -> None:
    attack.all(f"GET {HANDSHAKE}polling HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n".encode())
    attack.all(UPGRADE)


def frames_before_the_join(attack: Attack) -> None:
    # The first byte of each is an event's, masked by nothing.
    frame = struct.pack("!BBQ4x", 0x81, 0x80 | 127, MIB) + b"42/log," + b"x" * (MIB - 7)
    for number in range(300):
        one = attack.send(number, UPGRADE)
        with contextlib.suppress(OSError):
            if one and one.recv(4096):
                one.sendall(frame)


def polls_before_the_join(attack: Attack) -> None:
    for number in range(300):
        one = attack.send(number, f"GET {HANDSHAKE}polling HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            found = re.search(rb'"sid":"([^"]+)"', one.recv(4096) if one else b"")
            if found:
                target = f"{HANDSHAKE}polling&sid={found[1].decode()}"
                head = f"POST {target} HTTP/1.1\r\n{HEAD}{filler(28 * KIB)}Content-Length: {MIB}\r\n\r\n"
                attack.send(number, head.encode() + b"x" * (MIB - 1))


def passwords(attack: Attack) -> None:
    basic = base64.b64encode(b"git:" + b"x" * 1000).decode()
    head = f"GET /git/blog.git/info/refs?service=git-receive-pack HTTP/1.1\r\n{HEAD}Authorization: Basic {basic}\r\n\r\n"
    attack.all(head.encode(), count=300)


ATTACKS: list[tuple[str, Callable[[Attack], None]]] = [
    ("handshakes with heads of 360 KiB, 28 KiB and none", handshakes),
    ("heads without an end", heads_without_end),
    ("bodies without an end, to every open path", bodies_without_end),
    ("large deliveries, held and whole", deliveries),
    ("answers that nobody reads", answers_that_nobody_reads),
    ("sessions that join nothing", sessions_that_join_nothing),
    ("frames of 1 MiB before the join", frames_before_the_join),
    ("polls of 1 MiB before the join", polls_before_the_join),
    ("git passwords", passwords),
]


def status(host: Host, pid: int, key: str) -> float:
    """Of the agent's memory, in MiB."""
    return int(host.run("cat", f"/proc/{pid}/status").split(f"{key}:")[1].split()[0]) / 1024


def measure(host: Host) -> list[Row]:
    host.run("systemctl", "restart", "podkeeper.service")
    host.wait_ready()
    pid = host.agent_pid()
    rows, most = [], status(host, pid, "VmHWM")
    for what, attack in ATTACKS:
        say(f"measuring strangers: {what}")
        # The most from here on (proc_pid_clear_refs(5)).
        host.run("sh", "-c", f"echo 5 >/proc/{pid}/clear_refs")
        with Attack() as under_way:
            attack(under_way)
            time.sleep(HELD)
            # Somebody else is still answered, and who has a token does what he likes.
            host.call("GET", "/credentials/session", 200)
        peak = status(host, pid, "VmHWM")
        most = max(most, peak)
        rows.append(Row(f"  {what}", peak, "MiB"))
    assert host.agent_pid() == pid, "the agent was restarted"
    time.sleep(15)
    after = status(host, pid, "VmRSS")
    return [
        Row(f"{CONNECTIONS} strangers at a time, from {ADDRESSES} addresses: the agent's most", most, "MiB", at_most=64),
        *rows,
        Row("  15 s after the last of them", after, "MiB"),
    ]
