"""Socket.IO clients as the tests use them, and a service that prints what it is told."""

from __future__ import annotations

import base64
import contextlib
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import socketio
from host import Host

URL = "http://127.0.0.1:7070"

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

    def print(self, data: bytes, output: int = 1) -> None:
        self._ask(f"/cgi-bin/print?{output}", method="POST", data=data)

    def count(self, lines: int) -> None:
        self._ask(f"/cgi-bin/count?{lines}", method="GET", data=None)

    def _ask(self, path: str, method: str, data: bytes | None) -> None:
        answer = self.host.send(self.name, path, method, data=data, timeout=60)
        assert answer.status_code == 200, answer.text


class Client:
    """A Socket.IO client that remembers all events, and acknowledges lines unless it is told not to.

    The library gives each message to a thread of its own, so that they come in any order; a channel's numbers tell theirs.
    """

    def __init__(self, token: str, *namespaces: str, headers: dict[str, str] | None = None, **options: Any) -> None:
        self.events: list[tuple[str, Any]] = []
        self.lines: dict[int, list[dict[str, Any]]] = {}
        self.closed: dict[int, dict[str, Any]] = {}
        self.reasons: list[str] = []
        self.acknowledging = True
        # Without keeping, each line only goes through `on_line`.
        self.keeping = True
        self.on_line: Callable[[dict[str, Any]], None] | None = None
        self.lock = threading.Lock()
        # Of each channel: the last message's number, and what came before its turn.
        self.last: dict[int, int] = {}
        self.early: dict[int, dict[int, dict[str, Any]]] = {}
        # Or it sends its own beside ours.
        self.io = socketio.Client(reconnection=False, websocket_extra_options={"suppress_origin": True})
        for namespace in namespaces:
            self.io.on("*", self._keeper(namespace), namespace=namespace)
            self.io.on("disconnect", lambda reason: self.reasons.append(reason), namespace=namespace)
        headers = {"Authorization": f"Bearer {token}"} if headers is None else headers
        self.io.connect(URL, headers=headers, namespaces=list(namespaces), wait_timeout=30, **options)

    def _keeper(self, namespace: str):
        def keep(event: str, data: Any = None) -> None:
            if self.keeping:
                self.events.append((event, data))
            if namespace == "/log" and event == "data":
                with self.lock:
                    self._take(data)
            if namespace == "/log" and event == "closed":
                self.closed[data["channel"]] = data

        return keep

    def _take(self, data: dict[str, Any]) -> None:
        channel = data["channel"]
        last, early = self.last.setdefault(channel, 0), self.early.setdefault(channel, {})
        assert data["seq"] > last and data["seq"] not in early, f"message {data['seq']} of channel {channel} came twice"
        early[data["seq"]] = data
        while (following := early.pop(self.last[channel] + 1, None)) is not None:
            self.last[channel] += 1
            if self.keeping:
                self.lines.setdefault(channel, []).extend(following["entries"])
            for line in following["entries"] if self.on_line else ():
                self.on_line(line)
        if self.acknowledging and self.last[channel] > last:
            # The connection may be closed already.
            with contextlib.suppress(socketio.exceptions.SocketIOError):
                self.io.emit("ack", {"channel": channel, "seq": self.last[channel]}, namespace="/log")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.io.disconnect()

    def ask(self, namespace: str, event: str, **data: Any) -> dict[str, Any]:
        return self.io.call(event, data, namespace=namespace, timeout=30)

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
