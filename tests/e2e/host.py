"""The throwaway host as the tests see it: commands in it, its network, and its Podkeeper."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = ROOT / "tests/host/host"
STATE = "/var/lib/podkeeper"
CLONE_NEWNET = 0x40000000
# How long the piece of work of `measured` takes on a machine that does nothing else, in seconds.
QUIET = 0.25


def measured() -> float:
    """How long this machine takes for a fixed piece of work, in seconds: processes, and what one core computes."""
    began = time.monotonic()
    for _ in range(100):
        subprocess.run(["true"], check=True)
    for _ in range(50):
        hashlib.sha256(bytes(4 * 1024 * 1024)).digest()
    return time.monotonic() - began


def slack() -> float:
    """What a deadline is multiplied by here: a wait that is too long costs nothing unless it fails, and this machine may
    get slower than it is now. One who runs the tests measures; its workers are told."""
    told = os.environ.get("PODKEEPER_SLACK")
    if not told:
        told = os.environ["PODKEEPER_SLACK"] = f"{6 * max(1.0, measured() / QUIET):.1f}"
    return float(told)


SLACK = slack()

libc = ctypes.CDLL(None, use_errno=True)
# The network that the tests were started in.
MACHINE = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter_network(namespace: int) -> None:
    """From here on this process and its children have the network of this descriptor."""
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def leave_network() -> None:
    """From here on this process and its children have the network that the tests were started in."""
    enter_network(MACHINE)


def wait_for(condition: Callable[[], Any], seconds: float, what: str | Callable[[], str]) -> Any:
    """Asks until the answer is true. `seconds` is what a quiet machine may take; this one may take SLACK times as long."""
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - began
        if waited > seconds * SLACK:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"after {waited:.0f} s still not: {told}\nlast: {value!r}\n{Host.situation()}")
        time.sleep(0.1)


class Host:
    """A booted throwaway host."""

    # The one whose network this process has.
    here: Host | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.token = ""

    @classmethod
    def situation(cls) -> str:
        """What somebody who reads of a failure wants to know of the host where it happened."""
        if cls.here is None:
            return "in no host"
        looks = {
            "jobs": ["systemctl", "list-jobs", "--no-legend"],
            "failed": ["systemctl", "--failed", "--no-legend", "--plain"],
            "the user's units": ["systemctl", "--user", "-M", "podkeeper@", "list-units", "--no-legend", "--plain", "--all", "*@*.service", "build-*"],
            "journal": ["journalctl", "-q", "-n", "30", "--no-pager", "-o", "short-precise"],
        }
        told = [f"on {cls.here.name}, load {os.getloadavg()[0]:.1f}"]
        for name, argv in looks.items():
            try:
                text = cls.here.run(*argv, check=False, timeout=60).rstrip()
            except (OSError, subprocess.SubprocessError, AssertionError) as error:
                text = str(error)
            told.append(f"-- {name}\n{text}")
        return "\n".join(told)

    # ---- commands -------------------------------------------------------------------------------------------------

    def verb(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HOST, arguments[0], self.name, *arguments[1:]], check=True, text=True, capture_output=True, **options
        )

    def run(self, *argv: str, check: bool = True, input: str | None = None, timeout: float = 300) -> str:
        """Runs a command in the host as root and gives its output."""
        done = subprocess.run(
            [HOST, "enter", self.name, "--", *argv], text=True, capture_output=True, input=input, timeout=timeout
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{argv} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def code(self, *argv: str) -> int:
        return subprocess.run([HOST, "enter", self.name, "--", *argv], capture_output=True).returncode

    def user(self, *argv: str, check: bool = True, timeout: float = 300) -> str:
        """The same as the service user, with its bus."""
        done = subprocess.run(
            [HOST, "as", self.name, "podkeeper", "--", *argv], text=True, capture_output=True, timeout=timeout
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{argv} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def put(self, source: pathlib.Path, target: str) -> None:
        self.verb("put", str(source), target)

    def write(self, path: str, text: str) -> None:
        self.run("dd", f"of={path}", "status=none", input=text)

    # ---- life -----------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        leave_network()
        self.verb("boot")
        self.join_network()

    def reboot(self) -> None:
        leave_network()
        self.verb("reboot")
        self.join_network()

    def stop(self) -> None:
        if Host.here is not None and Host.here.name == self.name:
            Host.here = None
        leave_network()
        self.verb("stop")

    def pid(self) -> int:
        """The host's PID 1, as this machine numbers it."""
        return int(pathlib.Path(f"/run/podkeeper-test/{self.name}/pid").read_text())

    def join_network(self) -> None:
        """From here on this process and its children have the host's network."""
        with open(f"/proc/{self.pid()}/ns/net") as file:
            enter_network(file.fileno())
        Host.here = self

    def install(self, debs: pathlib.Path, *options: str) -> str:
        names = []
        for package in ("podkeeper-host", "podkeeper"):
            (file,) = debs.glob(f"{package}_*.deb")
            self.put(file, f"/root/{package}.deb")
            names.append(f"/root/{package}.deb")
        return self.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", *options, *names)

    def wait_ready(self) -> None:
        def ready() -> bool:
            try:
                return requests.get("http://127.0.0.1:7070/readyz", timeout=5).status_code == 200
            except requests.RequestException:
                return False

        wait_for(ready, 30, "the agent is ready")

    @contextlib.contextmanager
    def configured(self, text: str) -> Iterator[None]:
        """The agent has this added to its configuration, or in the place of what it says of the same keys."""
        path = "/etc/podkeeper/podkeeper.toml"
        before = self.run("cat", path)
        tables = tomllib.loads(before)
        for table, keys in tomllib.loads(text).items():
            tables.setdefault(table, {}).update(keys)
        # A basic string of TOML is one of JSON.
        lines = [
            line
            for table, keys in tables.items()
            for line in [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        ]
        try:
            self.reconfigure("\n".join(lines) + "\n")
            yield
        finally:
            self.reconfigure(before)

    def reconfigure(self, text: str) -> None:
        self.write("/etc/podkeeper/podkeeper.toml", text)
        if self.code("systemctl", "is-active", "--quiet", "podkeeper.service") != 0:
            # It is read at the next start.
            return
        before = self.reloads()
        self.run("systemctl", "reload", "podkeeper")
        wait_for(lambda: self.reloads() > before, 10, "the configuration is read")

    def reloads(self) -> int:
        return len(self.journal("-u", "podkeeper", "--grep", "the configuration is (read|kept)"))

    def journal(self, *options: str) -> list[str]:
        """The messages that journalctl finds with these options, all that was written by now among them."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "-q", "-o", "cat", "--all", *options, check=False).splitlines()

    def journal_holds(self, text: str) -> bool:
        """Whether any field of any entry holds it."""
        self.run("journalctl", "--sync")
        search = 'journalctl -q -o export --all | grep -qaF -e "$1"'
        return self.code("sh", "-c", search, "sh", text) == 0

    def uid(self) -> str:
        return self.run("id", "-u", "podkeeper").strip()

    def agent_pid(self) -> int:
        return int(self.run("systemctl", "show", "-P", "MainPID", "podkeeper").strip())

    def agent_rss(self) -> int:
        """The agent's resident memory in KiB."""
        text = self.run("cat", f"/proc/{self.agent_pid()}/status")
        return int(text.split("VmRSS:")[1].split()[0])

    def kill_agent(self) -> None:
        """kill -9, and the next one is not started before `start_agent`."""
        self.run("systemctl", "kill", "-s", "KILL", "podkeeper.service", check=False)
        self.run("systemctl", "stop", "podkeeper.service", check=False)

    def start_agent(self) -> None:
        self.run("systemctl", "start", "podkeeper.service")
        self.wait_ready()

    # ---- the interface --------------------------------------------------------------------------------------------

    def sign_in(self) -> None:
        name = f"tests-{time.time_ns()}"
        self.token = self.run("podkeeper", "token", "create", "--name", name).strip()

    def call(self, method: str, path: str, expect: int | None = None, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        options.setdefault("timeout", 120)
        answer = requests.request(method, f"http://127.0.0.1:7070{path}", headers=headers, **options)
        if expect is not None:
            assert answer.status_code == expect, f"{method} {path}: {answer.status_code}: {answer.text[:2000]}"
        return answer

    def create(self, name: str, template: str = "static", **fields: Any) -> dict[str, Any]:
        body = fields or {"template": template}
        return self.call("PUT", f"/services/{name}", 201, json=body).json()

    def delete(self, name: str, volumes: bool = True) -> None:
        self.call("DELETE", f"/services/{name}", params={"volumes": "true"} if volumes else {})

    def wait_deployment(self, identity: int, state: str = "live", seconds: float = 120) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            deployment = self.call("GET", f"/deployments/{identity}", 200).json()
            final = deployment["state"] in ("live", "failed", "cancelled", "superseded")
            return deployment if final else None

        deployment = wait_for(ended, seconds, f"deployment {identity} has ended")
        assert deployment["state"] == state, json.dumps(deployment, indent=1)
        return deployment

    def wait_state(self, identity: int, *states: str, seconds: float = 60) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            deployment = self.call("GET", f"/deployments/{identity}", 200).json()
            return deployment if deployment["state"] in states else None

        return wait_for(reached, seconds, f"deployment {identity} is {states}")

    def start(self, name: str, state: str = "live") -> dict[str, Any]:
        deployment = self.call("POST", f"/services/{name}/start", 202).json()
        return self.wait_deployment(deployment["id"], state)

    def serve(self, name: str, path: str = "/", **options: Any) -> requests.Response:
        """What the service answers through Caddy."""
        options.setdefault("timeout", 120)
        headers = {"Host": f"{name}.localhost:8080", **options.pop("headers", {})}
        return requests.get(f"http://127.0.0.1:8080{path}", headers=headers, **options)

    def send(self, name: str, path: str, method: str, **options: Any) -> requests.Response:
        """A request to the service through Caddy."""
        options.setdefault("timeout", 120)
        return requests.request(method, f"http://127.0.0.1:8080{path}", headers={"Host": f"{name}.localhost:8080"}, **options)

    # ---- git ------------------------------------------------------------------------------------------------------

    def remote(self, name: str) -> str:
        """Where git fetches and pushes a service."""
        return f"http://any:{self.token}@127.0.0.1:7070/git/{name}.git"

    def clone(self, name: str, folder: pathlib.Path, *options: str) -> Clone:
        shutil.rmtree(folder, ignore_errors=True)
        git("clone", "-q", *options, self.remote(name), str(folder), cwd=folder.parent)
        return Clone(folder)


class Clients:
    """Asks for something on new connections, one after the other, until it is stopped; whatever fails is kept."""

    def __init__(self, url: str, **options) -> None:
        self.url, self.options = url, options
        self.answers, self.failures = 0, []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.ask)

    def ask(self) -> None:
        while not self.ended.is_set():
            try:
                answer = requests.get(self.url, timeout=60, **self.options)
                self.answers += 1
                if answer.status_code != 200:
                    self.failures.append(answer.status_code)
            except requests.RequestException as error:
                self.failures.append(str(error))

    def __enter__(self) -> "Clients":
        self.thread.start()
        return self

    def go_on(self, more: int) -> None:
        """Returns when so many more have been answered."""
        enough = self.answers + more
        wait_for(lambda: self.answers >= enough, 10, lambda: f"{more} more are answered; failed: {self.failures[-5:]}")

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.thread.join(60)


def git(*arguments: str, cwd: pathlib.Path, check: bool = True) -> str:
    """Git's output, with what it says beside it."""
    environment = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.com",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if check and done.returncode != 0:
        raise AssertionError(f"git {arguments} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class Clone:
    """A working copy."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def git(self, *arguments: str, check: bool = True) -> str:
        return git(*arguments, cwd=self.folder, check=check)

    def commit(self, files: dict[str, str | bytes | None], message: str = "change") -> str:
        """Writes files (None removes one) and commits them; the commit's id."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            match content:
                case None:
                    path.unlink()
                case str():
                    path.write_text(content)
                case bytes():
                    path.write_bytes(content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def push(self, check: bool = True) -> str:
        return self.git("push", "origin", "HEAD:main", check=check)
