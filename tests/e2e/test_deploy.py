"""The deployment: all its states, its rows, its story in the journal, and nothing of it left behind."""

import contextlib
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from containers import BASE, IMAGE, SERVE, Gate, Push, built_behind, push_behind, started_behind
from host import Host, wait_for
from traces import assert_no_trace, traces


def test_a_push_serves_and_tells_the_whole_story(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    commit = clone.commit({"site/index.html": "first"})
    said = clone.push()
    assert "remote: STEP 1/" in said and f"remote:   Live: http://{name}.localhost:8080" in said
    assert host.serve(name).text == "first"

    (deployment,) = host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"]
    assert deployment["cause"] == "push" and deployment["commit"] == commit and deployment["state"] == "live"
    steps = deployment["steps"]
    order = ["queued", "fetching", "building", "starting", "checking", "live"]
    assert sorted(steps, key=lambda step: steps[step]) == order
    journal = "\n".join(host.journal("-u", "podkeeper", f"PODKEEPER_DEPLOYMENT={deployment['id']}"))
    for state in order[:-1] + ["live at"]:
        assert state in journal, journal
    log = host.call("GET", f"/deployments/{deployment['id']}/log", 200).text
    assert "STEP 1/" in log and "live at" in log


def test_without_a_containerfile_a_recipe_fits(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": None, "site/index.html": None, "index.html": "by recipe"})
    said = clone.push()
    assert "static site" in said and "FROM docker.io/library/busybox" in said
    assert host.serve(name).text == "by recipe"


def test_the_newest_push_takes_the_place_of_what_waits(host: Host, name: str, gate: Gate, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": built_behind(gate)})
    pushes = [push_behind(clone)]
    gate.wait_reached()
    for content in ("second", "third"):
        clone.commit({"Containerfile": BASE + SERVE, "site/index.html": content})
        pushes.append(push_behind(clone))
        wait_for(lambda: len(states(host, name)) == len(pushes), 30, "it is queued")
    gate.open()
    for push in pushes:
        push.wait(600)
    assert states(host, name) == ["live", "superseded", "live"]
    assert host.serve(name).text == "third"


def states(host: Host, name: str) -> list[str]:
    """The newest first."""
    page = host.call("GET", f"/services/{name}/deployments", 200).json()
    return [deployment["state"] for deployment in page["deployments"]]


def build_behind(host: Host, name: str, gate: Gate, folder: Path) -> tuple[dict, subprocess.Popen]:
    """A deployment whose build waits at the gate, and the push that waits for it."""
    host.create(name)
    clone = host.clone(name, folder)
    clone.commit({"Containerfile": built_behind(gate)})
    push = push_behind(clone)
    gate.wait_reached()
    (deployment,) = host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"]
    assert deployment["state"] == "building" and traces(host, name, deployment["id"])["processes"]
    return deployment, push


def test_a_build_is_a_transient_unit_in_a_slice_of_its_own(host: Host, name: str, gate: Gate, tmp_path):
    deployment, push = build_behind(host, name, gate, tmp_path / "clone")
    build = f"build-{deployment['id']}"
    shown = host.user("systemctl", "--user", "show", "-p", "Transient,Slice,SubState", f"{build}.service").split()
    assert sorted(shown) == [f"Slice={build}.slice", "SubState=running", "Transient=yes"]
    limit = host.user("systemctl", "--user", "show", "-P", "MemoryMax", f"{build}.slice").strip()
    assert int(limit) == 1024 * 1024 * 1024
    # What limits the slice limits the RUN step, which is beside the service; nothing of it is the agent's own.
    assert f"/build.slice/{build}.slice/" in host.run("cat", f"/proc/{gate.pid()}/cgroup")
    host.call("DELETE", f"/deployments/{deployment['id']}", 200)
    push.wait(600)
    left = lambda: host.run("find", f"/run/user/{host.uid()}/systemd", "-name", f"{build}.*")
    wait_for(lambda: left() == "", 10, "systemd keeps nothing of it")


def cancel(host: Host, deployment: dict) -> None:
    """It is cancelled, which its row says once it is done."""
    host.call("DELETE", f"/deployments/{deployment['id']}", 200)
    host.wait_deployment(deployment["id"], "cancelled")


def test_cancel_ends_everything(host: Host, name: str, gate: Gate, tmp_path):
    deployment, push = build_behind(host, name, gate, tmp_path / "clone")
    cancel(host, deployment)
    assert not gate.reached()
    assert_no_trace(host, name, deployment["id"])
    push.wait(600)
    assert host.call("DELETE", f"/deployments/{deployment['id']}", 409).json()["type"].endswith(":conflict")


def test_cancel_ends_a_release_that_is_being_started_and_heeds_no_signal(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    deaf = 'HEALTHCHECK --interval=1s CMD false\nCMD ["sh", "-c", "trap : TERM; while :; do sleep 1; done"]\n'
    clone.commit({"Containerfile": f"{IMAGE}EXPOSE 8080\n{deaf}"})
    push = push_behind(clone)
    wait_for(lambda: states(host, name) == ["starting"], 60, "it is being started")
    (deployment,) = host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"]
    health = ["podman", "inspect", "-f", "{{.State.Health.FailingStreak}}", f"{name}-1"]
    wait_for(lambda: host.user(*health, check=False).strip() not in ("", "0"), 30, "its health was asked for")
    cancel(host, deployment)
    assert_no_trace(host, name, deployment["id"])
    push.wait(600)


def test_a_failed_build_keeps_what_runs_and_tells_why(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"site/index.html": "good"})
    clone.push()
    clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nRUN echo the reason; exit 7\n"})
    said = clone.push()
    assert "Failed (build-failed)" in said
    assert len(re.findall(r"^remote: (  \| )?the reason *$", said, re.M)) == 1, f"each line is read once: {said}"
    assert host.serve(name).text == "good"
    deployment = host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"][0]
    assert deployment["problem"]["code"] == "build-failed" and "the reason" in deployment["tail"]
    left = traces(host, name, deployment["id"])
    assert not (left["units"] or left["files"] or left["working"])


def test_a_release_that_does_not_answer_keeps_the_old_one(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"site/index.html": "good"})
    clone.push()
    base = f"{IMAGE}EXPOSE 8080\nSTOPSIGNAL SIGKILL\n"
    host.call("PATCH", f"/services/{name}", 200, json={"health_timeout": 3})
    clone.commit({"Containerfile": base + 'CMD ["sleep", "1000"]\n'})
    assert "Failed (unhealthy)" in clone.push()
    # Its end is seen before its time is over.
    host.call("PATCH", f"/services/{name}", 200, json={"health_timeout": 600})
    clone.commit({"Containerfile": base + 'CMD ["sh", "-c", "echo no luck >&2; exit 3"]\n'})
    said = clone.push()
    assert "Failed (start-failed)" in said and "with status 3" in said and "no luck" in said, said
    assert host.serve(name).text == "good"
    releases = host.run("ls", "/var/lib/podkeeper/.config/containers/systemd").split()
    assert [file for file in releases if file.startswith(f"{name}@")] == [f"{name}@1.container", f"{name}@1.container.d"]


@pytest.mark.parametrize("releases", [3])
def test_a_switch_drops_no_request(host: Host, name: str, tmp_path, releases: int):
    host.create(name)
    host.start(name)
    # busybox's httpd queues few connections, and one that waits for a place is tried again by TCP after seconds.
    load = subprocess.Popen(
        ["wrk", "-t1", "-c16", "-d1h", "--timeout", "10m", "-H", f"Host: {name}.localhost:8080", "http://127.0.0.1:8080/"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        connected = ["ss", "-Htn", "state", "established", "dport = :8080 and dst 127.0.0.1"]
        wait_for(lambda: len(host.run(*connected).splitlines()) >= 16, 30, "all its connections are there")
        for _ in range(releases):
            deployment = host.call("POST", f"/services/{name}/restart", 202, json={"quick": True}).json()
            host.wait_deployment(deployment["id"])
        # The old release is drained and stopped behind the last switch.
        wait_for(lambda: len(running(host, name)) == 1, 60, "one release runs")
    finally:
        load.send_signal(2)
        report, _ = load.communicate(timeout=600)
    requests = int(report.split(" requests in ")[0].split()[-1])
    assert requests > 16, report
    assert "Socket errors" not in report and "Non-2xx" not in report, report


def running(host: Host, name: str) -> list[str]:
    listed = host.user("systemctl", "--user", "list-units", "--no-legend", "--plain", f"{name}@*").strip()
    return [line.split()[0] for line in listed.splitlines()]


def test_a_health_check_is_not_waited_for_until_its_interval(host: Host, name: str, gate: Gate, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    # Podman's own first look comes before the program listens, and its second one too late.
    check = "HEALTHCHECK --interval=10m CMD wget -q -O /dev/null http://127.0.0.1:8080/\n"
    clone.commit({"Containerfile": started_behind(gate, check), "site/index.html": "healthy"})
    push = Push(clone)
    gate.wait_reached()
    failed = ["podman", "inspect", "-f", "{{len .State.Health.Log}}", f"{name}-1"]
    wait_for(lambda: host.user(*failed, check=False).strip() not in ("", "0", "1"), 30, "it was looked at twice")
    gate.open()
    said = push.end()
    assert states(host, name) == ["live"], said
    assert host.serve(name).text == "healthy"
    assert host.user("podman", "inspect", "-f", "{{.State.Health.Status}}", f"{name}-1").strip() == "healthy"


def test_a_rollback_brings_image_and_environment_back(host: Host, name: str, tmp_path):
    host.create(name, "python")
    clone = host.clone(name, tmp_path / "clone")
    show = (
        "import os, http.server\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers()\n"
        "        self.wfile.write(('VERSION ' + os.environ.get('A', 'none')).encode())\n"
        "http.server.ThreadingHTTPServer(('', int(os.environ['PORT'])), H).serve_forever()\n"
    )
    first = clone.commit({"app.py": show.replace("VERSION", "one")})
    host.call("POST", f"/services/{name}/env/update", 200, json={"env": {"A": "first"}})
    clone.push()
    assert host.serve(name).text == "one first"
    clone.commit({"app.py": show.replace("VERSION", "two")})
    clone.push()
    updated = host.call("POST", f"/services/{name}/env/update", 202, json={"env": {"A": "second"}}).json()
    host.wait_deployment(updated["id"])
    assert host.serve(name).text == "two second"
    back = host.call("POST", f"/services/{name}/rollback", 202, json={"release": 1}).json()
    host.wait_deployment(back["id"])
    assert host.serve(name).text == "one first"
    assert host.call("GET", f"/services/{name}/env", 200).json()["env"] == {"A": "first"}
    host.call("POST", f"/services/{name}/rollback", 404, json={"release": 99})
    # It stands where the first one stood: before that there is none, and the one that was left is not gone back to.
    listed = host.call("GET", f"/services/{name}/releases", 200).json()
    releases = [(one["release"], one["cause"], one["from_release"]) for one in listed["releases"]]
    assert releases == [(4, "rollback", 1), (3, "env", 2), (2, "push", None), (1, "push", None)]
    assert (listed["current"], listed["before"]) == (4, None)
    assert listed["releases"][0]["commit"] == listed["releases"][3]["commit"] == first
    assert "no release before 4" in host.call("POST", f"/services/{name}/rollback", 404, json={}).text


def test_volumes_are_read_by_every_release(host: Host, name: str, tmp_path):
    volumes = ("podman", "volume", "ls", "-q")
    before = host.user(*volumes)
    host.create(name)
    host.call("PATCH", f"/services/{name}", 200, json={"volumes": {"data": "/data"}})
    clone = host.clone(name, tmp_path / "clone")
    # Each start adds a line as another user than root, and the site is the volume.
    serve = "FROM docker.io/library/busybox:stable\nRUN mkdir /data /more && chown 1000 /data /more\nUSER 1000\n"
    start = 'CMD ["sh", "-c", "echo started >>/data/index.html; exec httpd -f -p 8080 -h /data"]\n'
    clone.commit({"Containerfile": serve + "VOLUME /more\nEXPOSE 8080\nSTOPSIGNAL SIGKILL\n" + start})
    said = clone.push()
    assert "the image declares the volume /more" in said
    assert host.serve(name).text == "started\n"
    deployment = host.call("POST", f"/services/{name}/restart", 202, json={"quick": True}).json()
    host.wait_deployment(deployment["id"])
    assert host.serve(name).text == "started\nstarted\n"
    kept = host.call("DELETE", f"/services/{name}", 200).json()["kept"]
    assert sorted(kept) == [f"volume {name}.data", f"volume {name}.more"]
    host.user("podman", "volume", "rm", f"{name}.data", f"{name}.more")
    assert set(host.user(*volumes).split()) <= set(before.split()), "none without a name is left"


def test_a_service_that_crashes_for_a_minute_comes_back(host: Host, name: str, tmp_path):
    host.create(name)
    host.call("PATCH", f"/services/{name}", 200, json={"volumes": {"data": "/data"}})
    clone = host.clone(name, tmp_path / "clone")
    # It ends at once for as long as the file is there.
    start = 'CMD ["sh", "-c", "[ ! -e /data/crash ] || exit 1; exec httpd -f -p 8080 -h /site"]\n'
    clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nCOPY site /site\nEXPOSE 8080\nSTOPSIGNAL SIGKILL\n" + start})
    clone.push()
    volume = f"/var/lib/podkeeper/.local/share/containers/storage/volumes/{name}.data/_data"
    host.run("touch", f"{volume}/crash")
    host.user("systemctl", "--user", "kill", "-s", "KILL", f"{name}@1.service")
    seen = set()

    def crashed() -> bool:
        status = host.call("GET", "/services/status", 200).json()[name]
        seen.add(status["state"])
        return status["restarts"] >= 5

    # Each time systemd waits longer.
    wait_for(crashed, 90, "it has crashed again and again")
    assert "restarting" in seen and "stopped" not in seen, seen
    host.run("rm", f"{volume}/crash")
    wait_for(lambda: host.serve(name).status_code == 200, 70, "it serves again")
    assert host.call("GET", "/services/status", 200).json()[name]["restarts"] >= 5


def test_several_services_build_one_after_the_other(host: Host, name: str, tmp_path):
    gates = {f"{name[:30]}-{number}": Gate(host) for number in range(3)}
    opened: dict[str, datetime] = {}
    with contextlib.ExitStack() as clean:
        for each, gate in gates.items():
            clean.callback(gate.end)
            host.create(each)
            clean.callback(host.delete, each)
            clone = host.clone(each, tmp_path / each)
            clone.commit({"Containerfile": built_behind(gate)})
            push_behind(clone)
            wait_for(lambda: states(host, each), 30, "it is queued")
        for _ in gates:
            waits = lambda: [each for each, gate in gates.items() if gate.reached()]
            (builds,) = wait_for(waits, 60, "the next one is being built")
            opened[builds] = datetime.now(UTC)
            gates[builds].open()
            wait_for(lambda: states(host, builds) == ["live"], 60, "it is live")
        assert opened.keys() == gates.keys()

        def began(each: str) -> datetime:
            (deployment,) = host.call("GET", f"/services/{each}/deployments", 200).json()["deployments"]
            return datetime.fromisoformat(deployment["steps"]["fetching"])

        # While one's build stood still, the next one did not even begin.
        order = list(opened)
        assert all(opened[one] < began(following) for one, following in zip(order, order[1:]))


def test_prefer_wait_answers_at_the_end(host: Host, name: str):
    host.create(name)
    answer = host.call("POST", f"/services/{name}/start", 202, headers={"Prefer": "wait=600"}, timeout=900)
    assert answer.json()["state"] == "live" and answer.headers["Preference-Applied"] == "wait=600"
    assert answer.headers["Location"] == f"/deployments/{answer.json()['id']}"


def test_what_an_administrator_stops_stays_stopped(host: Host, name: str):
    host.create(name)
    host.start(name)
    host.user("systemctl", "--user", "stop", f"{name}@1.service")
    state = lambda: host.call("GET", "/services/status", 200).json()[name]["state"]
    wait_for(lambda: state() == "stopped", 10, "it is stopped")
    # The look that withdraws a route which is nobody's has looked at all services before.
    route = f"/var/lib/podkeeper-proxy/routes/{name}-gone.localhost/29999"
    host.user("sh", "-c", f"mkdir -p $(dirname {route}) && touch {route}")
    with host.configured('[services]\nmaintenance = "1s"\n'):
        wait_for(lambda: host.code("test", "-e", route) != 0, 30, "the agent has looked at all of it")
    assert state() == "stopped" and running(host, name) == []
