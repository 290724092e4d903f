"""The eleven calls on services, as a client makes them on a real host."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from host import Host, wait_for

BASE = "http://127.0.0.1:7070"
CALLS = [
    ("GET", "/services"),
    ("GET", "/services/status"),
    ("PUT", "/services/{name}"),
    ("DELETE", "/services/{name}"),
    ("POST", "/services/{name}/start"),
    ("POST", "/services/{name}/stop"),
    ("POST", "/services/{name}/restart"),
    ("GET", "/services/{name}/logs"),
    ("GET", "/services/{name}/env"),
    ("POST", "/services/{name}/env/update"),
]
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def problem(answer: requests.Response, code: str) -> dict[str, Any]:
    """The problem that an answer tells, whole and well-formed."""
    body = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert body["type"] == f"urn:podkeeper:problem:{code}" and body["status"] == answer.status_code, body
    assert body["title"] and body["detail"] and body["instance"] == answer.headers["X-Request-Id"]
    # Nothing of the host's inside.
    assert not re.search(r"/var/lib|/run/|/usr/|SELECT|src/|panicked", answer.text), answer.text
    return body


def available(host: Host, name: str) -> dict[str, Any]:
    """Asked without a key. Others may ask at the same moment, so a refusal for the rate is waited out."""

    def ask() -> requests.Response | None:
        answer = requests.get(f"{BASE}/services/available", params={"name": name}, timeout=300)
        return None if answer.status_code == 429 else answer

    answer = wait_for(ask, 10, "the rate allows it")
    assert answer.status_code == 200
    return answer.json()


def test_nothing_is_open_without_a_key_but_the_names(host: Host, name: str):
    for method, path in CALLS:
        answer = requests.request(method, BASE + path.format(name=name), timeout=300)
        assert answer.status_code == 401, path
        assert "podkeeper token create" in problem(answer, "not-signed-in")["hint"]
        assert answer.headers["Cache-Control"] == "no-store"
    assert available(host, name) == {"name": name, "available": True, "reason": None}


def test_the_cookie_opens_all_of_it(host: Host, name: str):
    session = requests.Session()
    signed_in = session.post(f"{BASE}/sessions", json={"token": host.token}, timeout=300)
    assert signed_in.status_code == 201 and "podkeeper" in session.cookies
    # A page of ours says where it comes from.
    session.headers["Origin"] = BASE
    assert session.put(f"{BASE}/services/{name}", json={"template": "static"}, timeout=300).status_code == 201
    for method, path in CALLS:
        if method == "GET":
            assert session.get(BASE + path.format(name=name), timeout=300).status_code == 200, path
    assert session.post(f"{BASE}/services/{name}/env/update", json={"env": {"A": "1"}}, timeout=300).status_code == 200
    foreign = session.delete(f"{BASE}/services/{name}", headers={"Origin": "http://evil.example"}, timeout=300)
    assert foreign.status_code == 403
    problem(foreign, "wrong-origin")
    assert session.delete(f"{BASE}/services/{name}", timeout=300).status_code == 200
    assert session.delete(f"{BASE}/sessions/current", timeout=300).status_code == 204
    assert session.get(f"{BASE}/services", timeout=300).status_code == 401


@pytest.mark.parametrize("as_", ["params", "data", "json"])
def test_create_takes_query_form_and_json(host: Host, name: str, as_: str):
    answer = host.call("PUT", f"/services/{name}", 201, **{as_: {"name": name, "template": "static"}})
    created = answer.json()
    assert answer.headers["Location"] == f"/services/{name}"
    assert created["name"] == name and created["source"] == {"type": "template", "template": "static"}
    assert created["state"] == "never-deployed" and created["release"] is None and created["last_deployment"] is None
    assert created["branch"] == "main" and MOMENT.fullmatch(created["created"])
    assert created["push_url"] == f"http://localhost:7070/git/{name}.git"
    assert created["url"] == f"http://{name}.localhost:8080"
    assert created["hook_url"] == f"http://localhost:7070/hooks/{name}" and len(created["hook_key"]) >= 32
    # The key is shown to who makes the service, and in no list.
    assert created["hook_key"] not in host.call("GET", "/services", 200).text
    taken = host.call("PUT", f"/services/{name}", 409, **{as_: {"template": "static"}})
    problem(taken, "name-taken")
    assert available(host, name) == {"name": name, "available": False, "reason": "taken"}


def test_what_makes_no_service(host: Host, name: str):
    for fields, status, code in (
        ({}, 400, "bad-request"),
        ({"template": "static", "external": "https://example.org/x"}, 400, "bad-request"),
        ({"template": "static", "tempalte": "x"}, 400, "bad-request"),
        ({"template": "static", "name": "another"}, 400, "bad-request"),
        ({"template": "nothing"}, 422, "unknown-template"),
        ({"template": "../static"}, 422, "unknown-template"),
        ({"template": 1}, 400, "bad-request"),
        ({"external": "file:///etc"}, 422, "invalid-uri"),
        ({"template": "static", "branch": "-x"}, 422, "invalid-name"),
    ):
        problem(host.call("PUT", f"/services/{name}", status, json=fields), code)
    problem(host.call("PUT", f"/services/{name}", 400, params={"template": "static"}, json={"template": "node"}), "bad-request")
    xml = {"Content-Type": "text/xml"}
    problem(host.call("PUT", f"/services/{name}", 415, data="<a/>", headers=xml), "unsupported-media-type")
    as_json = {"Content-Type": "application/json"}
    for body in ("{", "[]", '"text"', "\xff"):
        problem(host.call("PUT", f"/services/{name}", 400, data=body.encode("latin-1"), headers=as_json), "bad-request")
    large = host.call("PUT", f"/services/{name}", 413, json={"template": "x" * (2 << 20)})
    problem(large, "payload-too-large")
    assert available(host, name)["available"] is True
    assert name not in host.call("GET", "/services", 200).text


def test_a_name_in_every_wrong_form(host: Host, name: str):
    for wrong in (
        "A", "Blog", "1a", "-a", "a-", "a_b", "a.b", "a b", "a/b", "a\\b", "..", ".", "a\n", "a\0", "é", "ａ", "a%", "a@1",
        "a:b", "*", "?", "a" * 41, "a" * 5000, "-", "'", "$(id)", "a;b", "a\u202eb",
    ):  # fmt: skip
        assert available(host, wrong)["reason"] == "invalid", wrong
        for method, path in CALLS[2:]:
            answer = host.call(method, path.format(name=requests.utils.quote(wrong, safe="")), json={} if method != "GET" else None)
            # A dot is a step in a path, not a name; it leads nowhere.
            allowed = {".": (404, 405), "..": (404, 405)}.get(wrong, (422,))
            assert answer.status_code in allowed, (method, path, wrong, answer.text)
            if answer.status_code == 422:
                detail = problem(answer, "invalid-name")["detail"]
                assert len(detail) < 500 and detail.isprintable()
    for reserved in ("available", "status", "build", "build-1", "podkeeper", "podkeeper-x", "localhost", "podman", "git"):
        assert available(host, reserved) == {"name": reserved, "available": False, "reason": "reserved"}
        if reserved not in ("available", "status"):
            problem(host.call("PUT", f"/services/{reserved}", 422, json={"template": "static"}), "name-reserved")
    # A unit of this name that the service user's manager has already, of whatever kind.
    unit = f"{name[:30]}-unit"
    folder = "/var/lib/podkeeper/.config/systemd/user"
    for file in (f"{unit}.service", f"{unit}@.service"):
        host.write(f"{folder}/{file}", "[Service]\nExecStart=/bin/true\n")
        try:
            host.user("systemctl", "--user", "daemon-reload")
            assert available(host, unit)["reason"] == "reserved", file
            problem(host.call("PUT", f"/services/{unit}", 422, json={"template": "static"}), "name-reserved")
        finally:
            host.run("rm", f"{folder}/{file}")
    host.user("systemctl", "--user", "daemon-reload")
    assert available(host, unit)["available"] is True
    for query in ({}, {"name": ["a", "b"]}, {"name": "a", "x": "y"}):
        assert requests.get(f"{BASE}/services/available", params=query, timeout=300).status_code in (400, 429)
    assert available(host, "a" * 40)["available"] is True


@contextlib.contextmanager
def many_ask() -> Iterator[None]:
    """Meanwhile somebody asks again and again, without waiting for the answers."""
    ended = threading.Event()
    question = b"GET /services/available?name=a HTTP/1.1\r\nHost: localhost:7070\r\n"

    def ask() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 7070), 300) as connection:
                connection.sendall(100 * (question + b"\r\n") + question + b"Connection: close\r\n\r\n")
                while connection.recv(65536):
                    pass

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    try:
        yield
    finally:
        ended.set()
        asking.join(300)


def test_asking_for_names_is_limited(host: Host):
    def refused() -> list[requests.Response]:
        answer = requests.get(f"{BASE}/services/available", params={"name": "a"}, timeout=300)
        return [answer] if answer.status_code == 429 else []

    with many_ask():
        (answer,) = wait_for(refused, 30, "somebody is refused")
    assert answer.headers["Retry-After"] == "1"
    problem(answer, "rate-limited")
    assert available(host, "a")["available"] is True, "it ends by itself"


def test_lists_have_pages(host: Host, name: str):
    names = [f"{name[:30]}-{letter}" for letter in "abc"]
    try:
        for each in names:
            host.create(each)
        seen, cursor = [], None
        for _ in range(100):
            query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            got = host.call("GET", "/services", 200, params=query).json()
            assert len(got["services"]) <= 2
            seen += [service["name"] for service in got["services"]]
            cursor = got["cursor"]
            if cursor is None:
                break
        assert seen == sorted(seen) and [each for each in seen if each in names] == names
        for query in ({"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"limti": 1}):
            problem(host.call("GET", "/services", 400, params=query), "bad-request")

        one = names[0]
        for _ in range(3):
            host.start(one)
        first = host.call("GET", f"/services/{one}/deployments", 200, params={"limit": 2}).json()
        second = host.call("GET", f"/services/{one}/deployments", 200, params={"limit": 2, "cursor": first["cursor"]}).json()
        ids = [deployment["id"] for deployment in first["deployments"] + second["deployments"]]
        assert len(ids) == 3 and ids == sorted(ids, reverse=True) and second["cursor"] is None
        problem(host.call("GET", f"/services/{one}/deployments", 400, params={"cursor": "x"}), "bad-request")
    finally:
        for each in names:
            host.delete(each)


def test_start_status_restart_stop(host: Host, name: str):
    host.create(name)
    status = host.call("GET", "/services/status", 200).json()[name]
    assert status == {
        "state": "never-deployed", "sub_state": None, "since": None, "release": None, "commit": None, "cpu_percent": None,
        "memory_bytes": None, "pids": None, "received_bytes": None, "sent_bytes": None, "restarts": 0, "health": None,
        "recent_restarts": 0,
    }  # fmt: skip
    problem(host.call("POST", f"/services/{name}/restart", 409, params={"quick": "1"}), "conflict")

    began = datetime.now(UTC)
    answer = host.call("POST", f"/services/{name}/start", 202, data={"name": name})
    queued = answer.json()
    assert answer.headers["Location"] == f"/deployments/{queued['id']}"
    assert queued["state"] == "queued" and queued["cause"] == "start" and queued["service"] == name
    assert queued["actor"].startswith("token:tests-") and list(queued["steps"]) == ["queued"]
    live = host.wait_deployment(queued["id"])
    assert host.serve(name).status_code == 200

    def is_running() -> dict[str, Any] | None:
        now = host.call("GET", "/services/status", 200).json()[name]
        return now if now["since"] and now["cpu_percent"] is not None and now["health"] else None

    running = wait_for(is_running, 10, "its times and its health are known")
    assert running["state"] == "running" and running["sub_state"] == "running" and running["restarts"] == 0
    assert running["release"] == 1 and running["commit"] == live["commit"]
    assert running["health"] == "healthy", "the static template's image has a health check"
    assert 0 <= running["cpu_percent"] < 1000
    # This host may not count memory; a number is one.
    assert running["memory_bytes"] is None or 0 < running["memory_bytes"] < 1 << 32
    assert began.timestamp() - 1 < datetime.fromisoformat(running["since"]).timestamp() <= datetime.now(UTC).timestamp()
    one = host.call("GET", f"/services/{name}", 200).json()
    assert one["state"] == "running" and one["release"] == 1 and one["last_deployment"]["id"] == live["id"]
    listed = host.call("GET", "/services", 200).json()["services"]
    assert next(service for service in listed if service["name"] == name) == one

    # Without `quick` it is built again; with it the image is used again.
    rebuilt = host.wait_deployment(host.call("POST", f"/services/{name}/restart", 202, json={"quick": False}).json()["id"])
    assert rebuilt["cause"] == "restart" and rebuilt["from_release"] is None and "building" in rebuilt["steps"]
    for fields in ({"params": {"quick": ""}}, {"json": {"quick": None}}, {"data": {"quick": "no"}}, {"json": {"quick": 0}}):
        asked = host.call("POST", f"/services/{name}/restart", 202, **fields).json()
        assert asked["from_release"] is None, fields
        host.call("DELETE", f"/deployments/{asked['id']}")
        host.wait_state(asked["id"], "cancelled", "live")
    for fields in ({"params": {"quick": "1"}}, {"data": {"quick": "yes"}}, {"json": {"quick": True}}):
        current = host.call("GET", f"/services/{name}", 200).json()["release"]
        quick = host.wait_deployment(host.call("POST", f"/services/{name}/restart", 202, **fields).json()["id"])
        assert quick["from_release"] == current < quick["release"] and "building" not in quick["steps"]
    assert host.serve(name).status_code == 200

    stopped = host.call("POST", f"/services/{name}/stop", 200, json={"name": name}).json()
    assert stopped["state"] == "stopped" and stopped["release"] == quick["release"]
    assert host.call("GET", "/services/status", 200).json()[name]["state"] == "stopped"
    assert host.serve(name).status_code == 404
    # Once more says the same.
    assert host.call("POST", f"/services/{name}/stop", 200).json()["state"] == "stopped"
    host.wait_deployment(host.call("POST", f"/services/{name}/restart", 202, params={"quick": "true"}).json()["id"])
    assert host.serve(name).status_code == 200


def test_the_health_check_is_told_as_it_changes(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    check = "HEALTHCHECK --interval=1s --retries=1 --start-period=1s CMD test ! -e /tmp/ill"
    containerfile = re.sub("HEALTHCHECK .*", check, (clone.folder / "Containerfile").read_text())
    clone.commit({"Containerfile": containerfile})
    clone.push()

    def health() -> str | None:
        return host.call("GET", "/services/status", 200).json()[name]["health"]

    wait_for(lambda: health() == "healthy", 10, "it is healthy")
    host.user("podman", "exec", f"{name}-1", "touch", "/tmp/ill")
    wait_for(lambda: health() == "unhealthy", 10, "it is unhealthy")
    # What is known of it outlives the agent.
    host.run("systemctl", "restart", "podkeeper.service")
    host.wait_ready()
    wait_for(lambda: health() == "unhealthy", 10, "it is still known to be unhealthy")
    # What is wrong inside is not the unit's end.
    status = host.call("GET", "/services/status", 200).json()[name]
    assert status["state"] == "running" and status["restarts"] == 0
    wait_for(lambda: host.call("GET", "/services/status", 200).json()[name]["since"], 10, "its time is known again")
    host.user("podman", "exec", f"{name}-1", "rm", "/tmp/ill")
    wait_for(lambda: health() == "healthy", 10, "it is healthy again")
    host.call("POST", f"/services/{name}/stop", 200)
    assert health() is None


def test_delete_tells_what_is_gone_and_what_is_kept(host: Host, name: str):
    host.create(name)
    host.call("PATCH", f"/services/{name}", 200, json={"volumes": {"data": "/data"}})
    host.call("POST", f"/services/{name}/env/update", 200, json={"env": {"A": "secret"}})
    host.start(name)
    report = host.call("DELETE", f"/services/{name}", 200).json()
    assert report == {
        "removed": [f"route {name}.localhost", "release 1", "environment", "repository"],
        "kept": [f"volume {name}.data"],
    }
    wait_for(lambda: traces(host, name) == f"{name}.data", 10, lambda: f"only the volume is left: {traces(host, name)}")
    problem(host.call("DELETE", f"/services/{name}", 404), "not-found")
    problem(host.call("POST", f"/services/{name}/start", 404), "not-found")
    assert available(host, name)["available"] is True

    assert host.create(name)["kept_volumes"] == [f"{name}.data"]
    report = host.call("DELETE", f"/services/{name}", 200, params={"volumes": "true"}).json()
    assert f"volume {name}.data" in report["removed"] and report["kept"] == []
    wait_for(lambda: traces(host, name) == "", 10, lambda: f"nothing is left: {traces(host, name)}")
    # `false` is no wish, and another service's name in the body is none either.
    assert host.create(name)["kept_volumes"] == []
    problem(host.call("DELETE", f"/services/{name}", 400, json={"name": "another"}), "bad-request")
    host.call("DELETE", f"/services/{name}", 200, json={"name": name, "volumes": False})


def traces(host: Host, name: str) -> str:
    """All that the host has of a service."""
    state = "/var/lib/podkeeper"
    return "".join(
        [
            host.user("systemctl", "--user", "list-units", "--all", "--no-legend", "--plain", f"{name}@*"),
            host.user("systemctl", "--user", "list-units", "--all", "--no-legend", "--plain", f"podkeeper-check-{name}-[0-9]*"),
            host.user("podman", "ps", "-a", "--external", "--format", "{{.Names}}", "--filter", f"name={name}"),
            host.user("podman", "images", "-q", f"localhost/podkeeper/{name}"),
            host.user("podman", "secret", "ls", "--format", "{{.Name}}", "--filter", f"name={name}"),
            host.run("sh", "-c", f"ls -d {state}/.config/containers/systemd/{name}@* {state}/git/{name}* "
                     f"{state}/.config/systemd/user/podkeeper-check-{name}-* "
                     f"/var/lib/podkeeper-proxy/routes/{name}.* {state}/keys/{name}* 2>/dev/null || true"),
            host.user("podman", "volume", "ls", "-q", "--filter", f"name={name}"),
        ]
    ).strip()  # fmt: skip


def test_methods(host: Host, name: str):
    host.create(name)
    for path, allowed in (
        ("/services", "GET, HEAD, OPTIONS"),
        ("/services/status", None),
        (f"/services/{name}", None),
        (f"/services/{name}/start", "POST, OPTIONS"),
        (f"/services/{name}/stop", "POST, OPTIONS"),
        (f"/services/{name}/restart", "POST, OPTIONS"),
        (f"/services/{name}/logs", "GET, HEAD, OPTIONS"),
        (f"/services/{name}/env", "GET, HEAD, OPTIONS"),
        (f"/services/{name}/env/update", "POST, OPTIONS"),
    ):
        options = host.call("OPTIONS", path, 204)
        assert options.content == b"" and (allowed is None or options.headers["Allow"] == allowed)
        wrong = host.call("LOCK", path) if allowed is None else host.call("PATCH", path, 405)
        assert wrong.status_code in (400, 405)
        problem(wrong, "method-not-allowed" if wrong.status_code == 405 else "bad-request")
        if wrong.status_code == 405:
            assert wrong.headers["Allow"] == options.headers["Allow"]
        if "GET" in options.headers["Allow"]:
            got, head = host.call("GET", path, 200), host.call("HEAD", path, 200)
            assert head.content == b"" and head.headers["Content-Type"] == got.headers["Content-Type"]
            assert got.headers["Cache-Control"] == "no-store" and got.headers["X-Content-Type-Options"] == "nosniff"
            assert "ETag" not in got.headers, "what must not be stored is never asked for again by its tag"
        else:
            assert host.call("HEAD", path).status_code == 405
    assert set(host.call("OPTIONS", f"/services/{name}", 204).headers["Allow"].split(", ")) == {
        "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS",
    }  # fmt: skip
    for path in ("/services/", f"/services/{name}/nothing", "/service", "/services/a/b/c"):
        problem(host.call("GET", path, 404), "not-found")


def test_prefer_waits_and_says_so(host: Host, name: str):
    host.create(name)
    soon = host.call("POST", f"/services/{name}/start", 202, headers={"Prefer": "respond-async, wait=0"})
    assert soon.headers["Preference-Applied"] == "wait=0" and soon.json()["state"] != "live"
    host.wait_deployment(soon.json()["id"])
    plain = host.call("POST", f"/services/{name}/restart", 202, params={"quick": "1"}, headers={"Prefer": "nonsense"})
    assert "Preference-Applied" not in plain.headers
    until_the_end = {"headers": {"Prefer": "wait=600"}, "timeout": 900}
    ended = host.call("POST", f"/services/{name}/restart", 202, params={"quick": "1"}, **until_the_end)
    assert ended.json()["state"] == "live"
