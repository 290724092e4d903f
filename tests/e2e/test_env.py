"""Variables: any text arrives byte for byte in the container, and is shown nowhere on the way."""

import json

import pytest
from containers import Gate, built_behind, last, live_first, push_behind
from host import Host, wait_for

# Answers with its own environment, as bytes.
APP = """
import http.server, json, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({key.decode(): value.hex() for key, value in os.environb.items()}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
KIB = 1024
# So that a value is recognised wherever it may have gone.
MARK = "Zq7-mark-Zq7"
VALUES = {
    "NEWLINES": f"{MARK}\none\n\ntwo\r\nthree\n",
    "QUOTES": f"{MARK} 'single' \"double\" `back` \\ \\n \\\\",
    "UNICODE": f"{MARK} ünïçödé 日本語 🦀 \u202e\u0007\t\x01\x7f",
    "SHELL": f"{MARK} $HOME ${{HOME}} $(id) %h %% %n ; & | > < * ? # !",
    "SPACES": f"  {MARK}  ",
    "EQUALS": f"={MARK}=a=b=",
    "JSON": json.dumps({"key": [MARK, None]}),
    "LARGE": MARK + "x" * (64 * KIB - len(MARK)),
    "EMPTY": "",
    "_under_score1": MARK,
    # Podman's own way to say "the host's", and a name that programs look at.
    "PATH_LIKE": "*",
    "HTTP_PROXY": f"http://{MARK}.invalid:1",
}


@pytest.fixture
def running(host: Host, name: str, tmp_path):
    """The service of this test, which answers with its environment."""
    host.create(name, "python")
    clone = host.clone(name, tmp_path / "clone")
    # It has nothing to finish, and as the first process of its container it would ignore SIGTERM.
    containerfile = (clone.folder / "Containerfile").read_text() + "STOPSIGNAL SIGKILL\n"
    clone.commit({"app.py": APP, "Containerfile": containerfile})
    assert "Live:" in clone.push()
    return name


def update(host: Host, name: str, expect: int = 202, **fields) -> dict:
    answer = host.call("POST", f"/services/{name}/env/update", expect, json=fields).json()
    if expect == 202:
        assert answer["cause"] == "env"
        host.wait_deployment(answer["id"])
    return answer


def inside(host: Host, name: str) -> dict[str, bytes]:
    return {key: bytes.fromhex(value) for key, value in host.serve(name).json().items()}


def test_any_text_arrives_and_is_shown_nowhere(host: Host, running: str):
    before = inside(host, running)
    update(host, running, env=VALUES)
    found = inside(host, running)
    assert {key: found.get(key) for key in VALUES} == {key: value.encode() for key, value in VALUES.items()}
    # Nothing else came or went.
    ignored = {"HOSTNAME"} | set(VALUES)
    assert {k: v for k, v in found.items() if k not in ignored} == {k: v for k, v in before.items() if k not in ignored}
    shown = host.call("GET", f"/services/{running}/env", 200)
    assert shown.json()["env"] == VALUES and shown.headers["Cache-Control"] == "no-store"
    assert "PATH" in shown.json()["image"] and not set(VALUES) & set(shown.json()["image"])

    # Beside the container itself, only Podman's secret store knows.
    container = f"{running}-2"
    assert MARK not in host.user("podman", "inspect", container)
    assert MARK not in host.user("podman", "inspect", f"localhost/podkeeper/{running}:2")
    secrets = [line for line in host.user("podman", "secret", "ls", "--format", "{{.Name}}").split() if f"-{running}-" in line]
    # The store takes no empty secret, and an empty value is none.
    assert len(secrets) == len(VALUES) - 1
    assert MARK not in host.user("podman", "secret", "inspect", *secrets)
    quadlet = host.run("cat", f"/var/lib/podkeeper/.config/containers/systemd/{running}@2.container")
    unit = host.user("systemctl", "--user", "cat", f"{running}@2.service")
    assert "QUOTES" in quadlet and MARK not in quadlet and MARK not in unit
    assert MARK not in host.user("systemctl", "--user", "show", f"{running}@2.service")
    assert not host.journal_holds(MARK)
    assert MARK not in host.run("ps", "axww", "-o", "args")
    files = host.run("sh", "-c", "ls /var/lib/podkeeper/agent/store.db*").split()
    assert files and host.code("grep", "-qaF", "-e", MARK, "--", *files) == 1
    for path in ("/services", "/services/status", f"/services/{running}", f"/services/{running}/deployments"):
        assert MARK not in host.call("GET", path, 200).text


def test_null_removes_replace_replaces_and_restart_may_wait(host: Host, running: str):
    update(host, running, env={"A": "1", "B": "2", "C": "3"})
    # What is so already makes no release.
    same = update(host, running, 200, env={"A": "1", "NEVER_SET": None})
    assert same == {"keys": ["A", "B", "C"], "changed": False}
    assert update(host, running, 200, env={"A": "1", "B": "2", "C": "3"}, replace=True)["changed"] is False
    update(host, running, env={"B": None, "C": "4", "NEVER_SET": None})
    found = inside(host, running)
    assert (found.get("A"), found.get("B"), found.get("C")) == (b"1", None, b"4")
    update(host, running, env={"D": "5"}, replace=True)
    found = inside(host, running)
    assert (found.get("A"), found.get("C"), found.get("D")) == (None, None, b"5")

    answer = update(host, running, 200, env={"D": "6", "E": "7"}, restart=False)
    assert answer == {"keys": ["D", "E"], "changed": True}
    assert inside(host, running).get("D") == b"5"
    assert host.call("GET", f"/services/{running}/env", 200).json()["env"] == {"D": "6", "E": "7"}
    quick = host.call("POST", f"/services/{running}/restart", 202, json={"quick": True}).json()
    host.wait_deployment(quick["id"])
    assert inside(host, running).get("E") == b"7"

    # A form holds the object as a text; a service that is stopped gets no new release.
    host.call("POST", f"/services/{running}/stop", 200)
    form = host.call("POST", f"/services/{running}/env/update", 200, data={"env": '{"F": "ü & =", "E": null}', "restart": "no"})
    assert form.json() == {"keys": ["D", "F"], "changed": True}
    assert update(host, running, 200, env={"G": ""}) == {"keys": ["D", "F", "G"], "changed": True}
    # The values that nobody names any more are gone, but those of releases that are kept for a rollback.
    update(host, running, 200, env={}, replace=True)
    host.start(running)
    releases = host.run("sh", "-c", f"cat /var/lib/podkeeper/.config/containers/systemd/{running}@*.container")

    def unnamed() -> list[str]:
        secrets = host.user("podman", "secret", "ls", "--format", "{{.Name}}").split()
        return [secret for secret in secrets if f"-{running}-" in secret and secret not in releases]

    # They go behind the release that is live by now.
    wait_for(lambda: not unnamed(), 10, lambda: f"no release names {unnamed()}, and they are gone")
    assert f"podkeeper-{running}-F-" not in releases


def test_a_file_of_variables_reaches_the_program_and_the_same_again_changes_nothing(host: Host, running: str) -> None:
    key = f"-----BEGIN {MARK}-----\nAb+/=\n\n-----END {MARK}-----\n"
    dotted = {"discovery.type": "single-node", "a-b": "1", "É[0]": "é", "2#;": ""}
    text = f'\ufeff# why\r\nPORT=1\r\nKEY="{key}" # why\r\nexport A=x # why\r\n'
    text += "".join(f"{name}='{value}'\n" for name, value in dotted.items())
    command = ("podkeeper", "env", running, "--file", "-")
    host.run(*command, input=text)
    found = inside(host, running)
    wanted = {"KEY": key, "A": "x"} | dotted
    assert {name: found.get(name) for name in wanted} == {name: value.encode() for name, value in wanted.items()}
    assert found["PORT"] != b"1"
    deployments = host.call("GET", f"/services/{running}/deployments", 200).json()
    assert "nothing is changed" in host.run(*command, "--remove", "NOTTHERE", input=text)
    assert host.call("GET", f"/services/{running}/deployments", 200).json() == deployments
    host.run(*command, "--remove", "discovery.type", "--remove", "A", input="KEY=\n")
    found = inside(host, running)
    assert (found["KEY"], found["a-b"]) == (b"", b"1") and not {"A", "discovery.type"} & set(found)
    # Their secrets go with the service.
    host.delete(running)
    assert f"-{running}-" not in host.user("podman", "secret", "ls", "--format", "{{.Name}}")


def test_variables_that_are_set_during_a_build_are_those_of_what_it_becomes(host: Host, name: str, gate: Gate, tmp_path):
    clone = live_first(host, name, tmp_path / "clone")
    clone.commit({"Containerfile": built_behind(gate), "site/index.html": "second"})
    pushed = push_behind(clone)
    gate.wait_reached()
    waits = host.call("POST", f"/services/{name}/env/update", 202, json={"env": {"A": "1"}}).json()
    assert waits["state"] == "queued"
    gate.open()
    host.wait_deployment(waits["id"])
    pushed.wait(600)
    assert (host.serve(name).text, last(host, name)["from_release"]) == ("second", 2)
    assert host.user("podman", "exec", f"{name}-3", "sh", "-c", "echo $A").strip() == "1"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"env": {"A": "x" * (64 * KIB + 1)}}, "invalid-env"),
        ({"env": {f"K{n}": "x" * (64 * KIB) for n in range(4)}}, "invalid-env"),
        ({"env": {"A": "a\0b"}}, "invalid-env"),
        ({"env": {"A=B": "x"}}, "invalid-env"),
        ({"env": {"": "x"}}, "invalid-env"),
        ({"env": {"A\n": "x"}}, "invalid-env"),
        ({"env": {"A B": "x"}}, "invalid-env"),
        ({"env": {"A,B": "x"}}, "invalid-env"),
        ({"env": {"A%h": "x"}}, "invalid-env"),
        ({"env": {"A\u202eB": "x"}}, "invalid-env"),
        ({"env": {"x" * 201: "x"}}, "invalid-env"),
        ({"env": {"PORT": "1"}}, "invalid-env"),
        ({"env": {"A": 1}}, "bad-request"),
        ({"env": {"A": ["x"]}}, "bad-request"),
        ({"env": ["A"]}, "bad-request"),
        ({"env": "no object"}, "bad-request"),
        ({"env": {"A": "x"}, "restat": False}, "bad-request"),
        ({}, "bad-request"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_can_be_no_variable_changes_nothing(host: Host, name: str, fields: dict, code: str):
    host.create(name)
    host.call("POST", f"/services/{name}/env/update", 200, json={"env": {"KEPT": "1"}})
    status = 422 if code == "invalid-env" else 400
    assert host.call("POST", f"/services/{name}/env/update", status, json=fields).json()["type"].endswith(f":{code}")
    assert host.call("GET", f"/services/{name}/env", 200).json() == {"env": {"KEPT": "1"}, "image": {}}


def test_the_bounds_count_what_is_set_already(host: Host, name: str):
    host.create(name)
    most = {f"K{n}": "x" * (64 * KIB - 2) for n in range(4)}
    update(host, name, 200, env=most)
    assert update(host, name, 422, env={"A": ""})["type"].endswith(":invalid-env")
    update(host, name, 200, env={"K0": None, "A": "x"})
    # An environment goes in the body: a query is written into logs.
    host.call("POST", f"/services/{name}/env/update", 400, params={"env": "{}"})
    host.call("POST", f"/services/{name}/env/update", 400, json={"env": {}, "name": "another"})
    host.call("POST", f"/services/{name}/env/update", 200, json={"env": {}, "name": name})
    host.call("GET", "/services/nothing-here/env", 404)


def test_a_value_that_a_stopped_service_has_no_more_is_in_no_store(host: Host, running: str) -> None:
    def secrets() -> set[str]:
        names = host.user("podman", "secret", "ls", "--format", "{{.Name}}").split()
        return {secret for secret in names if f"-{running}-" in secret}

    host.call("POST", f"/services/{running}/stop", 200)
    before = secrets()
    update(host, running, 200, env={"TOKEN": MARK})
    assert len(secrets()) == len(before) + 1
    update(host, running, 200, env={"TOKEN": None})
    assert secrets() == before
