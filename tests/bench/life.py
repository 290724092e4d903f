"""How soon what is asked to end has ended: a build that is cancelled or hangs, and the agent with streams and builds."""

import pathlib
import tempfile

import requests
from containers import BASE, SERVE, Gate, last, push_behind
from host import Clone, Host, wait_for
from measure import Row, median, seconds

NAME = "bench-life"
ROUNDS = 5
TIMEOUT = 5


def building(host: Host, clone: Clone, gate: Gate) -> int:
    """A build that stands at the gate; its deployment."""
    clone.commit({"Containerfile": f"{BASE}RUN {gate.waits}\n{SERVE}", "site/index.html": "waits"})
    push_behind(clone)
    gate.wait_reached()
    return last(host, NAME)["id"]


def cancel(host: Host, clone: Clone) -> float:
    gate = Gate(host)
    identity = building(host, clone, gate)
    taken = seconds(lambda: host.call("DELETE", f"/deployments/{identity}", 200))
    assert not gate.reached(), "its RUN step has ended"
    return taken


def hang(host: Host, clone: Clone) -> float:
    """From its start, as the deployment has it, to its end."""
    gate = Gate(host)
    with host.configured(f'[builds]\ntimeout = "{TIMEOUT}s"\n'):
        identity = building(host, clone, gate)
        taken = seconds(lambda: host.wait_deployment(identity, "failed"))
    assert not gate.reached(), "its RUN step has ended"
    return taken


def stop(host: Host, clone: Clone) -> float:
    gate = Gate(host)
    identity = building(host, clone, gate)
    stream = requests.get(
        f"http://127.0.0.1:7070/deployments/{identity}/log",
        headers={"Authorization": f"Bearer {host.token}", "Accept": "text/event-stream"},
        stream=True,
        timeout=60,
    )
    next(stream.iter_lines())
    taken = seconds(lambda: host.run("systemctl", "stop", "podkeeper.service"))
    host.start_agent()
    gate.open()
    wait_for(lambda: last(host, NAME)["state"] == "live", 60, "the build goes on")
    return taken


def measure(host: Host) -> list[Row]:
    host.create(NAME)
    with tempfile.TemporaryDirectory() as folder:
        clone = host.clone(NAME, pathlib.Path(folder) / "clone")
        cancelled = [cancel(host, clone) for _ in range(ROUNDS)]
        hung = [hang(host, clone) for _ in range(ROUNDS)]
        stopped = [stop(host, clone) for _ in range(ROUNDS)]
    return [
        Row("a build is cancelled, with all that it started", median(cancelled), "s", at_most=5),
        Row(f"a build that hangs, with {TIMEOUT} s to end in, has ended after", median(hung), "s", at_most=TIMEOUT + 5),
        Row("the agent stops while it builds and streams", median(stopped), "s", at_most=5),
    ]
