"""Services that stop and start again all the time, and who watches them."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import websocket
from host import SLACK, Host, wait_for
from sockets import Client

FLAPPING = """
[Service]
Type=simple
ExecStart=
ExecStart=/bin/sleep 0.1
ExecStop=
ExecStopPost=
RestartSec=50ms
RestartSteps=0
"""


@contextlib.contextmanager
def flapping(host: Host, names: list[str]) -> Iterator[None]:
    """These services flap until this ends; then they run."""
    releases = {service["name"]: service["release"] for service in host.call("GET", "/services", 200).json()["services"]}
    units = [f"{name}@{releases[name]}.service" for name in names]
    folder = f"/run/user/{host.uid()}/systemd/user.control"
    host.user("mkdir", "-p", *(f"{folder}/{unit}.d" for unit in units))
    for unit in units:
        host.write(f"{folder}/{unit}.d/flap.conf", FLAPPING)
    host.user("systemctl", "--user", "daemon-reload")
    restart(host, units)
    try:
        yield
    finally:
        host.user("rm", "-r", *(f"{folder}/{unit}.d" for unit in units))
        host.user("systemctl", "--user", "daemon-reload")

        def settled() -> bool:
            left = [f"{one}@{releases[one]}.service" for one, state in shown(host, names).items() if state["state"] != "running"]
            restart(host, left)
            return not left

        # Each once, since what is left of its container goes with its stop; one that is between two starts may fail.
        restart(host, units)
        wait_for(settled, 20 + len(names), "all run again")


def restart(host: Host, units: list[str]) -> None:
    """A few at a time, so that the manager keeps answering."""
    for first in range(0, len(units), 5):
        host.user("systemctl", "--user", "restart", *units[first : first + 5], check=False)


def shown(host: Host, names: list[str]) -> dict[str, dict]:
    """How they are."""
    return {one: state for one, state in host.call("GET", "/services/status", 200).json().items() if one in names}


def newest(states: list[dict]) -> dict[str, dict]:
    return {state["name"]: state for state in states}


def flapped(client: Client, names: list[str]) -> bool:
    """Whether it was told of each of them that it has started again by itself."""
    seen = newest(client.named("service"))
    return all(seen.get(one, {}).get("restarts", 0) > 2 for one in names)


def same(told: dict[str, dict], shown: dict[str, dict]) -> bool:
    """Whether who was told has each of them as it is."""
    return all(
        one in told and all(state.get(key) == value for key, value in told[one].items() if key != "name")
        for one, state in shown.items()
    )


class Slow:
    """A client of `/status` that reads nothing until it is asked to, over a connection that holds little. It says all the
    time that it lives; still the agent gives one up that takes nothing for `limits.unread`."""

    def __init__(self, token: str) -> None:
        self.socket = websocket.create_connection(
            "ws://127.0.0.1:7070/socket.io/?EIO=4&transport=websocket",
            header={"Authorization": f"Bearer {token}"},
            sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)],
            timeout=300,
        )
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()
        self.socket.send("40/status,")
        while "snapshot" not in self.socket.recv():
            pass

    def _live(self) -> None:
        # What the server asks for this may wait to be read.
        while not self.closed.wait(3):
            with contextlib.suppress(OSError, websocket.WebSocketException):
                self.socket.send("3")

    def waiting(self, host: Host) -> int:
        """How many bytes the host's system holds for it."""
        port = self.socket.sock.getsockname()[1]
        told = host.run("ss", "-Htn", "state", "established", f"( sport = :7070 and dport = :{port} )").split()
        assert told, "the agent has given it up"
        return int(told[1])

    def catch_up(self, client: Client) -> list[dict]:
        """All states that come until each service is shown as new as it was shown to `client` by now."""
        told = newest(client.named("service"))

        def enough(came: list[dict]) -> bool:
            seen = newest(came)
            return all(one in seen and seen[one]["restarts"] >= state["restarts"] for one, state in told.items())

        came: list[dict] = []
        end = time.monotonic() + 60 * SLACK
        while not enough(came):
            assert time.monotonic() < end, f"after {len(came)} states still not the last ones"
            said = self.socket.recv()
            if said.startswith('42/status,["service"'):
                came.append(json.loads(said.removeprefix("42/status,"))[1])
        return came

    def close(self) -> None:
        self.closed.set()
        self.thread.join()
        self.socket.close(timeout=0)
