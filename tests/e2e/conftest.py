"""The host that most tests share. Each test has services of its own name."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator

import pytest
from containers import Gate
from host import SLACK, Host, enter_network


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"a wait could take {SLACK} times what a quiet machine needs")


# Seconds a test may take on a quiet machine, and on any: one that waits for what never comes keeps no other from its turn.
LONG, LONGEST = 200, 1500


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files with the most in them first, so that no worker has a long one left when the others are done."""
    items.sort(key=lambda item: -item.path.stat().st_size)
    for item in items:
        item.add_marker(pytest.mark.timeout(min(LONG * SLACK, LONGEST), method="signal"))


def debs() -> pathlib.Path:
    return pathlib.Path(os.environ["PODKEEPER_DEBS"])


def install(host: Host, *options: str) -> None:
    host.install(debs(), *options)
    # So that a test doesn't wait ten seconds for each release that goes, none fails because this machine is slow, and the
    # shell's image is here.
    services = '[services]\ndrain = "1s"\nhealth_timeout = "5m"\n'
    shell = '[shell]\nimage = "docker.io/library/busybox:stable"\n'
    host.write("/etc/podkeeper/podkeeper.toml", services + shell)
    host.run("systemctl", "reload", "podkeeper")


def host_name() -> str:
    """Each of pytest-xdist's workers has a host of its own: e2e-gw0, e2e-gw1…"""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    return os.environ.get("PODKEEPER_KEEP") or (f"e2e-{worker}" if worker else "e2e")


@pytest.fixture(scope="session")
def host():
    """A host with Podkeeper installed as a user would install it.

    PODKEEPER_KEEP=NAME uses the host of that name, which is booted where it doesn't run yet, and leaves it.
    """
    keep = os.environ.get("PODKEEPER_KEEP")
    host = Host(host_name())
    if keep and pathlib.Path(f"/run/podkeeper-test/{keep}/pid").exists():
        host.join_network()
    else:
        host.stop()
        host.boot()
        install(host)
    host.wait_ready()
    host.sign_in()
    yield host
    if not keep:
        host.stop()


@contextlib.contextmanager
def fresh(suffix: str) -> Iterator[Host]:
    """A host for one test alone, which may break it, without Podkeeper."""
    with open("/proc/self/ns/net") as before:
        host = Host(f"{host_name()[:14]}-{suffix}")
        try:
            host.stop()
            host.boot()
            yield host
        finally:
            host.stop()
            enter_network(before.fileno())


@pytest.fixture
def gate(host: Host) -> Iterator[Gate]:
    """Where something in a container waits until the test lets it through."""
    gate = Gate(host)
    yield gate
    gate.end()


@pytest.fixture
def plain():
    """A plain Debian 13 with what the packages depend on."""
    with fresh("x") as host:
        yield host


@pytest.fixture
def own(plain: Host):
    """The same with Podkeeper installed."""
    install(plain)
    plain.wait_ready()
    plain.sign_in()
    return plain


@pytest.fixture
def name(request):
    """A service name that says which test made it; the service is removed afterwards."""
    text = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    name = f"t-{text}"[:36].strip("-")
    yield name
    if "host" in request.fixturenames:
        request.getfixturevalue("host").delete(name)


@pytest.fixture
def other(host: Host, name: str) -> Iterator[str]:
    """The name of another service, which is removed afterwards."""
    other = f"{name[:30]}-other"
    yield other
    host.delete(other)
