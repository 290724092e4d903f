"""A client of `/term`, on the Python client of Socket.IO."""

from __future__ import annotations

import threading
import time
from typing import Any

from host import SLACK, Host, wait_for
from sockets import PATIENCE, URL, Connection

TERM = "/term"


class Refused(Exception):
    """The agent said no."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer)
        self.code = answer["problem"]


class NotFound(Refused):
    """There is no such session."""


class Terminals:
    """A connection."""

    def __init__(
        self, host: Host, acks: bool = True, token: str | None = None, transports: tuple[str, ...] = ("websocket",)
    ) -> None:
        self.acks = acks
        self.output: dict[str, bytearray] = {}
        # Since the session is watched.
        self.totals: dict[str, int] = {}
        self.exits: dict[str, dict[str, Any]] = {}
        self.sizes: list[dict[str, Any]] = []
        self.news = threading.Condition()
        self.client = Connection()
        self.client.on("output", self.on_output, namespace=TERM)
        self.client.on("exit", self.on_exit, namespace=TERM)
        self.client.on("resized", lambda size: self.sizes.append(size), namespace=TERM)
        self.client.connect(
            URL,
            headers={"Authorization": f"Bearer {token or host.token}"},
            namespaces=[TERM],
            transports=list(transports),
            wait_timeout=PATIENCE,
        )

    def __enter__(self) -> Terminals:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()

    def on_output(self, event: dict[str, Any]) -> None:
        with self.news:
            self.output.setdefault(event["session"], bytearray()).extend(event["data"])
            self.totals[event["session"]] = self.totals.get(event["session"], 0) + len(event["data"])
            self.news.notify_all()
        if self.acks:
            self.client.emit("ack", {"session": event["session"], "bytes": self.totals[event["session"]]}, namespace=TERM)

    def on_exit(self, event: dict[str, Any]) -> None:
        with self.news:
            self.exits[event["session"]] = event
            self.news.notify_all()

    def ask(self, event: str, data: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.call(event, data, namespace=TERM, timeout=PATIENCE)
        if "problem" in answer:
            raise (NotFound if answer["problem"] == "not-found" else Refused)(answer)
        return answer

    def open(self, cols: int = 80, rows: int = 24, **wanted: Any) -> Session:
        return Session(self, self.ask("open", {"cols": cols, "rows": rows, **wanted})["session"])

    def attach(self, session: str) -> Session:
        self.output.pop(session, None)
        self.totals.pop(session, None)
        self.ask("attach", {"session": session})
        return Session(self, session)

    def list(self) -> list[dict[str, Any]]:
        return self.ask("list", {})["sessions"]


class Session:
    """A session that a connection watches."""

    def __init__(self, terminals: Terminals, identity: str) -> None:
        self.terminals = terminals
        self.id = identity

    @property
    def seen(self) -> bytes:
        return bytes(self.terminals.output.get(self.id, b""))

    def type(self, data: str | bytes) -> None:
        data = data.encode() if isinstance(data, str) else data
        self.terminals.ask("input", {"session": self.id, "data": data})

    def wait(self, wanted: str | bytes, seconds: float = 60, after: int = 0) -> bytes:
        """Waits until the output from `after` on holds `wanted`, and gives all of it from there on. `seconds` as for
        `wait_for`."""
        wanted = wanted.encode() if isinstance(wanted, str) else wanted
        end = time.monotonic() + seconds * SLACK
        looked = after
        with self.terminals.news:
            while True:
                output = self.terminals.output.get(self.id, bytearray())
                if output.find(wanted, looked) >= 0:
                    return bytes(output[after:])
                looked = max(after, len(output) - len(wanted))
                left = end - time.monotonic()
                ended = self.terminals.exits.get(self.id)
                assert left > 0 and not ended, f"not {wanted!r}, but {ended} and {self.seen[-2000:]!r}"
                self.terminals.news.wait(left)

    def run(self, command: str, seconds: float = 60) -> str:
        """Runs a command to its end; what it wrote."""
        after = len(self.seen)
        # The marks are typed in two halves, so that the echo holds none.
        separator = "" if command.rstrip().endswith("&") else ";"
        self.type(f"echo be''gun; {command}{separator} echo en''ded\n")
        text = self.wait(b"\nended\r\n", seconds, after).decode(errors="replace")
        text = text.split("begun\r\n", 1)[1]
        return text[: text.rindex("ended\r\n")].removesuffix("\r\n").replace("\r\n", "\n")

    def exit(self, seconds: float = 60) -> dict[str, Any]:
        return wait_for(lambda: self.terminals.exits.get(self.id), seconds, "the session has ended")

    def close(self) -> None:
        self.terminals.ask("close", {"session": self.id})
        self.exit()
