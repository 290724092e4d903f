"""How long it takes to tell how many services are."""

import http.client
import json
import os
import time

from host import Host
from measure import Row, ensure_services, median, quantile

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
    return [
        Row(
            f"GET /services/status, {UNITS} running", median(ours), "ms", median(theirs), "systemctl show of them", ratio_at_most=1
        ),
        Row(f"GET /services, {UNITS} running: p50", median(listed), "ms", median(floor), "GET /healthz"),
        Row(f"GET /services, {UNITS} running: p99", quantile(listed, 0.99), "ms", quantile(floor, 0.99), "GET /healthz"),
    ]
