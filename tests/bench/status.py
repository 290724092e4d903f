"""How long it takes to tell how many services are."""

import http.client
import json
import os
import time

from flapping import Slow, flapping, newest, same, shown
from host import Host, wait_for
from idle import cpu_ns
from measure import Row, ensure_services, median, quantile, say
from sockets import Client

FLAPPING = 20
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


def flap(host: Host, names: list[str]) -> list[Row]:
    """All of them stop and start again for a while: what it costs, and how soon the last state is everywhere."""
    slow = Slow(host.token)
    try:
        with Client(host.token, "/status") as client:
            memory, began = host.agent_rss(), cpu_ns(host, host.agent_pid())
            with flapping(host, names):
                time.sleep(FLAPPING)
                grown = (host.agent_rss() - memory) / 1024
                used = (cpu_ns(host, host.agent_pid()) - began) / 1e9 / FLAPPING * 100
                told = len(client.named("service"))
            settled = time.monotonic()
            wait_for(lambda: same(newest(client.named("service")), shown(host, names)), 60, "who reads has seen the last of it")
            soon = time.monotonic() - settled
            came = slow.read(lambda came: same(newest(came), shown(host, names)))
    finally:
        slow.close()
    return [
        Row(f"{len(names)} services flapping: changes told a second", told / FLAPPING, ""),
        Row("  the agent's memory grew", grown, "MiB", at_most=16),
        Row("  CPU of one core", used, "%"),
        Row("  who reads has the last states after", soon, "s", at_most=2),
        Row("  states that a client read that was stalled all the time", len(came), "", told, "told"),
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
