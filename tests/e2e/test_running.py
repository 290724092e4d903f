"""How a service's program runs: alone, without a port, below an init; and what is told where it does not."""

import pytest
from containers import BASE, IMAGE, SERVE
from host import Clone, Host, wait_for


@pytest.fixture
def clone(host: Host, name: str, tmp_path) -> Clone:
    host.create(name)
    return host.clone(name, tmp_path / "clone")


def push(clone: Clone, containerfile: str) -> str:
    clone.commit({"Containerfile": containerfile, "site/index.html": containerfile})
    return clone.push()


def test_a_worker_needs_no_port_and_has_no_address(host: Host, name: str, clone: Clone):
    service = host.call("PATCH", f"/services/{name}", 200, json={"container_port": "none"}).json()
    assert service["settings"]["container_port"] == "none" and service["url"] is None
    # Its first process is an init, which takes what others leave: the orphan would be a zombie for ever.
    said = push(clone, IMAGE + 'CMD ["sh", "-c", "(sleep 0 &) ; exec sleep 100000"]\n')
    assert "  Live." in said and "Live:" not in said, said
    assert host.call("GET", "/services/status", 200).json()[name]["state"] == "running"
    assert host.serve(name).status_code == 404
    wait_for(lambda: "Z" not in host.user("podman", "top", f"{name}-1", "state").split(), 30, "no zombie is left")
    assert "podman-init" in host.user("podman", "top", f"{name}-1", "args")
    # It takes a signal that it has no handler for, which process 1 would not, and so ends long before it is killed.
    host.call("POST", f"/services/{name}/stop", 200)
    ended = host.run("journalctl", "-o", "cat", f"_SYSTEMD_USER_UNIT={name}@1.service")
    assert "timeout" not in ended.lower() and "SIGKILL" not in ended, ended
    host.call("PATCH", f"/services/{name}", 200, json={"stop_timeout": 3, "stop_signal": "SIGINT"})
    said = push(clone, IMAGE + 'CMD ["sh", "-c", "echo it was all; exit 0"]\n')
    assert "Failed (start-failed)" in said and "status 0" in said and "foreground" in said, said


@pytest.mark.parametrize(
    ("command", "found", "next"),
    [
        ("httpd -f -p 3000", "listens on port 3000", "container_port=3000"),
        ("httpd -f -p 127.0.0.1:8080", "listens on 127.0.0.1:8080 only", "0.0.0.0"),
        ("sleep 100000", "listened on no port within 3 s", "container_port=none"),
    ],
    ids=["another-port", "loopback", "nothing"],
)
def test_what_listens_instead_is_told(host: Host, name: str, clone: Clone, command: str, found: str, next: str):
    host.call("PATCH", f"/services/{name}", 200, json={"health_timeout": 3})
    said = push(clone, f'{BASE}CMD ["sh", "-c", "exec {command}"]\n')
    assert "Failed (unhealthy): " in said and found in said and next in said, said
    assert host.code("sh", "-c", "ls /var/lib/podkeeper/agent/listening-*") != 0, "what was seen is read and gone"


@pytest.mark.parametrize(
    ("containerfile", "why"),
    [
        ("COPY dist /app\n", "The repository has no `dist`, at the step `COPY dist /app`"),
        ("COPY Site /app\n", "it has `site`"),
        ("RUNN true\n", "begins with `RUNN`, which is no instruction"),
        ("RUN exit 137\n", "`builds.memory_mib`"),
        ("RUN nothing-like-it\n", "The image has no such program"),
        ('CMD ["/nothing/like-it"]\n', "The program of the image can't be run: there is none"),
        ('CMD ["sh", "-c", "echo KeyError: API_KEY; exit 1"]\n', "asks for the variable API_KEY, which is not set"),
    ],
    ids=["copy", "capitals", "instruction", "killed", "run", "command", "variable"],
)
def test_what_fails_explains_itself(host: Host, name: str, clone: Clone, containerfile: str, why: str):
    said = push(clone, IMAGE + containerfile)
    assert "Failed (" in said and why in said and "Next: " in said, said


def test_a_release_that_must_run_alone_takes_the_place_of_the_one_before(host: Host, name: str, clone: Clone):
    host.call("PATCH", f"/services/{name}", 200, json={"strategy": "recreate", "volumes": {"data": "/data"}})
    # As a server does that locks its data.
    locked = "mkdir /data/lock && trap 'rmdir /data/lock; exit' TERM && httpd -p 8080 -h /site && while :; do sleep 0.1; done"
    serve = f'{IMAGE}EXPOSE 8080\nCOPY site /site\nCMD ["sh", "-c", "{locked}"]\n'
    assert "Live:" in push(clone, serve)
    said = push(clone, serve + "ENV X=2\n")
    assert "Live:" in said and "release 1 stops before release 2 starts" in said, said
    assert "ENV X=2" in host.serve(name).text
    said = push(clone, BASE + 'CMD ["false"]\n')
    assert "Failed (start-failed)" in said and "release 2 runs again" in said, said
    wait_for(lambda: host.serve(name).status_code == 200, 30, "what ran before answers again")
    assert "ENV X=2" in host.serve(name).text


def test_a_limit_that_the_kernel_does_not_enforce_is_taken_and_said(host: Host, name: str, clone: Clone):
    # The controllers belong to the machine around this host.
    answer = host.call("PATCH", f"/services/{name}", 200, json={"memory_mib": 64}).json()
    assert answer["unenforced"] == ["memory_mib"]
    assert not host.call("GET", "/host", 200).json()["limits"]["memory"]
    said = host.run("podkeeper", "settings", name, "cpu_percent=50")
    assert "`cpu_percent` counts for nothing on this host" in said, said
    assert "does not enforce those of memory" in host.run("podkeeper", "doctor", check=False)
    assert "does not enforce those of memory" in host.run("podkeeper", "host")


def test_a_program_that_crashes_once_it_is_live_is_told_so_with_how_often(host: Host, name: str, clone: Clone):
    good = "test ! -e /data/bad && httpd -p 8080 && while test ! -e /data/bad; do sleep 0.1; done; exit 3"
    assert "Live:" in push(clone, f'{BASE}VOLUME /data\nCMD ["sh", "-c", "{good}"]\n')
    host.user("podman", "exec", f"{name}-1", "touch", "/data/bad")

    def told() -> bool:
        lines = host.run("podkeeper", "ps").splitlines()
        return any(line.startswith(f"{name} ") and "restarting (" in line and "in 10 min)" in line for line in lines)

    wait_for(told, 60, lambda: f"it is told: {host.run('podkeeper', 'ps')}")


def test_who_goes_back_is_told_to_what(host: Host, name: str, clone: Clone):
    for number in range(3):
        push(clone, f"{BASE}ENV X={number}\n{SERVE}")
    for back in (2, 1):
        said = host.run("podkeeper", "rollback", name)
        assert f"going back to release {back}, of commit " in said and " UTC, as release " in said, said
