"""Socket.IO clients as the tests use them, and a service that prints what it is told."""

from __future__ import annotations

import base64
import contextlib
import pathlib
import time
from collections.abc import Callable
from typing import Any

import engineio
import requests
import socketio
from host import Host, wait_for

URL = "http://127.0.0.1:7070"
# In seconds, for the library, which gives up after five: nothing that a test is about.
PATIENCE = 300

# What is posted to it goes out of its first process, as if that had printed it.
WRITER = {
    "Containerfile": (
        "FROM docker.io/library/busybox:stable\n"
        "COPY site /site\n"
        "RUN chmod -R a+rx /site\n"
        "EXPOSE 8080\n"
        "STOPSIGNAL SIGKILL\n"
        'CMD ["httpd", "-f", "-p", "8080", "-h", "/site"]\n'
    ),
    "site/index.html": "ready\n",
    "site/cgi-bin/print": '#!/bin/sh\ncat >"/proc/1/fd/${QUERY_STRING:-1}"\necho; echo printed\n',
    "site/cgi-bin/count": "#!/bin/sh\nseq 1 \"$QUERY_STRING\" | sed 's/$/ of many/' >/proc/1/fd/1\necho; echo counted\n",
}


class Writer:
    """The service, running."""

    def __init__(self, host: Host, name: str, folder: pathlib.Path) -> None:
        self.host, self.name = host, name
        host.create(name)
        clone = host.clone(name, folder)
        clone.commit(WRITER)
        assert "Live:" in clone.push()

    def settle(self) -> None:
        """Waits until it answers and the agent has shown all that it printed before."""
        wait_for(self._answers, 30, "the service answers")
        mark = f"settled {time.time_ns()}"
        self.print(f"{mark}\n".encode())
        wait_for(lambda: mark in self.shown(), 10, "what it printed is in its log")

    def shown(self) -> list[str]:
        """Its newest lines."""
        entries = self.host.call("GET", f"/services/{self.name}/logs", 200, params={"lines": 20}).json()["entries"]
        return [entry["message"] for entry in entries]

    def print(self, data: bytes, output: int = 1) -> None:
        self._ask(f"/cgi-bin/print?{output}", method="POST", data=data)

    def count(self, lines: int) -> None:
        self._ask(f"/cgi-bin/count?{lines}", method="GET", data=None)

    def _answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return self.host.serve(self.name, timeout=60).status_code == 200
        return False

    def _ask(self, path: str, method: str, data: bytes | None) -> None:
        answer = self.host.send(self.name, path, method, data=data, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text


class InTurn(engineio.Client):
    """Gives messages on in the order in which they come. The library gives each a thread of its own, so that one may
    overtake another, and what is binary be taken for another event's."""

    def _trigger_event(self, event: str, *arguments: Any, run_async: bool = False, **options: Any) -> Any:
        return super()._trigger_event(event, *arguments, run_async=run_async and event != "message", **options)


class Connection(socketio.Client):
    """The library's client, on that."""

    def __init__(self, **options: Any) -> None:
        super().__init__(reconnection=False, request_timeout=PATIENCE, **options)

    def _engineio_client_class(self) -> type[engineio.Client]:
        return InTurn


class Client:
    """A Socket.IO client that remembers all events, and acknowledges lines unless it is told not to."""

    def __init__(self, token: str, *namespaces: str, headers: dict[str, str] | None = None, **options: Any) -> None:
        self.events: list[tuple[str, Any]] = []
        self.lines: dict[int, list[dict[str, Any]]] = {}
        self.closed: dict[int, dict[str, Any]] = {}
        self.reasons: list[str] = []
        self.acknowledging = True
        # Without keeping, each line only goes through `on_line`.
        self.keeping = True
        self.on_line: Callable[[dict[str, Any]], None] | None = None
        # Of each channel: the last message's number.
        self.last: dict[int, int] = {}
        # Messages that came twice, or before their turn.
        self.wrong: list[str] = []
        # Or it sends its own beside ours.
        self.io = Connection(websocket_extra_options={"suppress_origin": True})
        for namespace in namespaces:
            self.io.on("*", self._keeper(namespace), namespace=namespace)
            self.io.on("disconnect", lambda reason: self.reasons.append(reason), namespace=namespace)
        headers = {"Authorization": f"Bearer {token}"} if headers is None else headers
        self.io.connect(URL, headers=headers, namespaces=list(namespaces), wait_timeout=PATIENCE, **options)

    def _keeper(self, namespace: str):
        def keep(event: str, data: Any = None) -> None:
            if self.keeping:
                self.events.append((event, data))
            if namespace == "/log" and event == "data":
                self._take(data)
            if namespace == "/log" and event == "closed":
                self.closed[data["channel"]] = data

        return keep

    def _take(self, data: dict[str, Any]) -> None:
        channel, number, last = data["channel"], data["seq"], self.last.get(data["channel"], 0)
        if number != last + 1:
            self.wrong.append(f"message {number} of channel {channel} behind {last}")
        self.last[channel] = number
        if self.keeping:
            self.lines.setdefault(channel, []).extend(data["entries"])
        for line in data["entries"] if self.on_line else ():
            self.on_line(line)
        if self.acknowledging:
            # The connection may be closed already.
            with contextlib.suppress(socketio.exceptions.SocketIOError):
                self.io.emit("ack", {"channel": channel, "seq": number}, namespace="/log")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self.io.disconnect()
        assert kind or not self.wrong, self.wrong

    def ask(self, namespace: str, event: str, **data: Any) -> dict[str, Any]:
        return self.io.call(event, data, namespace=namespace, timeout=PATIENCE)

    def open(self, **what: Any) -> int:
        answer = self.ask("/log", "open", **what)
        assert "channel" in answer, answer
        return answer["channel"]

    def texts(self, channel: int) -> list[str]:
        return [entry["message"] for entry in self.lines.get(channel, [])]

    def named(self, event: str) -> list[Any]:
        return [data for name, data in self.events if name == event]


def raw(entry: dict[str, Any]) -> bytes:
    """A line's bytes."""
    return base64.b64decode(entry["bytes"]) if "bytes" in entry else entry["message"].encode()
