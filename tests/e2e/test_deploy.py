"""The deployment: all its states, its rows, its story in the journal, and nothing of it left behind."""

import subprocess
import threading
import time
from pathlib import Path

import pytest
from containers import BASE
from host import SLACK, Host, wait_for
from traces import traces

SLOW = "FROM docker.io/library/busybox:stable\nRUN echo begun; sleep 120\n"


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
    journal = host.run("journalctl", "-q", "-o", "cat", "-u", "podkeeper", f"PODKEEPER_DEPLOYMENT={deployment['id']}")
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


def test_the_newest_push_takes_the_place_of_what_waits(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nRUN sleep 5\n" + STATIC})
    first = push_in_background(clone)
    wait_for(lambda: states(host, name) == ["building"], 30, "the first is being built")
    others = []
    for content in ("second", "third"):
        clone.commit({"site/index.html": content})
        others.append(push_in_background(clone))
        wait_for(lambda: len(states(host, name)) == len(others) + 1, 30, "it is queued")
    for push in (first, *others):
        push.wait(120)
    assert states(host, name) == ["live", "superseded", "live"]
    assert host.serve(name).text == "third"


STATIC = 'COPY site /site\nEXPOSE 8080\nSTOPSIGNAL SIGKILL\nCMD ["httpd", "-f", "-p", "8080", "-h", "/site"]\n'


def states(host: Host, name: str) -> list[str]:
    """The newest first."""
    page = host.call("GET", f"/services/{name}/deployments", 200).json()
    return [deployment["state"] for deployment in page["deployments"]]


def push_in_background(clone) -> subprocess.Popen:
    return subprocess.Popen(
        ["git", "push", "-q", "origin", "HEAD:main"], cwd=clone.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def build_slowly(host: Host, name: str, folder: Path) -> tuple[dict, subprocess.Popen]:
    """A deployment whose build takes two minutes, while its RUN step runs, and the push that waits for it."""
    host.create(name)
    clone = host.clone(name, folder)
    clone.commit({"Containerfile": SLOW + STATIC})
    push = push_in_background(clone)
    wait_for(lambda: states(host, name) == ["building"], 30, "it is being built")
    (deployment,) = host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"]
    wait_for(lambda: traces(host, name, deployment["id"])["processes"], 30, "the RUN step runs")
    return deployment, push


def test_a_build_is_a_transient_unit_in_a_slice_of_its_own(host: Host, name: str, tmp_path):
    deployment, push = build_slowly(host, name, tmp_path / "clone")
    step = traces(host, name, deployment["id"])["processes"].split()[-1]
    build = f"build-{deployment['id']}"
    shown = host.user("systemctl", "--user", "show", "-p", "Transient,Slice,SubState", f"{build}.service").split()
    assert sorted(shown) == [f"Slice={build}.slice", "SubState=running", "Transient=yes"]
    limit = host.user("systemctl", "--user", "show", "-P", "MemoryMax", f"{build}.slice").strip()
    assert int(limit) == 1024 * 1024 * 1024
    # What limits the slice limits the RUN step, which is beside the service; nothing of it is the agent's own.
    assert f"/build.slice/{build}.slice/" in host.run("cat", f"/proc/{step}/cgroup")
    host.call("DELETE", f"/deployments/{deployment['id']}", 200)
    push.wait(30)
    left = lambda: host.run("find", f"/run/user/{host.uid()}/systemd", "-name", f"{build}.*")
    wait_for(lambda: left() == "", 5 * SLACK, "systemd keeps nothing of it")


def test_cancel_ends_everything_within_five_seconds(host: Host, name: str, tmp_path):
    deployment, push = build_slowly(host, name, tmp_path / "clone")
    began = time.monotonic()
    answer = host.call("DELETE", f"/deployments/{deployment['id']}", 200).json()
    assert time.monotonic() - began < 5 * SLACK
    assert answer["state"] == "cancelled"
    assert set(traces(host, name, deployment["id"]).values()) == {""}
    push.wait(30)
    assert host.call("DELETE", f"/deployments/{deployment['id']}", 409).json()["type"].endswith(":conflict")


def test_cancel_ends_a_release_that_is_being_started_and_heeds_no_signal(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    deaf = 'HEALTHCHECK --interval=1s CMD false\nCMD ["sh", "-c", "trap : TERM; while :; do sleep 1; done"]\n'
    clone.commit({"Containerfile": f"FROM docker.io/library/busybox:stable\nEXPOSE 8080\n{deaf}"})
    push = push_in_background(clone)
    wait_for(lambda: states(host, name) == ["starting"], 30, "it is being started")
    (deployment,) = host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"]
    health = ["podman", "inspect", "-f", "{{.State.Health.FailingStreak}}", f"{name}-1"]
    wait_for(lambda: host.user(*health, check=False).strip() not in ("", "0"), 30, "its health was asked for")
    began = time.monotonic()
    answer = host.call("DELETE", f"/deployments/{deployment['id']}", 200).json()
    assert time.monotonic() - began < 5 * SLACK
    assert answer["state"] == "cancelled"
    assert set(traces(host, name, deployment["id"]).values()) == {""}
    push.wait(30)


def test_a_failed_build_keeps_what_runs_and_tells_why(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"site/index.html": "good"})
    clone.push()
    clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nRUN echo the reason; exit 7\n"})
    said = clone.push()
    assert "the reason" in said and "Failed (build-failed)" in said
    assert host.serve(name).text == "good"
    deployment = host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"][0]
    assert deployment["problem"]["code"] == "build-failed" and "the reason" in deployment["tail"]
    left = traces(host, name, deployment["id"])
    assert not (left["units"] or left["files"] or left["working"])


def test_a_release_that_does_not_answer_keeps_the_old_one(host: Host, name: str, tmp_path):
    host.create(name)
    host.call("PATCH", f"/services/{name}", 200, json={"health_timeout": 3})
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"site/index.html": "good"})
    clone.push()
    base = "FROM docker.io/library/busybox:stable\nEXPOSE 8080\nSTOPSIGNAL SIGKILL\n"
    clone.commit({"Containerfile": base + 'CMD ["sleep", "1000"]\n'})
    assert "Failed (unhealthy)" in clone.push()
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
        ["wrk", "-t1", "-c16", "-d300s", "--timeout", "30s", "-H", f"Host: {name}.localhost:8080", "http://127.0.0.1:8080/"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(releases):
            deployment = host.call("POST", f"/services/{name}/restart", 202, json={"quick": True}).json()
            host.wait_deployment(deployment["id"])
        # The old release is drained and stopped behind the last switch.
        wait_for(lambda: len(running(host, name)) == 1, 60, "one release runs")
    finally:
        load.send_signal(2)
        report, _ = load.communicate(timeout=30)
    requests = int(report.split(" requests in ")[0].split()[-1])
    assert requests > 1000, report
    assert "Socket errors" not in report and "Non-2xx" not in report, report


def running(host: Host, name: str) -> list[str]:
    listed = host.user("systemctl", "--user", "list-units", "--no-legend", "--plain", f"{name}@*").strip()
    return [line.split()[0] for line in listed.splitlines()]


def test_a_health_check_is_not_waited_for_until_its_interval(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    # Podman's own first look comes before the program listens, and its second one too late.
    check = "HEALTHCHECK --interval=10m CMD wget -q -O /dev/null http://127.0.0.1:8080/\n"
    late = 'CMD ["sh", "-c", "sleep 3; exec httpd -f -p 8080 -h /site"]\n'
    clone.commit({"Containerfile": BASE + check + late, "site/index.html": "healthy"})
    said = clone.push()
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
    assert host.user(*volumes) == before, "none without a name is left"


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
    end = time.monotonic() + 60
    seen = set()
    while time.monotonic() < end:
        seen.add(host.call("GET", "/services/status", 200).json()[name]["state"])
        time.sleep(1)
    assert "restarting" in seen and "stopped" not in seen, seen
    host.run("rm", f"{volume}/crash")
    wait_for(lambda: host.serve(name).status_code == 200, 70 * SLACK, "it serves again")
    assert host.call("GET", "/services/status", 200).json()[name]["restarts"] >= 5


def test_several_services_build_one_after_the_other(host: Host, name: str):
    names = [f"{name[:30]}-{number}" for number in range(3)]
    try:
        for each in names:
            host.create(each)
        for each in names:
            host.call("POST", f"/services/{each}/start", 202)
        seen = []

        def look() -> bool:
            # One answer, so that they are seen at the same moment.
            all_services = host.call("GET", "/services", 200).json()["services"]
            now = [service["last_deployment"]["state"] for service in all_services if service["name"] in names]
            seen.append(sum(state in ("fetching", "building") for state in now))
            return all(state == "live" for state in now)

        wait_for(look, 120, "all are live")
        assert max(seen) == 1, seen
    finally:
        for each in names:
            host.delete(each)


def test_prefer_wait_answers_at_the_end(host: Host, name: str):
    host.create(name)
    answer = host.call("POST", f"/services/{name}/start", 202, headers={"Prefer": "wait=60"})
    assert answer.json()["state"] == "live" and answer.headers["Preference-Applied"] == "wait=60"
    assert answer.headers["Location"] == f"/deployments/{answer.json()['id']}"


def test_what_an_administrator_stops_stays_stopped(host: Host, name: str):
    host.create(name)
    host.start(name)
    host.user("systemctl", "--user", "stop", f"{name}@1.service")
    state = wait_for(
        lambda: host.call("GET", "/services/status", 200).json()[name]["state"] == "stopped", 10, "it is stopped"
    )
    assert state
    stopped = threading.Event()
    stopped.wait(3)
    assert running(host, name) == []
