"""What Prometheus reads, by its own parser."""

from host import Host, wait_for
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

KIND = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def test_prometheus_reads_how_the_services_are(host: Host, name: str):
    def read(token: str | None = None) -> dict[tuple[str, str], float]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = host.call("GET", "/metrics", 200, headers=headers)
        assert answer.headers["content-type"] == KIND
        samples = [sample for family in parse(answer.text) for sample in family.samples]
        assert [sample.labels["version"] for sample in samples if sample.name == "podkeeper_build_info"]
        return {(sample.name, sample.labels["service"]): sample.value for sample in samples if "service" in sample.labels}

    host.create(name)
    host.start(name)
    first = read()
    for metric, value in {"running": 1, "release": 1, "restarts_total": 0, "last_deployment_failed": 0}.items():
        assert first[f"podkeeper_service_{metric}", name] == value, metric
    wait_for(lambda: read().get(("podkeeper_service_healthy", name)) == 1, 60, "its check passes")
    # What the host counts is in both, and what it doesn't in neither.
    shown = host.call("GET", "/services/status", 200).json()[name]
    for metric, figure in {"memory_bytes": "memory_bytes", "processes": "pids"}.items():
        assert (first.get((f"podkeeper_service_{metric}", name), 0) > 0) == (shown[figure] is not None), metric
    assert first["podkeeper_service_cpu_seconds_total", name] > 0

    host.user("systemctl", "--user", "kill", "-s", "KILL", f"{name}@1.service")
    wait_for(lambda: read()["podkeeper_service_restarts_total", name] == 1, 30, "the restart is counted")
    host.call("POST", f"/services/{name}/stop", 200)
    assert read()["podkeeper_service_running", name] == 0
    other = f"{name[:30]}-other"
    host.create(other)
    made = {"name": name, "scope": "read", "service": other}
    token = host.call("POST", "/credentials/tokens", 201, json=made).json()["token"]
    assert {service for _, service in read(token)} == {other}, "a token of one service is told of that one alone"
    for one in (name, other):
        host.delete(one)
    assert not {service for _, service in read()} & {name, other}
