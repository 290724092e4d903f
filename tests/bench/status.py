"""How long it takes to tell how many services are."""

import contextlib
import http.client
import json
import os
import time

from flapping import Slow, flapping, newest, same, shown
from host import Host, wait_for
from idle import cpu_ns
from measure import Row, ensure_services, median, quantile, say
from sockets import Client

# In seconds; the agent gives up who takes nothing for 15.
FLAPPING = 10
UNITS = int(os.environ.get("PODKEEPER_BENCH_UNITS", "100"))
SHOWN = "ActiveState,SubState,StateChangeTimestamp,NRestarts,MemoryCurrent,CPUUsageNSec"


def times(host: Host, path: str, count: int) -> list[float]:
    """Each request's time in ms, one after the other on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", 7070, timeout=60)
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": f"Bearer {host.token}"})
        answer = connection.getresponse()
        answer.read()
        taken.append((time.perf_counter() - began) * 1000)
        assert answer.status == 200, path
    return taken


def systemctl(host: Host, units: list[str], count: int) -> list[float]:
    """How long `systemctl show` takes for all of them, in ms, as the user whose units they are."""
    script = (
        f"for _ in $(seq {count}); do began=$(date +%s%N); "
        f'systemctl --user show -p {SHOWN} -- "$@" >/dev/null; echo $(($(date +%s%N) - began)); done'
    )
    return [int(line) / 1e6 for line in host.user("sh", "-c", script, "sh", *units).split()]


def restarting(client: Client, names: list[str]) -> int:
    """How many of them it was told of that they start again by themselves. With so many, one may fail between two starts."""
    states = newest(client.named("service"))
    return sum(states.get(name, {}).get("restarts", 0) > 2 for name in names)


def flap(host: Host, names: list[str]) -> list[Row]:
    """All of them stop and start again for a while: what it costs, and how soon the last state is everywhere."""
    with Client(host.token, "/status") as client:
        with flapping(host, names):
            wait_for(lambda: restarting(client, names) >= 0.9 * len(names), 180, "nearly all flap")
            memory, began = host.agent_rss(), cpu_ns(host, host.agent_pid())
            with contextlib.closing(Slow(host.token)) as slow:
                before = len(client.named("service"))
                time.sleep(FLAPPING)
                told = len(client.named("service")) - before
                grown = (host.agent_rss() - memory) / 1024
                used = (cpu_ns(host, host.agent_pid()) - began) / 1e9 / FLAPPING * 100
                resumed = time.monotonic()
                came = slow.catch_up(client)
                caught_up = time.monotonic() - resumed
        settled = time.monotonic()
        wait_for(lambda: same(newest(client.named("service")), shown(host, names)), 60, "who reads has seen the last of it")
        soon = time.monotonic() - settled
    return [
        Row(f"{len(names)} services flapping: changes told a second", told / FLAPPING, ""),
        Row("  the agent's memory grew", grown, "MiB", at_most=16),
        Row("  CPU of one core", used, "%"),
        Row("  who reads has the last states after", soon, "s", at_most=2),
        Row("  states that a client stalled for so long reads until it has caught up", len(came), "", told, "told", ratio_at_most=0.5),
        Row("  which takes it", caught_up, "s"),
    ]


def measure(host: Host) -> list[Row]:
    names = ensure_services(host, UNITS)
    releases = {service["name"]: service["release"] for service in host.call("GET", "/services", 200).json()["services"]}
    units = [f"{name}@{releases[name]}.service" for name in names]
    assert len(json.loads(host.call("GET", "/services/status", 200).text)) >= UNITS
    ours, theirs = [], []
    for _ in range(5):
        ours += times(host, "/services/status", 20)
        theirs += systemctl(host, units, 4)
    listed, floor = times(host, "/services", 500), times(host, "/healthz", 500)
    say(f"letting {UNITS} services flap")
    return [
        Row(
            f"GET /services/status, {UNITS} running", median(ours), "ms", median(theirs), "systemctl show of them", ratio_at_most=1
        ),
        Row(f"GET /services, {UNITS} running: p50", median(listed), "ms", median(floor), "GET /healthz"),
        Row(f"GET /services, {UNITS} running: p99", quantile(listed, 0.99), "ms", quantile(floor, 0.99), "GET /healthz"),
        *flap(host, names),
    ]
