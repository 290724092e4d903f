"""What Prometheus reads, by its own parser."""

import time

from host import Host, wait_for
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

KIND = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def test_prometheus_reads_how_the_services_are(host: Host, name: str, other: str):
    def read(token: str | None = None) -> dict[tuple[str, str], float]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = host.call("GET", "/metrics", 200, headers=headers)
        assert answer.headers["content-type"] == KIND
        samples = [sample for family in parse(answer.text) for sample in family.samples]
        assert [sample.labels["version"] for sample in samples if sample.name == "podkeeper_build_info"]
        return {(sample.name, sample.labels["service"]): sample.value for sample in samples if "service" in sample.labels}

    host.create(name)
    host.start(name)
    figures = {"running": 1, "release": 1, "restarts_total": 0, "last_deployment_failed": 0, "healthy": 1}
    of_it = lambda: {metric: read().get((f"podkeeper_service_{metric}", name)) for metric in figures}
    wait_for(lambda: of_it() == figures, 60, lambda: f"it runs, and its check passes: {of_it()}")

    def counted() -> bool:
        """What the host counts is in both, and what it doesn't in neither."""
        shown, samples = host.call("GET", "/services/status", 200).json()[name], read()
        return all(
            (samples.get((f"podkeeper_service_{metric}", name), 0) > 0) == (shown[figure] is not None)
            for metric, figure in {"memory_bytes": "memory_bytes", "processes": "pids"}.items()
        )

    wait_for(counted, 10, lambda: f"what is counted is told: {read()}")
    wait_for(lambda: read()["podkeeper_service_cpu_seconds_total", name] > 0, 10, "what it computed is told")

    host.user("systemctl", "--user", "kill", "-s", "KILL", f"{name}@1.service")
    wait_for(lambda: read()["podkeeper_service_restarts_total", name] == 1, 30, "the restart is counted")
    host.call("POST", f"/services/{name}/stop", 200)
    assert read()["podkeeper_service_running", name] == 0
    host.create(other)
    made = {"name": f"{name}-{time.time_ns()}", "scope": "read", "service": other}
    token = host.call("POST", "/credentials/tokens", 201, json=made).json()["token"]
    assert {service for _, service in read(token)} == {other}, "a token of one service is told of that one alone"
    for one in (name, other):
        host.delete(one)
    assert not {service for _, service in read()} & {name, other}
