"""Hooks as forges call them, with curl, on a real host."""

import hashlib
import hmac
import json
import pathlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from containers import Gate, built_behind, push_behind
from host import ROOT, Host


def payload(name: str) -> bytes:
    """The body of a delivery as a forge's documentation shows it."""
    return (ROOT / f"tests/data/hooks/{name}.http").read_bytes().split(b"\n\n", 1)[1]


def curl(*arguments: str, body: bytes | None = None) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of an answer."""
    data = [] if body is None else ["--data-binary", "@-"]
    command = ["curl", "-sS", "-m", "600", "-D", "/dev/stderr", *data, *arguments]
    done = subprocess.run(command, input=body or b"", capture_output=True, check=True)
    first, *lines = done.stderr.decode().strip().splitlines()
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    return int(first.split()[1]), headers, json.loads(done.stdout or b"null")


def github(name: str, key: str, delivery: str, body: bytes, event: str = "push") -> tuple[int, dict[str, str], Any]:
    digest = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/044aadd",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": f"sha256={digest}",
    }
    lines = [part for header, value in headers.items() for part in ("-H", f"{header}: {value}")]
    return curl(*lines, f"http://127.0.0.1:7070/hooks/{name}", body=body)


def deployments(host: Host, name: str) -> list[dict[str, Any]]:
    return host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"]


def hook(host: Host, name: str) -> dict[str, Any]:
    return host.call("GET", f"/services/{name}/hook", 200).json()


def test_a_push_at_a_forge_is_built_and_served_and_builds_once(host: Host, name: str):
    created = host.create(name)
    key = created["hook_key"]
    assert created["hook_url"].endswith(f"/hooks/{name}")
    assert github(name, key, "ping", payload("github-ping"), "ping")[::2] == (200, {"ping": name})
    status, headers, deployment = github(name, key, "one", payload("github-push"))
    assert (status, headers["location"]) == (202, f"/deployments/{deployment['id']}")
    assert (deployment["cause"], deployment["actor"]) == ("hook", "hook:github")
    host.wait_deployment(deployment["id"])
    assert host.serve(name).status_code == 200

    # What is remembered is on the disk, so that a killed agent remembers it, too.
    host.kill_agent()
    host.start_agent()
    status, headers, again = github(name, key, "one", payload("github-push"))
    assert (status, headers["location"], again["state"]) == (202, f"/deployments/{deployment['id']}", "live")
    assert len(deployments(host, name)) == 1
    status, _, ignored = github(name, key, "two", payload("github-tag"))
    assert status == 200 and "v1.0" in ignored["ignored"]
    shown = hook(host, name)
    assert [one["outcome"] for one in shown["deliveries"]] == ["ignored", "deployed", "ping"]
    assert shown["deliveries"][1]["state"] == "live" and shown["key"] == key
    # The key is in no log and no unit.
    assert not host.journal_holds(key)


def test_the_key_alone_builds_and_a_new_one_kills_it(host: Host, name: str):
    old = host.create(name)["hook_key"]
    address = f"http://127.0.0.1:7070/hooks/{name}"
    status, _, deployment = curl(f"{address}?key={old}")
    assert status == 202
    host.wait_deployment(deployment["id"])
    assert host.serve(name).status_code == 200
    host.call("HEAD", f"/hooks/{name}?key={old}", 405)
    new = host.call("POST", f"/services/{name}/hook/rotate", 200).json()["key"]
    assert new != old
    refused = curl(f"{address}?key={old}")
    unknown = curl(f"http://127.0.0.1:7070/hooks/{name}x?key={new}")
    assert refused[0] == unknown[0] == 404
    assert refused[2] | {"instance": ""} == unknown[2] | {"instance": ""}
    assert curl("-d", f"key={new}&ref=dev", address)[::2] == (
        200,
        {"ignored": "the branch `dev` was pushed, and `main` is deployed"},
    )
    assert len(deployments(host, name)) == 1


def test_ten_pushes_during_a_build_are_one_more_build(host: Host, name: str, gate: Gate, tmp_path: pathlib.Path):
    key = host.create(name)["hook_key"]
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": built_behind(gate)})
    push = push_behind(clone)
    gate.wait_reached()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: github(name, key, f"burst-{n}", payload("github-push")), range(10)))
    assert {status for status, _, _ in answers} == {202}
    assert [one["state"] for one in deployments(host, name)][-1] == "building"
    gate.open()
    newest = max(answer["id"] for _, _, answer in answers)
    host.wait_deployment(newest)
    push.wait(600)
    states = [one["state"] for one in deployments(host, name)]
    assert states == ["live"] + ["superseded"] * 9 + ["live"]
    shown = [one["state"] for one in hook(host, name)["deliveries"]]
    assert sorted(shown) == ["live"] + ["superseded"] * 9
