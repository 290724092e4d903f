"""What was asked for is done whole, whether the client leaves, the agent dies or a build goes on."""

import contextlib
import socket

import pytest
from containers import Gate, Push, built_behind, live_first
from host import Host, wait_for

STORE = "/var/lib/podkeeper/agent"


def with_a_volume(host: Host, name: str) -> None:
    host.create(name)
    host.call("PATCH", f"/services/{name}", 200, json={"volumes": {"data": "/data"}})
    host.start(name)
    assert f"{name}.data" in host.user("podman", "volume", "ls", "-q").split()


def removed(host: Host, name: str) -> bool:
    return host.call("GET", f"/services/{name}").status_code == 404


@pytest.mark.parametrize("dies", [False, True], ids=["client leaves", "agent dies"])
def test_a_removal_with_its_volumes_is_done_whole(host: Host, name: str, dies: bool):
    with_a_volume(host, name)
    headers = f"Host: localhost\r\nAuthorization: Bearer {host.token}\r\n\r\n"
    head = f"DELETE /services/{name}?volumes=true HTTP/1.1\r\n{headers}"
    with socket.create_connection(("127.0.0.1", 7070)) as client:
        client.sendall(head.encode())
        wait_for(lambda: removed(host, name), 30, "the removal is accepted")
        if dies:
            host.kill_agent()
    if dies:
        host.start_agent()
    available = lambda: host.call("GET", "/services/available", 200, params={"name": name}).json()["available"]
    wait_for(available, 120, "nothing of it is left")
    assert f"{name}.data" not in host.user("podman", "volume", "ls", "-q").split()


def test_settings_change_beside_a_build_and_none_is_lost(host: Host, name: str, gate: Gate, tmp_path):
    clone = live_first(host, name, tmp_path / "clone")
    domain = f"{name}.example.org"
    clone.commit({"Containerfile": built_behind(gate), "site/index.html": "second"})
    push = Push(clone)
    gate.wait_reached()
    path = f"/services/{name}"
    for patch in ({"volumes": {"a": "/a"}}, {"volumes": {"b": "/b"}}, {"keep": 3}, {"domains": [domain]}):
        host.call("PATCH", path, 200, json=patch)
    host.call("PATCH", path, 200, json={"volumes": {"a": None}})
    # All of them were answered before the build's end.
    service = host.call("GET", path, 200).json()
    assert service["last_deployment"]["state"] == "building"
    settings = service["settings"]
    assert (settings["volumes"], settings["keep"], settings["domains"]) == ({"b": "/b"}, 3, [domain])
    gate.open()
    push.end()
    assert host.serve(name).text == "second"
    routes = f"/var/lib/podkeeper-proxy/routes/{domain}"
    wait_for(lambda: host.run("ls", routes, check=False).strip() != "", 60, "the domain leads to it")


@contextlib.contextmanager
def store_on_a_small_disk(host: Host):
    """A new store, for a while, on a disk that a test can fill: SQLite has no room there that it took before."""
    token = host.token
    host.run("systemctl", "stop", "podkeeper.service")
    host.run("mount", "-t", "tmpfs", "-o", f"size=16m,mode=700,uid={host.uid()},gid={host.uid()}", "small", STORE)
    try:
        host.start_agent()
        host.sign_in()
        yield
    finally:
        host.run("systemctl", "stop", "podkeeper.service")
        host.run("umount", "-l", STORE)
        host.start_agent()
        host.token = token


def test_a_full_disk_of_the_store_is_waited_for(host: Host, name: str, gate: Gate, tmp_path):
    with store_on_a_small_disk(host):
        clone = live_first(host, name, tmp_path / "clone")
        clone.commit({"Containerfile": built_behind(gate), "site/index.html": "second"})
        push = Push(clone)
        gate.wait_reached()
        host.run("sh", "-c", f"head -c 16M /dev/zero >{STORE}/filler", check=False)
        gate.open()
        wait_for(lambda: host.journal_holds("its deployments wait for the store"), 60, "the slot waits")
        # Who has a key is let in all the same, and told what to do.
        refused = host.call("POST", f"/services/{name}/start", 507).json()
        assert refused["type"].endswith(":disk-full") and "space" in refused["hint"], refused
        assert host.call("GET", "/readyz", 503).json()["parts"]["store"] == "disk-full"
        assert host.serve(name).text == "first"
        host.run("rm", f"{STORE}/filler")
        push.end()
        assert host.serve(name).text == "second"
        wait_for(lambda: host.call("GET", "/readyz").status_code == 200, 120, "it can be written again")
        host.delete(name)
