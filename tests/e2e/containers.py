"""Services that wait where a test wants them to, and a git server that does."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from host import Clone, Host, wait_for

IMAGE = "FROM docker.io/library/busybox:stable\n"
SITE = "EXPOSE 8080\nSTOPSIGNAL SIGKILL\nCOPY site /site\n"
BASE = IMAGE + SITE
SERVE = 'CMD ["httpd", "-f", "-p", "8080", "-h", "/site"]\n'

# Another run's gates may be in the build cache of a host that is kept: where this one begins, none of them did.
numbers = itertools.count(1_000_000 + time.time_ns() // 1_000_000 % 1_000_000_000)


class Gate:
    """Something in a container that waits until it is let through: a `sleep` that only this gate has."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.seconds = next(numbers)

    @property
    def waits(self) -> str:
        # A shell says of what was ended that it was, and in the middle of whatever is printed at the time.
        return f"{{ sleep {self.seconds} || true; }} 2>/dev/null"

    def reached(self) -> bool:
        return self.pid() is not None

    def pid(self) -> int | None:
        """The process that waits, as the host numbers it."""
        found = self.host.run("pgrep", "-fx", f"sleep {self.seconds}", check=False).split()
        return int(found[0]) if found else None

    def wait_reached(self) -> None:
        wait_for(self.reached, 60, "the gate is reached")

    def open(self) -> None:
        self.host.run("pkill", "-fx", f"sleep {self.seconds}")

    def end(self) -> None:
        """Opens it where something still waits."""
        self.host.run("pkill", "-fx", f"sleep {self.seconds}", check=False)


def built_behind(gate: Gate) -> str:
    """A Containerfile whose build waits at the gate, and then serves its folder `site`. Once built, its first steps are
    those of every other commit with the same gate."""
    return f"{IMAGE}RUN {gate.waits}\n{SITE}{SERVE}"


def started_behind(gate: Gate, check: str = "") -> str:
    """One whose program listens once the gate is open."""
    return f'{BASE}{check}CMD ["sh", "-c", "{gate.waits}; exec httpd -f -p 8080 -h /site"]\n'


class GitServer:
    """`git daemon` over the repositories below a folder. While it is stopped, connections are taken and not answered."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        arguments = ["--reuseaddr", "--export-all", "--listen=127.0.0.1", f"--port={self.port}", f"--base-path={folder}"]
        self.process = subprocess.Popen(["git", "daemon", *arguments, str(folder)], start_new_session=True)
        try:
            wait_for(self.listens, 10, "git daemon listens")
        except AssertionError:
            self.end()
            raise

    def listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def signal(self, number: signal.Signals) -> None:
        """To the server and to what it started."""
        os.killpg(self.process.pid, number)

    def end(self) -> None:
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self.process.wait(120)

    def __enter__(self) -> GitServer:
        return self

    def __exit__(self, *_) -> None:
        self.end()


def last(host: Host, name: str) -> dict:
    """The service's newest deployment."""
    return host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"][0]


def push_behind(clone: Clone) -> subprocess.Popen:
    """Pushes in the background."""
    return subprocess.Popen(
        ["git", "push", "-q", "origin", "HEAD:main"], cwd=clone.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


class Push:
    """A push in the background, and the lines that its person has read by now."""

    def __init__(self, clone: Clone) -> None:
        self.process = subprocess.Popen(
            ["git", "push", "origin", "HEAD:main"], cwd=clone.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.decode(errors="replace").removeprefix("remote:").strip())

    def end(self) -> str:
        """All that it said, once it has ended well."""
        self.reader.join(600)
        assert self.process.wait(600) == 0, self.lines
        return "\n".join(self.lines)


def live_first(host: Host, name: str, folder: Path) -> Clone:
    """A service whose first release has the traffic."""
    host.create(name)
    clone = host.clone(name, folder)
    clone.commit({"Containerfile": BASE + SERVE, "site/index.html": "first"})
    clone.push()
    assert host.serve(name).text == "first"
    return clone
