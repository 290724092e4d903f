"""What is told of the host, what maintenance can't do, and what of Podman's storage is nobody's."""

import contextlib
import json
from collections.abc import Iterator

import requests
from containers import Gate, live_first
from host import Host, wait_for

ROUTES = "/var/lib/podkeeper-proxy/routes"
QUADLETS = "/var/lib/podkeeper/.config/containers/systemd"
UNNAMED = "/var/lib/podkeeper/agent/unnamed"
UNUSED = "/var/lib/podkeeper/agent/unused-volumes"


def eight_days_ago(host: Host, *noted: str) -> None:
    """Lets it be so long that the look has found these to be nobody's, as it notes it down."""
    for file in noted:
        host.run("sh", "-c", f"echo '{8 * 24 * 3600} another-boot 0' >{file}")


def told(host: Host) -> dict:
    return host.call("GET", "/host", 200).json()


def doctor(host: Host) -> list[dict]:
    """What maintenance could not do, as the doctor finds it."""
    findings = json.loads(host.run("podkeeper", "doctor", "--json", check=False))["findings"]
    return [finding for finding in findings if finding["what"] == "maintenance" and finding["level"] != "ok"]


def test_the_host_is_told(host: Host, name: str, tmp_path):
    live_first(host, name, tmp_path / "clone")
    found = wait_for(lambda: told(host) if told(host)["space"] else None, 60, lambda: f"it is measured: {told(host)}")
    for disk in found["disk"].values():
        assert 0 < disk["free_bytes"] < disk["total_bytes"]
    assert 0 < found["memory"]["available_bytes"] < found["memory"]["total_bytes"]
    versions = found["versions"]
    assert all(versions.values()), versions
    assert versions["podman"] in host.user("podman", "--version")
    assert versions["os"] in host.run("cat", "/etc/os-release") and versions["kernel"] == host.run("uname", "-r").strip()
    space = found["space"]
    assert space["images"]["count"] >= 1 and space["images"]["bytes"] > 0
    if name not in space["caches"]:
        # Another test has asked lately. An agent that starts anew knows nothing.
        host.run("systemctl", "restart", "podkeeper")
        host.wait_ready()
        space = wait_for(lambda: told(host)["space"], 60, "it is measured anew")
    assert space["caches"][name] > 0
    for figure in ("repositories_bytes", "database_bytes", "journal_bytes"):
        assert space[figure] > 0, figure

    shown = host.run("podkeeper", "host")
    for text in (versions["kernel"], versions["proxy"], "memory", f"builds of {name}", "repositories"):
        assert text in shown, shown
    assert json.loads(host.run("podkeeper", "host", "--json"))["versions"] == versions
    own = host.run("podkeeper", "token", "create", "--name", f"{name}-own", "--scope", "read", "--service", name).strip()
    try:
        host.call("GET", "/host", 403, headers={"Authorization": f"Bearer {own}"})
    finally:
        host.run("podkeeper", "token", "remove", f"{name}-own")


def test_one_services_trouble_keeps_no_other_from_its_turn(host: Host, name: str, other: str, tmp_path):
    live_first(host, name, tmp_path / "one")
    live_first(host, other, tmp_path / "two")
    ours = lambda: [trouble for trouble in told(host)["troubles"] if trouble["service"] in (name, other)]
    route = f"{ROUTES}/{name}.localhost"
    with host.configured('[services]\nmaintenance = "1s"\n'):
        try:
            # Somebody's file in the place of the one's routes; what the other's file was is written anew.
            host.run("sh", "-c", f"mv {route} {route}.kept && touch {route} && chown podkeeper: {route}")
            host.run("rm", f"{QUADLETS}/{other}@1.container")
            twice = lambda: [trouble for trouble in ours() if trouble["times"] >= 2]
            (trouble,) = wait_for(twice, 60, lambda: f"it is told: {told(host)['troubles']}")
            assert trouble["service"] == name and "Not a directory" in trouble["why"], trouble
            assert trouble["since"] < trouble["last"]
            wait_for(lambda: host.code("test", "-e", f"{QUADLETS}/{other}@1.container") == 0, 60, "the other has its file")
            (finding,) = doctor(host)
            assert name in finding["detail"] and "Not a directory" in finding["detail"] and finding["next"]
            assert trouble["why"] in host.run("podkeeper", "host")
            bad = lambda: [finding for finding in doctor(host) if finding["level"] == "bad"]
            wait_for(bad, 120, lambda: f"it is no passing trouble: {doctor(host)}")
        finally:
            host.run("sh", "-c", f"rm {route}; mv {route}.kept {route}")
        wait_for(lambda: not ours() and not doctor(host), 120, lambda: f"nothing is wrong: {told(host)['troubles']}")
    assert host.serve(name).text == host.serve(other).text == "first"


@contextlib.contextmanager
def imported(host: Host, *names: str) -> Iterator[list[str]]:
    """Images of a file that nobody else has, by their ids; without a name where it is empty."""
    ids = []
    try:
        for number, name in enumerate(names):
            script = f"cd $(mktemp -d) && echo $$-{number} >file && tar c file | podman import -q - {name}"
            ids.append(host.user("sh", "-c", script).strip().removeprefix("sha256:"))
        yield ids
    finally:
        for image in ids:
            host.user("podman", "rmi", "-f", image, check=False)


def test_what_nothing_names_goes_after_a_while(host: Host, name: str, tmp_path):
    live_first(host, name, tmp_path / "clone")
    container, held = f"{name[:30]}-by-hand", f"{name[:30]}-held"
    own = host.user("podman", "image", "inspect", "-f", "{{.Id}}", f"localhost/podkeeper/{name}:1").strip()
    there = lambda image: host.code("runuser", "-u", "podkeeper", "--", "podman", "image", "exists", image) == 0

    def look() -> None:
        """An agent that starts looks at everything."""
        host.run("systemctl", "restart", "podkeeper")
        host.wait_ready()

    def noted(image: str) -> bool:
        return host.code("test", "-e", f"{UNNAMED}/{image}") == 0

    with imported(host, "localhost/by-hand:1", "", f"localhost/{held}:1", "localhost/by-hand:today") as images:
        named, nameless, used, today = images
        # A volume that Podman named itself goes with no container where that is removed without it.
        host.user("podman", "create", "-q", "--name", container, "-v", "/data", f"localhost/{held}:1", "/file")
        try:
            look()
            wait_for(lambda: noted(named) and noted(nameless) and noted(today), 60, "they are noted")
            assert not noted(used) and not noted(own)
            eight_days_ago(host, f"{UNNAMED}/{named}", f"{UNNAMED}/{nameless}")
            look()
            wait_for(lambda: not there(named) and not there(nameless), 60, lambda: host.user("podman", "images", "-a"))
            assert there(today) and there(used) and there(own)
            assert not [trouble for trouble in told(host)["troubles"] if "images" in trouble["task"]]
        finally:
            host.user("podman", "rm", "-f", "-v", container)
    assert host.serve(name).text == "first" and requests.get("http://127.0.0.1:7070/readyz", timeout=60).ok


def test_a_volume_that_podman_named_goes_after_a_while(host: Host, name: str):
    kept, gone = f"{name[:30]}-kept", f"{name[:30]}-gone"
    volume = lambda container: host.user("podman", "inspect", "-f", "{{(index .Mounts 0).Name}}", container).strip()
    exists = lambda volume: host.code("runuser", "-u", "podkeeper", "--", "podman", "volume", "exists", volume) == 0
    for container in (kept, gone):
        host.user("podman", "create", "-q", "--name", container, "-v", "/data", "docker.io/library/busybox:stable")
    volumes = {container: volume(container) for container in (kept, gone)}
    host.user("podman", "rm", gone)
    assert exists(volumes[gone])
    try:
        restart = lambda: (host.run("systemctl", "restart", "podkeeper"), host.wait_ready())
        noted = f"{UNUSED}/{volumes[gone]}"
        restart()
        wait_for(lambda: host.code("test", "-e", noted) == 0, 60, "it is noted")
        assert exists(volumes[gone]), "however old it is"
        eight_days_ago(host, noted)
        restart()
        wait_for(lambda: not exists(volumes[gone]), 60, "it is gone")
        assert exists(volumes[kept])
    finally:
        host.user("podman", "rm", "-f", "-v", kept)


KILLED = r"""
cd "$(mktemp -d)" && trap 'rm -rf "$PWD"' EXIT
storage=/var/lib/podkeeper/.local/share/containers/storage/overlay-layers/layers.json
layers() { grep -o '"id"' "$storage" | wc -l; }
before=$(layers)
{
  echo FROM docker.io/library/busybox:stable
  for layer in 1 2 3 4; do
    head -c 60000000 /dev/urandom >$layer
    echo COPY $layer /
  done
} >Containerfile
podman build -q --network=none -t localhost/killed:1 . && podman save -q --format docker-dir -o image localhost/killed:1
podman rmi localhost/killed:1 && [ "$(layers)" = "$before" ] || exit 1
setsid podman pull -q dir:image &
until [ "$(layers)" -ge $((before + 2)) ]; do kill -0 $! || exit 2; sleep 0.01; done
env kill -KILL -- -$!
wait $!
# What is unpacked in part is removed by whoever comes next.
podman images -q >/dev/null
systemctl --user stop podman.service
[ "$(layers)" -gt "$before" ] || exit 3
# They are of another day.
sed -i 's/"created":"20[0-9]*-/"created":"2020-/g' "$storage"
"""


def test_layers_that_a_killed_program_left_are_told(host: Host, name: str, tmp_path):
    live_first(host, name, tmp_path / "clone")
    listed = "/var/lib/podkeeper/.local/share/containers/storage/overlay-layers/layers.json"
    layers = lambda: {layer["id"] for layer in json.loads(host.run("cat", listed))}
    before = layers()
    host.user("sh", "-c", KILLED)
    assert layers() > before
    host.run("systemctl", "restart", "podkeeper")
    host.wait_ready()
    told_of = lambda: [trouble for trouble in told(host)["troubles"] if "layers" in trouble["why"]]
    (trouble,) = wait_for(told_of, 60, "they are told")
    assert layers() > before and trouble["why"] in host.run("podkeeper", "doctor", check=False)
    command = trouble["hint"].split("`")[1].split()
    host.user(*command)
    assert layers() == before
    host.run("systemctl", "restart", "podkeeper")
    host.wait_ready()
    wait_for(lambda: not told_of(), 60, "it is over")
    assert host.start(name)["state"] == "live" and host.serve(name).text == "first"


def test_a_build_by_hand_is_left_alone(host: Host, gate: Gate):
    build = f"printf 'FROM docker.io/library/busybox:stable\\nRUN {gate.waits}\\n' | podman build -q --network=none -t localhost/by-hand:2 -"
    done = "/tmp/built-by-hand"
    host.user("sh", "-c", f"rm -f {done}; ({build} && touch {done}) >/dev/null 2>&1 &")
    try:
        gate.wait_reached()
        host.run("systemctl", "restart", "podkeeper")
        host.wait_ready()
        # The look has come to the end when it has noted what nothing names.
        with imported(host, "localhost/by-hand:3") as (image,):
            host.run("systemctl", "restart", "podkeeper")
            host.wait_ready()
            wait_for(lambda: host.code("test", "-e", f"{UNNAMED}/{image}") == 0, 60, "the look is over")
        gate.open()
        wait_for(lambda: host.code("test", "-e", done) == 0, 60, "it is built")
    finally:
        host.user("podman", "rmi", "-f", "localhost/by-hand:2", check=False)
