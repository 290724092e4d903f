"""Who may: the git password and scoped tokens over real git, the audit log in the journal, and the command line."""

import json
import re

import pytest
import requests
from host import Clone, Host, git

PASSWORD = "correct wagon staple lantern"


def clone_with(password: str, name: str, folder, check: bool = True) -> str:
    url = f"http://any:{requests.utils.quote(password)}@127.0.0.1:7070/git/{name}.git"
    return git("clone", "-q", url, str(folder), cwd=folder.parent, check=check)


@pytest.fixture
def token(host: Host, request):
    """Makes tokens by the command line, which are removed afterwards."""
    made = []

    def make(*options: str) -> str:
        label = f"{request.node.name[:40]}-{len(made)}"
        made.append(label)
        return host.run("podkeeper", "token", "create", "--name", label, *options).strip()

    yield make
    for label in made:
        host.run("podkeeper", "token", "remove", label, check=False)


def newest(host: Host) -> int:
    """The number of the audit log's last row."""
    return host.call("GET", "/audit?limit=1", 200).json()["rows"][0]["id"]


def rows(host: Host, since: int, **wanted: str) -> list[dict]:
    """The rows of the audit log behind that one that hold these values, newest first."""
    page = host.call("GET", "/audit?limit=200", 200).json()["rows"]
    assert page[-1]["id"] <= since + 1, "all of them are there"
    return [row for row in page if row["id"] > since and all(row[key] == value for key, value in wanted.items())]


def test_git_takes_the_git_password_and_a_wrong_one_is_told_apart(host: Host, name: str, tmp_path):
    host.create(name)
    weak = host.call("POST", "/credentials/update", 422, json={"password": "password1234"}).json()
    assert weak["type"].endswith(":weak-password")
    host.call("POST", "/credentials/update", 204, json={"password": PASSWORD})
    clone_with(PASSWORD, name, tmp_path / "good")
    clone = Clone(tmp_path / "good")
    clone.commit({"site/index.html": "by password"})
    assert "Live:" in clone.push()
    assert host.serve(name).text == "by password"
    (deployment,) = host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"]
    assert deployment["actor"] == "git-password"
    assert "Authentication failed" in clone_with("wrong wagon staple", name, tmp_path / "wrong", check=False)
    # It is git's, and opens nothing else.
    headers = {"Authorization": f"Bearer {PASSWORD}"}
    assert requests.get("http://127.0.0.1:7070/services", headers=headers, timeout=60).status_code == 401


def test_a_scoped_token_fetches_pushes_or_neither(host: Host, name: str, token, tmp_path):
    host.create(name)
    reader = token("--scope", "read", "--service", name)
    deployer = token("--scope", "deploy", "--service", name, "--expires", "90d")
    clone_with(reader, name, tmp_path / "reader")
    clone = Clone(tmp_path / "reader")
    clone.commit({"site/index.html": "changed"})
    refused = clone.push(check=False)
    assert "403" in refused and "scope `deploy`" in refused, refused
    clone.git("remote", "set-url", "origin", f"http://any:{deployer}@127.0.0.1:7070/git/{name}.git")
    assert "Live:" in clone.push()

    def ask(token: str, method: str, path: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(method, f"http://127.0.0.1:7070{path}", headers=headers, timeout=60).status_code

    assert ask(deployer, "POST", f"/services/{name}/restart?quick=1") == 202
    assert ask(deployer, "GET", f"/services/{name}/env") == 403
    assert ask(deployer, "GET", "/services") == 200
    assert ask(deployer, "GET", "/audit") == 403
    assert ask(deployer, "GET", "/services/available?name=x") == 200
    listed = host.run("podkeeper", "token", "list")
    (token,) = [line.split() for line in listed.splitlines() if line.split()[1:3] == ["deploy", name]]
    assert token[3].startswith("20") and re.fullmatch(r"\d+[smh]", token[4]) and deployer not in listed
    # Its service's end is its own.
    host.delete(name)
    assert ask(deployer, "GET", f"/services/{name}") == 401


def test_what_was_changed_and_refused_is_in_the_store_and_in_the_journal(host: Host, name: str, token):
    host.create(name)
    since = newest(host)
    reader = token("--scope", "read")
    target = f"/services/{name}/stop"
    headers = {"Authorization": f"Bearer {reader}"}
    assert requests.post(f"http://127.0.0.1:7070{target}", headers=headers, timeout=60).status_code == 403
    assert requests.post(f"http://127.0.0.1:7070{target}", timeout=60).status_code == 401
    host.call("POST", target, 200)
    results = [(row["result"], row["address"]) for row in reversed(rows(host, since, target=target))]
    assert results == [("forbidden", "127.0.0.1"), ("not-signed-in", "127.0.0.1"), ("200", "127.0.0.1")]
    (row,) = rows(host, since, target=target, result="200")

    (entry,) = [json.loads(line) for line in host.journal("-o", "json", "-u", "podkeeper", f"PODKEEPER_AUDIT={row['id']}")]
    for field, value in [
        ("ACTOR", row["actor"]),
        ("ADDRESS", "127.0.0.1"),
        ("ACTION", "POST /services/:name/stop"),
        ("TARGET", target),
        ("RESULT", "200"),
        ("HASH", row["hash"]),
    ]:
        assert entry[f"PODKEEPER_{field}"] == value
    assert not host.journal_holds(reader)


def test_the_audit_log_is_whole_after_a_kill(host: Host, name: str):
    host.create(name)
    since = newest(host)
    host.call("POST", f"/services/{name}/stop", 200)
    host.kill_agent()
    host.start_agent()
    assert rows(host, since, target=f"/services/{name}/stop")
    assert "the audit log is whole" in host.run("podkeeper", "audit", "verify")


def test_a_token_that_can_not_be_is_refused_by_the_command_line(host: Host):
    for options, said in [
        (["--name", "a b"], "a token's name takes"),
        (["--name", "x", "--scope", "root"], "invalid value"),
        (["--name", "x", "--service", "no-such-service"], "There is no service"),
        (["--name", "x", "--expires", "soon"], "it takes a length of time"),
        (["--name", "x", "--expires", "2001-01-01"], "ended already"),
    ]:
        output = host.run("podkeeper", "token", "create", *options, check=False)
        assert said in output, (options, output)
