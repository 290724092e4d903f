"""The host that most tests share. Each test has services of its own name."""

import os
import pathlib
import re

import pytest
from host import Host


def debs() -> pathlib.Path:
    return pathlib.Path(os.environ["PODKEEPER_DEBS"])


@pytest.fixture(scope="session")
def host():
    """A host with Podkeeper installed as a user would install it.

    PODKEEPER_KEEP=NAME uses the host of that name, which is booted where it doesn't run yet, and leaves it.
    """
    keep = os.environ.get("PODKEEPER_KEEP")
    # Each of pytest-xdist's workers has a host of its own: e2e-gw0, e2e-gw1…
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    host = Host(keep or (f"e2e-{worker}" if worker else "e2e"))
    if keep and pathlib.Path(f"/run/podkeeper-test/{keep}/pid").exists():
        host.join_network()
    else:
        host.stop()
        host.boot()
        host.install(debs())
        # So that a test doesn't wait ten seconds for each release that goes.
        host.write("/etc/podkeeper/podkeeper.toml", '[services]\ndrain = "1s"\n')
        host.run("systemctl", "reload", "podkeeper")
    host.wait_ready()
    host.sign_in()
    yield host
    if not keep:
        host.stop()


@pytest.fixture
def name(request):
    """A service name that says which test made it; the service is removed afterwards."""
    text = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    name = f"t-{text}"[:36].strip("-")
    yield name
    if "host" in request.fixturenames:
        request.getfixturevalue("host").delete(name)
