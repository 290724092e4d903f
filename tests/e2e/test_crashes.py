"""kill -9 of the agent in every state of a deployment: the next agent goes on, or fails it with a reason, and nothing
is left behind."""

import contextlib
import signal
import sqlite3

import pytest
from containers import BASE, SERVE, Gate, GitServer, built_behind, last, live_first, push_behind, started_behind
from host import Host, git, wait_for
from traces import assert_nothing_leaks, look


@pytest.fixture(autouse=True)
def runs_again(host: Host):
    """However a test ends, the next one finds an agent."""
    yield
    host.run("systemctl", "start", "podkeeper.service")
    host.wait_ready()


@pytest.fixture
def before(host: Host) -> dict[str, list[str]]:
    """What is on the host before the test makes its service."""
    return look(host)


def story(deployment: dict) -> list[str]:
    return sorted(deployment["steps"], key=lambda step: deployment["steps"][step])


WHOLE = ["queued", "fetching", "building", "starting", "checking", "live"]


def test_between_the_moved_ref_and_the_first_row(host: Host, name: str, before, tmp_path):
    clone = live_first(host, name, tmp_path / "clone")
    commit = clone.commit({"site/index.html": "second"})
    # The hook finds nobody to tell: the ref has moved, and no row tells of it.
    host.run("mv", "/run/podkeeper/agent.sock", "/run/podkeeper/away.sock")
    try:
        said = clone.push()
        assert "The push is kept" in said, said
        host.kill_agent()
    finally:
        host.run("mv", "/run/podkeeper/away.sock", "/run/podkeeper/agent.sock")
    host.start_agent()
    deployment = wait_for(lambda: last(host, name)["commit"] == commit and last(host, name), 30, "it is queued")
    assert deployment["cause"] == "push" and deployment["actor"] == "agent"
    host.wait_deployment(deployment["id"])
    assert host.serve(name).text == "second"
    assert_nothing_leaks(host, before, {name: {"releases": [1, 2], "live": 2}})


def test_queued(host: Host, name: str, gate: Gate, before, tmp_path):
    clone = live_first(host, name, tmp_path / "clone")
    other = f"{name}-2"
    host.create(other)
    try:
        ahead = host.clone(other, tmp_path / "ahead")
        ahead.commit({"Containerfile": built_behind(gate), "site/index.html": "ahead"})
        pushes = [push_behind(ahead)]
        gate.wait_reached()
        clone.commit({"site/index.html": "second"})
        pushes.append(push_behind(clone))
        wait_for(lambda: len(host.call("GET", f"/services/{name}/deployments").json()["deployments"]) == 2, 30, "it waits")
        deployment = last(host, name)
        assert deployment["state"] == "queued"
        host.kill_agent()
        host.start_agent()
        assert last(host, name)["state"] == "queued" and last(host, other)["state"] == "building"
        gate.open()
        host.wait_deployment(last(host, other)["id"])
        assert story(host.wait_deployment(deployment["id"])) == WHOLE
        assert host.serve(name).text == "second" and host.serve(other).text == "ahead"
        for each in pushes:
            each.wait(600)
        assert_nothing_leaks(
            host, before, {name: {"releases": [1, 2], "live": 2}, other: {"releases": [1], "live": 1}}
        )
    finally:
        host.delete(other)


def test_fetching(host: Host, name: str, before, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    git("init", "-q", "-b", "main", cwd=source)
    (source / "index.html").write_text("from elsewhere")
    git("add", "-A", cwd=source)
    git("commit", "-q", "-m", "first", cwd=source)
    with host.configured('[git]\nallow_private = true\n'), GitServer(tmp_path) as server:
        server.signal(signal.SIGSTOP)
        host.create(name, external=f"git://127.0.0.1:{server.port}/source", branch="main")
        deployment = host.call("POST", f"/services/{name}/start", 202).json()
        host.wait_state(deployment["id"], "fetching")
        fetches = lambda: host.code("pgrep", "-f", "git.*fetch.*podkeeper/fetched") == 0
        wait_for(fetches, 10, "git waits for the server")
        host.kill_agent()
        wait_for(lambda: not fetches(), 10, "git has ended with the agent")
        host.start_agent()
        assert last(host, name)["state"] == "fetching"
        server.signal(signal.SIGCONT)
        assert story(host.wait_deployment(deployment["id"])) == WHOLE
    assert host.serve(name).text == "from elsewhere"
    assert_nothing_leaks(host, before, {name: {"releases": [1], "live": 1}})


@pytest.mark.parametrize("ends", ["while the agent is away", "afterwards", "badly"])
def test_building(host: Host, name: str, gate: Gate, before, tmp_path, ends: str):
    clone = live_first(host, name, tmp_path / "clone")
    wrong = "RUN echo no luck; exit 3\n" if ends == "badly" else ""
    clone.commit({"Containerfile": f"{BASE}RUN {gate.waits}\n{wrong}{SERVE}", "site/index.html": "second"})
    pushed = push_behind(clone)
    gate.wait_reached()
    deployment = last(host, name)
    assert deployment["state"] == "building"
    host.kill_agent()
    pushed.wait(600)
    assert gate.reached(), "the build goes on without the agent"
    if ends == "afterwards":
        host.start_agent()
        assert last(host, name)["state"] == "building"
    gate.open()
    if ends != "afterwards":
        unit = f"build-{deployment['id']}.service"
        running = lambda: host.user("systemctl", "--user", "show", "-P", "MainPID", unit).strip() != "0"
        wait_for(lambda: not running(), 60, "the build has ended")
        host.start_agent()
    if ends == "badly":
        ended = host.wait_deployment(deployment["id"], "failed")
        assert ended["problem"]["code"] == "build-failed" and "no luck" in ended["tail"]
        assert host.serve(name).text == "first"
        assert_nothing_leaks(host, before, {name: {"releases": [1], "live": 1}})
    else:
        assert story(host.wait_deployment(deployment["id"])) == WHOLE
        assert host.serve(name).text == "second"
        assert_nothing_leaks(host, before, {name: {"releases": [1, 2], "live": 2}})


@pytest.mark.parametrize("becomes", ["ready", "never ready"])
@pytest.mark.parametrize("state", ["starting", "checking"])
def test_starting_and_checking(host: Host, name: str, gate: Gate, before, tmp_path, state: str, becomes: str):
    clone = live_first(host, name, tmp_path / "clone")
    env = host.call("POST", f"/services/{name}/env/update", 200, json={"env": {"A": "1"}, "restart": False})
    assert env.status_code == 200
    if becomes == "never ready":
        # So long that the agent is killed meanwhile, on the slowest machine too.
        host.call("PATCH", f"/services/{name}", 200, json={"health_timeout": 30})
    # With a health check systemd waits for the program that listens late, without one the agent does.
    check = "HEALTHCHECK CMD wget -q -O /dev/null http://127.0.0.1:8080/\n" if state == "starting" else ""
    clone.commit({"Containerfile": started_behind(gate, check), "site/index.html": "second"})
    pushed = push_behind(clone)
    gate.wait_reached()
    deployment = last(host, name)
    host.wait_state(deployment["id"], state)
    host.kill_agent()
    pushed.wait(600)
    assert host.serve(name).text == "first"
    host.start_agent()
    if becomes == "ready":
        gate.open()
        assert story(host.wait_deployment(deployment["id"])) == WHOLE
        assert host.serve(name).text == "second"
        kept = {"releases": [1, 2], "live": 2}
    else:
        ended = host.wait_deployment(deployment["id"], "failed")
        assert ended["problem"]["code"] == "unhealthy", ended
        assert host.serve(name).text == "first"
        kept = {"releases": [1], "live": 1}
    secrets = [secret for secret in look(host)["secret"] if secret.startswith(f"podkeeper-{name}-A-")]
    assert len(secrets) == 1
    assert_nothing_leaks(host, before, {name: {**kept, "secrets": secrets}})


def routed(host: Host, name: str) -> list[str]:
    return host.run("sh", "-c", f"ls /var/lib/podkeeper-proxy/routes/{name}.localhost").split()


def test_half_a_switch_between_the_routes(host: Host, name: str, before, tmp_path):
    live_first(host, name, tmp_path / "clone")
    with host.configured('[services]\nsettle = "1m"\n'):
        deployment = host.call("POST", f"/services/{name}/restart", 202, json={"quick": True}).json()
        wait_for(lambda: len(routed(host, name)) == 2, 60, "the new route is there beside the old one")
        host.kill_agent()
    assert len(routed(host, name)) == 2
    assert host.serve(name).text == "first", "both releases answer"
    host.start_agent()
    host.wait_deployment(deployment["id"])
    assert host.serve(name).text == "first"
    assert_nothing_leaks(host, before, {name: {"releases": [1, 2], "live": 2}})


def current_release(host: Host, name: str) -> int | None:
    """As the store says, without asking the agent, which asks systemd."""
    store = f"/var/tmp/podkeeper-test/{host.name}/varlib/podkeeper/agent/store.db"
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT current_release FROM services WHERE name = ?", [name]).fetchone()
    return row and row[0]


@contextlib.contextmanager
def held_manager(host: Host):
    """The user's systemd manager takes no call."""
    pid = host.run("systemctl", "show", "-P", "MainPID", f"user@{host.uid()}.service").strip()
    host.run("kill", "-STOP", pid)
    try:
        yield
    finally:
        host.run("kill", "-CONT", pid)


def test_half_a_switch_before_the_new_route(host: Host, name: str, gate: Gate, before, tmp_path):
    clone = live_first(host, name, tmp_path / "clone")
    clone.commit({"Containerfile": started_behind(gate), "site/index.html": "second"})
    pushed = push_behind(clone)
    gate.wait_reached()
    deployment = last(host, name)
    host.wait_state(deployment["id"], "checking")
    with held_manager(host):
        # Healthy now: it is made the current one, and hangs where systemd shall read that it boots.
        gate.open()
        wait_for(lambda: current_release(host, name) == 2, 30, "it is the current one")
        assert last(host, name)["state"] == "checking" and len(routed(host, name)) == 1
        host.kill_agent()
        assert host.serve(name).text == "first"
    pushed.wait(600)
    host.start_agent()
    host.wait_deployment(deployment["id"])
    assert host.serve(name).text == "second"
    assert_nothing_leaks(host, before, {name: {"releases": [1, 2], "live": 2}})


def test_draining_after_live(host: Host, name: str, before, tmp_path):
    live_first(host, name, tmp_path / "clone")
    with host.configured('[services]\ndrain = "10m"\n'):
        deployment = host.call("POST", f"/services/{name}/restart", 202, json={"quick": True}).json()
        host.wait_deployment(deployment["id"])
        units = host.user("systemctl", "--user", "list-units", "--no-legend", "--plain", f"{name}@*")
        assert len(units.splitlines()) == 2, "the old release drains"
        host.kill_agent()
        assert host.serve(name).text == "first"
    host.start_agent()
    assert_nothing_leaks(host, before, {name: {"releases": [1, 2], "live": 2}})
    assert host.serve(name).text == "first"
