"""What goes wrong around the agent: each fault is named, what runs goes on, and the agent recovers by itself."""

import base64
import contextlib
import re
import socket
import subprocess

import pytest
import requests
from containers import BASE, SERVE, Gate, GitServer, built_behind, last, live_first, push_behind
from flapping import newest, same, shown
from host import Host, git, wait_for
from sockets import Client
from traces import STORAGE, assert_nothing_leaks, look


CACHE = "/var/lib/podkeeper/cache"


@pytest.fixture
def before(host: Host) -> dict[str, list[str]]:
    return look(host)


def ready(host: Host) -> requests.Response:
    return requests.get("http://127.0.0.1:7070/readyz", timeout=300)


# ---- Podman and systemd -------------------------------------------------------------------------------------------


def test_podman_away(host: Host, name: str, before, tmp_path):
    clone = live_first(host, name, tmp_path / "clone")
    host.user("systemctl", "--user", "stop", "podman.socket", "podman.service")
    try:
        for _ in range(2):
            answer = host.call("POST", f"/services/{name}/env/update", 503, json={"env": {"A": "1"}})
            assert answer.json()["type"] == "urn:podkeeper:problem:podman-unavailable"
            assert int(answer.headers["Retry-After"]) > 0
        answer = ready(host)
        assert answer.status_code == 503 and "podman" in answer.text.lower()
        assert host.call("GET", "/services/status", 200).json()[name]["state"] == "running"
        commit = clone.commit({"site/index.html": "second"})
        pushed = push_behind(clone)
        begun = {"commit": commit, "state": "building"}
        wait_for(lambda: last(host, name).items() >= begun.items(), 30, "it begins")
        # The build is Podman's program, not its socket; what follows waits for that.
        unit = f"build-{last(host, name)['id']}.service"
        wait_for(
            lambda: "exited" in host.user("systemctl", "--user", "show", "-P", "SubState", unit), 60, "the build has ended"
        )
        its = ("-u", "podkeeper", f"PODKEEPER_DEPLOYMENT={last(host, name)['id']}")
        wait_for(lambda: any("trying again" in line for line in host.journal(*its)), 30, "it waits for Podman")
        assert last(host, name)["state"] == "building" and host.serve(name).text == "first"
    finally:
        host.user("systemctl", "--user", "start", "podman.socket")
    host.wait_deployment(last(host, name)["id"])
    pushed.wait(600)
    assert host.serve(name).text == "second"
    assert ready(host).status_code == 200
    assert_nothing_leaks(host, before, {name: {"releases": [1, 2], "live": 2}})


def test_a_removal_that_failed_goes_on_when_it_is_asked_for_again(host: Host, name: str, before, tmp_path):
    live_first(host, name, tmp_path / "clone")
    host.user("systemctl", "--user", "stop", "podman.socket", "podman.service")
    try:
        for _ in range(2):
            host.call("DELETE", f"/services/{name}", 503)
        host.call("GET", f"/services/{name}", 404)
    finally:
        host.user("systemctl", "--user", "start", "podman.socket")
    # Maintenance may have come before.
    assert host.call("DELETE", f"/services/{name}", params={"volumes": "true"}).status_code in (200, 404)
    assert_nothing_leaks(host, before, {})


def test_the_users_manager_restarts_during_a_build(host: Host, name: str, gate: Gate, before, tmp_path):
    clone = live_first(host, name, tmp_path / "clone")
    clone.commit({"Containerfile": built_behind(gate), "site/index.html": "second"})
    pushed = push_behind(clone)
    gate.wait_reached()
    with Client(host.token, "/status") as client:
        state = lambda: newest(client.named("service")).get(name) or {}
        wait_for(lambda: client.named("snapshot"), 10, "somebody looks")
        host.run("systemctl", "restart", f"user@{host.uid()}.service")
        # What ran before comes back by systemd alone; the build was the manager's own, and is gone.
        wait_for(lambda: serves(host, name, "first"), 60, "the service is back")
        # Who looks is not shown how it was before the manager went.
        told = lambda: state().get("state") == "running" and same({name: state()}, shown(host, [name]))
        wait_for(told, 20, "it is shown as it is now")
    # The agent sees the build gone and says so, or sees the manager away and builds again once it is back.
    wait_for(lambda: gate.end() or last(host, name)["state"] in ("failed", "live"), 120, "it has ended")
    pushed.wait(600)
    deployment = last(host, name)
    if deployment["state"] == "failed":
        assert deployment["problem"]["code"] == "interrupted", deployment
        assert_nothing_leaks(host, before, {name: {"releases": [1], "live": 1}})
    else:
        assert_nothing_leaks(host, before, {name: {"releases": [1, 2], "live": 2}})
    clone.commit({"Containerfile": BASE + SERVE})
    clone.push()
    assert host.serve(name).text == "second"
    kept = [1, 3] if deployment["state"] == "failed" else [1, 2, 3]
    assert_nothing_leaks(host, before, {name: {"releases": kept, "live": 3}})


def serves(host: Host, name: str, text: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return host.serve(name, timeout=30).text == text
    return False


# ---- the disk -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(host: Host, folder: str, mib: int):
    """A file system of this size in a folder's place, for the service user."""
    uid = host.uid()
    host.run("mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700,uid={uid},gid={uid}", "small", folder)
    try:
        yield
    finally:
        host.run("umount", "-l", folder)


def test_disk_full_while_a_commit_is_written(host: Host, name: str, before, tmp_path):
    clone = live_first(host, name, tmp_path / "clone")
    with small_disk(host, "/var/lib/podkeeper/builds", 4):
        clone.commit({"site/large": random_bytes(8 << 20)})
        said = clone.push()
        assert "Failed (disk-full)" in said, said
        assert host.serve(name).text == "first"
        assert host.run("find", "/var/lib/podkeeper/builds", "-mindepth", "1") == "", "it gives back what it took"
    assert_nothing_leaks(host, before, {name: {"releases": [1], "live": 1}})
    assert host.start(name)["state"] == "live"


@pytest.mark.parametrize("floor", [0, 40], ids=["the disk's own end", "what the host keeps"])
def test_disk_full_during_a_build(host: Host, name: str, before, tmp_path, floor: int):
    clone = live_first(host, name, tmp_path / "clone")
    large = f"RUN head -c {30_000_000 if floor else 200_000_000} /dev/zero >/large && sleep 600\n"
    with host.configured(f"[builds]\nmin_free_mib = {2 * floor}\n"), small_storage(host, 60, CACHE):
        # With Podman's pause process, all that ran was ended.
        wait_for(lambda: host.serve(name).text == "first", 30, "it is back")
        clone.commit({"Containerfile": f"{BASE}{large}{SERVE}"})
        said = clone.push()
        assert "no space left on device" in said.lower() and "Failed (disk-full)" in said, said
        assert "space" in last(host, name)["problem"]["hint"] and host.serve(name).text == "first"
        assert_nothing_leaks(host, before, {name: {"releases": [1], "live": 1}})
    clone.commit({"Containerfile": BASE + SERVE, "site/index.html": "small"})
    clone.push()
    assert host.serve(name).text == "small"


def test_disk_full_while_an_image_is_taken_over(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    with small_storage(host, 60):
        before = look(host)
        before["file"].remove(f"git/{name}.git")
        clone.commit({"Containerfile": f"{BASE}RUN head -c 200000000 /dev/zero >/large\n{SERVE}"})
        said = clone.push()
        assert "no space left on device" in said and "Failed (disk-full)" in said, said
        assert "space" in last(host, name)["problem"]["hint"]
        # Podman can remove nothing on a disk without any space. With a little of it the agent clears up by itself.
        host.run("mount", "-o", "remount,size=100m", STORAGE)
        assert_nothing_leaks(host, before, {name: {}}, seconds=60)
        clone.commit({"Containerfile": BASE + SERVE, "site/index.html": "small"})
        clone.push()
        assert host.serve(name).text == "small"
        host.call("POST", f"/services/{name}/stop", 200)
    host.delete(name)


def test_disk_full_while_a_release_starts(host: Host, name: str, before, tmp_path):
    clone = live_first(host, name, tmp_path / "clone")
    clone.commit({"Containerfile": BASE + """CMD ["sh", "-c", "echo 'write /data: No space left on device' >&2; exit 125"]\n"""})
    assert "Failed (disk-full)" in clone.push()
    assert "Free some space" in last(host, name)["problem"]["hint"] and host.serve(name).text == "first"
    assert_nothing_leaks(host, before, {name: {"releases": [1], "live": 1}})


def test_disk_full_while_variables_change(host: Host, name: str):
    with small_storage(host, 60):
        host.create(name)
        update = lambda status, **env: host.call("POST", f"/services/{name}/env/update", status, json={"env": env, "restart": False})
        update(200, FIRST="kept")
        host.user("sh", "-c", f"head -c 100000000 /dev/zero >{STORAGE}/large", check=False)
        assert update(507, SECOND="more").json()["type"] == "urn:podkeeper:problem:disk-full"
        # Podman would have written the values of all services away.
        env = lambda: host.call("GET", f"/services/{name}/env", 200).json()["env"]
        assert env() == {"FIRST": "kept"}
        host.run("rm", f"{STORAGE}/large")
        update(200, SECOND="more")
        assert env() == {"FIRST": "kept", "SECOND": "more"}
        host.delete(name)


@contextlib.contextmanager
def small_storage(host: Host, mib: int, folder: str = STORAGE):
    """Podman with a storage of its own on a small file system, or the builds with a cache of that kind."""

    def begin_anew() -> None:
        """Podman's pause process keeps the mounts that it began with."""
        host.user("systemctl", "--user", "stop", "podman.socket", "podman.service")
        host.user("podman", "system", "migrate")
        host.user("systemctl", "--user", "start", "podman.socket")

    try:
        with small_disk(host, folder, mib):
            begin_anew()
            yield
    finally:
        begin_anew()


def random_bytes(size: int) -> bytes:
    with open("/dev/urandom", "rb") as file:
        return file.read(size)


# ---- the switch ---------------------------------------------------------------------------------------------------


def test_a_switch_that_can_not_be_ended_gives_the_traffic_back(host: Host, name: str, before, tmp_path):
    clone = live_first(host, name, tmp_path / "clone")
    routes = f"/var/lib/podkeeper-proxy/routes/{name}.localhost"
    host.run("chown", "root", routes)
    try:
        clone.commit({"site/index.html": "second"})
        said = clone.push()
        assert "Failed (" in said and "Live:" not in said, said
        assert host.call("GET", f"/services/{name}", 200).json()["release"] == 1
        assert host.serve(name).text == "first"
        assert_nothing_leaks(host, before, {name: {"releases": [1], "live": 1}})
    finally:
        host.run("chown", "podkeeper", routes)
    assert host.serve(name).text == "first"
    clone.commit({"site/index.html": "third"})
    clone.push()
    assert host.serve(name).text == "third"
    assert_nothing_leaks(host, before, {name: {"releases": [1, 3], "live": 3}})


# ---- builds -------------------------------------------------------------------------------------------------------


def test_a_build_that_hangs_is_ended(host: Host, name: str, gate: Gate, before, tmp_path):
    clone = live_first(host, name, tmp_path / "clone")
    with host.configured('[builds]\ntimeout = "5s"\n'):
        clone.commit({"Containerfile": built_behind(gate)})
        said = clone.push()
    assert "Failed (build-timeout)" in said and "5 s" in said, said
    assert not gate.reached()
    assert host.serve(name).text == "first"
    assert_nothing_leaks(host, before, {name: {"releases": [1], "live": 1}})


def test_a_build_that_prints_100_mb(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    line = "x" * 999
    clone.commit({"Containerfile": f"{BASE}RUN yes {line} | head -c 100000000; echo the end\n{SERVE}"})
    with host.configured('[builds]\ntimeout = "2h"\n'):
        memory = peak_of_agent(host)
        said = subprocess.run(
            ["git", "push", "origin", "HEAD:main"], cwd=clone.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ).stdout
    assert f"Live: http://{name}.localhost:8080".encode() in said
    # Each line of it reached who pushed, and none stayed in the agent's memory, which the journal is mapped into.
    assert said.count(b"remote: " + b"x" * 999) == 100_000 and b"remote: the end" in said
    assert memory() < 48 * 1024


def peak_of_agent(host: Host):
    """A function that tells by how many KiB the agent's memory grew at most since this call."""
    pid = host.agent_pid()
    host.run("sh", "-c", f"echo 5 >/proc/{pid}/clear_refs")

    def peak() -> int:
        return int(re.search(r"VmHWM:\s+(\d+)", host.run("cat", f"/proc/{pid}/status"))[1])

    start = peak()
    return lambda: peak() - start


def test_a_build_that_prints_binary(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    odd = r"printf 'a\0b\033[31m\377\376\r\n'; head -c 300000 /dev/urandom; echo; echo the end"
    clone.commit({"Containerfile": f"{BASE}RUN {odd}\n{SERVE}", "site/index.html": "odd"})
    said = subprocess.run(
        ["git", "push", "origin", "HEAD:main"], cwd=clone.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ).stdout
    assert b"the end" in said and b"Live: " in said
    assert host.serve(name).text == "odd"
    deployment = last(host, name)
    log = host.call("GET", f"/deployments/{deployment['id']}/log", 200)
    assert "the end" in log.content.decode("utf-8")


@pytest.mark.parametrize("missing", ["branch", "repository"])
def test_a_repository_without_commits(host: Host, name: str, before, tmp_path, missing: str):
    if missing == "branch":
        host.create(name)
        host.call("PATCH", f"/services/{name}", 200, json={"branch": "other"})
        server = contextlib.nullcontext()
    else:
        (tmp_path / "empty").mkdir()
        git("init", "-q", "--bare", cwd=tmp_path / "empty")
        server = GitServer(tmp_path)
    with host.configured("[git]\nallow_private = true\n"), server:
        if missing == "repository":
            host.create(name, external=f"git://127.0.0.1:{server.port}/empty")
        ended = host.start(name, "failed")
    # Nobody has named a branch of the one that lies elsewhere.
    next_step = "Push a commit" if missing == "branch" else "Say which branch"
    assert ended["problem"]["code"] == "no-commits" and next_step in ended["problem"]["hint"], ended
    assert_nothing_leaks(host, before, {name: {}})


# ---- names --------------------------------------------------------------------------------------------------------

WRONG = [
    "A", "Blog", "1blog", "-blog", "--help", "blog-", "a_b", "a.b", "blog.git", "a b", " blog", "blog ", "a+b", "a@1", "a:b",
    "ä", "bl\u043eg", "\u202eblog", "a" * 41, "a" * 5000, "..", ".", "...", "../etc", "a/b", "a\\b", "a\0b", "a\nb", "a\tb",
    "a%b", "%", "a;b", "$(id)", "`id`", "a'b", 'a"b', "a*", "a?b", "a#b", "{a}", "*",
]  # fmt: skip
RESERVED = ["available", "status", "build", "build-1", "podkeeper", "podkeeper-x", "podkeeper-proxy", "localhost", "podman"]


def raw(host: Host, method: str, target: str, headers: str = "", body: str = "") -> tuple[int, str]:
    """A request whose target is sent as it is: a library would tidy it."""
    with socket.create_connection(("127.0.0.1", 7070), 300) as connection:
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return int(answer.split(b" ", 2)[1]), answer.decode()


def encoded(name: str) -> str:
    return "".join(f"%{byte:02X}" for byte in name.encode())


def available(host: Host, name: str) -> dict | None:
    """Nothing while too many ask."""
    answer = host.call("GET", "/services/available", params={"name": name})
    return None if answer.status_code == 429 else answer.json()


def test_a_name_in_every_wrong_form(host: Host, before):
    names = lambda: [service["name"] for service in host.call("GET", "/services", 200).json()["services"]]
    services = names()
    bearer = f"Authorization: Bearer {host.token}\r\nContent-Type: application/json\r\n"
    calls = [
        ("PUT", "", '{"template": "static"}'), ("GET", "", ""), ("PATCH", "", '{"keep": 3}'), ("DELETE", "", ""),
        ("POST", "/start", ""), ("POST", "/stop", ""), ("POST", "/restart", ""), ("GET", "/logs", ""), ("GET", "/env", ""),
        ("POST", "/env/update", '{"env": {"A": "1"}}'), ("GET", "/deployments", ""),
    ]  # fmt: skip
    for name in [*WRONG, *RESERVED]:
        for method, rest, body in calls:
            code, answer = raw(host, method, f"/services/{encoded(name)}{rest}", bearer, body)
            assert code in (400, 404, 405, 414, 422), f"{method} {name[:60]!r}{rest}: {answer[:500]}"
            assert "application/problem+json" in answer or code == 414, answer[:500]
        asked = wait_for(lambda: available(host, name), 30, "the open call is answered")
        assert asked["available"] is False and asked["reason"] in ("invalid", "reserved"), asked
    code, answer = raw(host, "PUT", "/services/Blog", bearer, '{"template": "static"}')
    assert code == 422 and "urn:podkeeper:problem:invalid-name" in answer and "a-z" in answer
    code, answer = raw(host, "PUT", "/services/build-1", bearer, '{"template": "static"}')
    assert code == 422 and "urn:podkeeper:problem:name-reserved" in answer
    assert names() == services
    assert_nothing_leaks(host, before, {})


def test_a_name_in_every_wrong_form_over_git(host: Host, before, tmp_path):
    basic = "Authorization: Basic " + base64.b64encode(f"git:{host.token}".encode()).decode() + "\r\n"
    forms = [encoded(name) for name in [*WRONG, *RESERVED]]
    # And not encoded, as far as a request's head can hold them.
    forms += [name for name in WRONG if re.fullmatch(r"[!-~]+", name) and name not in ("?", "#")]
    for form in forms:
        for suffix in (".git", ""):
            for service in ("git-upload-pack", "git-receive-pack"):
                code, answer = raw(host, "GET", f"/git/{form}{suffix}/info/refs?service={service}", basic)
                assert code in (400, 404, 405, 414), f"{form[:60]!r}: {answer[:500]}"
                code, answer = raw(host, "POST", f"/git/{form}{suffix}/{service}", basic)
                assert code in (400, 404, 405, 414), f"{form[:60]!r}: {answer[:500]}"
    said = git("clone", f"http://any:{host.token}@127.0.0.1:7070/git/Blog.git", "x", cwd=tmp_path, check=False)
    assert "not found" in said, said
    assert_nothing_leaks(host, before, {})
