"""Services that wait where a test wants them to, and a git server that does."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
from pathlib import Path

from host import Clone, Host, wait_for

BASE = "FROM docker.io/library/busybox:stable\nEXPOSE 8080\nSTOPSIGNAL SIGKILL\nCOPY site /site\n"
SERVE = 'CMD ["httpd", "-f", "-p", "8080", "-h", "/site"]\n'

numbers = itertools.count(100_000 + os.getpid() * 100)


class Gate:
    """Something in a container that waits until it is let through: a `sleep` that only this gate has."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.seconds = next(numbers)

    @property
    def waits(self) -> str:
        return f"sleep {self.seconds} || true"

    def reached(self) -> bool:
        return self.host.code("pgrep", "-fx", f"sleep {self.seconds}") == 0

    def wait_reached(self) -> None:
        wait_for(self.reached, 60, "the gate is reached")

    def open(self) -> None:
        self.host.run("pkill", "-fx", f"sleep {self.seconds}")

    def end(self) -> None:
        """Opens it where something still waits."""
        self.host.run("pkill", "-fx", f"sleep {self.seconds}", check=False)


class GitServer:
    """`git daemon` over the repositories below a folder. While it is stopped, connections are taken and not answered."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        arguments = ["--reuseaddr", "--export-all", "--listen=127.0.0.1", f"--port={self.port}", f"--base-path={folder}"]
        self.process = subprocess.Popen(["git", "daemon", *arguments, str(folder)], start_new_session=True)
        wait_for(self.listens, 10, "git daemon listens")

    def listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def signal(self, number: signal.Signals) -> None:
        """To the server and to what it started."""
        os.killpg(self.process.pid, number)

    def __enter__(self) -> GitServer:
        return self

    def __exit__(self, *_) -> None:
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self.process.wait(10)


def last(host: Host, name: str) -> dict:
    """The service's newest deployment."""
    return host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"][0]


def push_behind(clone: Clone) -> subprocess.Popen:
    """Pushes in the background."""
    return subprocess.Popen(
        ["git", "push", "-q", "origin", "HEAD:main"], cwd=clone.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def live_first(host: Host, name: str, folder: Path) -> Clone:
    """A service whose first release has the traffic."""
    host.create(name)
    clone = host.clone(name, folder)
    clone.commit({"Containerfile": BASE + SERVE, "site/index.html": "first"})
    clone.push()
    assert host.serve(name).text == "first"
    return clone
