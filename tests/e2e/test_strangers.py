"""What somebody owns of the host who may push to one service, or whose image is its base: that service and nothing else.

Each test is written as the attacker would.
"""

import contextlib
import json
import os
import pathlib

from containers import BASE, IMAGE, SERVE, SITE
from host import Host, wait_for
from reach import AZURE, REACH, reaches, served_outside

UNITS = "/var/lib/podkeeper/.config/containers/systemd"


def test_a_volumes_path_writes_no_unit(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"site/index.html": "mine"})
    clone.push()
    host.run("rm", "-f", "/var/lib/podkeeper/pwned")
    files = host.run("find", UNITS, "-name", f"{name}*")
    evil = json.dumps(["/d\n[Service]\nExecStartPre=/usr/bin/touch /var/lib/podkeeper/pwned"])
    # As the image's own line, and as that of the base that somebody else made.
    base = f"{IMAGE.strip()} AS base\nVOLUME {evil}\nFROM base\n"
    for containerfile in (f"{BASE}VOLUME {evil}\n{SERVE}", f"{base}{SITE}{SERVE}"):
        clone.commit({"Containerfile": containerfile})
        said = clone.push(check=False)
        assert "is not a path for a volume" in said and "Change the VOLUME" in said, said
    assert host.code("test", "-e", "/var/lib/podkeeper/pwned") != 0
    assert host.run("find", UNITS, "-name", f"{name}*") == files
    assert host.serve(name).text == "mine", "what ran before goes on"


def test_no_image_and_no_setting_writes_more_than_its_values(host: Host):
    tests = "/tmp/generator-tests"
    host.put(pathlib.Path(os.environ["PODKEEPER_GENERATOR"]), tests)
    try:
        host.run("chmod", "755", tests)
        said = host.run(tests, "--nocapture")
        assert "1 passed" in said, said
    finally:
        host.run("rm", "-f", tests)


def test_each_path_keeps_its_own_volume(host: Host, name: str, tmp_path):
    host.create(name)
    host.call("PATCH", f"/services/{name}", 200, json={"volumes": {"data": "/srv"}})
    long = "/" + "/".join(["volume"] * 8)
    paths = ["/srv", "/data", "/a/b", "/a-b", "/volume", f"{long}/one", f"{long}/two", "/Data/"]
    # Each start adds a line to a file in each, and the site is what they hold.
    lines = "; ".join(f"echo {path} >>{path}/lines; mkdir -p /site{path}; cp {path}/lines /site{path}/index.html" for path in paths)
    declared = json.dumps(paths[1:])
    clone = host.clone(name, tmp_path / "clone")
    start = f'CMD ["sh", "-c", "{lines}; exec httpd -f -p 8080 -h /site"]\n'
    clone.commit({"Containerfile": f"{IMAGE}EXPOSE 8080\nSTOPSIGNAL SIGKILL\nVOLUME {declared}\n{start}"})
    clone.push()
    for starts in (1, 2):
        for path in paths:
            assert host.serve(name, f"{path.rstrip('/')}/").text == f"{path}\n" * starts, path
        if starts == 1:
            host.wait_deployment(host.call("POST", f"/services/{name}/restart", 202, json={"quick": True}).json()["id"])
    mounted = host.user("podman", "inspect", "--format", "{{range .Mounts}}{{.Name}} {{end}}", f"{name}-2").split()
    assert len(set(mounted)) == len(paths) and all(volume.startswith(f"{name}.") for volume in mounted), mounted
    # The image drops some and gains one before the others, which are where they were.
    clone.commit({"Containerfile": f"{IMAGE}EXPOSE 8080\nSTOPSIGNAL SIGKILL\nVOLUME {json.dumps(['/a', '/a-b', '/a/b'])}\n{start}"})
    clone.push()
    for path in ("/a/b", "/a-b", "/srv"):
        assert host.serve(name, f"{path}/").text == f"{path}\n" * 3, path
    # What it dropped it finds again.
    clone.commit({"Containerfile": f"{IMAGE}EXPOSE 8080\nSTOPSIGNAL SIGKILL\nVOLUME {declared}\n{start}"})
    clone.push()
    assert host.serve(name, "/data/").text == "/data\n" * 3


def test_a_removed_services_volumes_are_its_own_when_its_name_comes_back(host: Host, name: str, tmp_path):
    start = 'CMD ["sh", "-c", "echo started >>/data/index.html; exec httpd -f -p 8080 -h /data"]\n'
    containerfile = f"{IMAGE}RUN mkdir /data && chown 1000 /data\nUSER 1000\nVOLUME /data\nEXPOSE 8080\nSTOPSIGNAL SIGKILL\n{start}"

    def push(to: str) -> None:
        host.create(to)
        clone = host.clone(to, tmp_path / to)
        clone.commit({"Containerfile": containerfile})
        clone.push()

    def ids(of: str) -> str:
        return host.user("podman", "exec", f"{of}-1", "cat", "/proc/self/uid_map")

    push(name)
    own = ids(name)
    host.delete(name, volumes=False)
    other = f"{name[:30]}-other"
    try:
        push(other)
        assert ids(other) != own, "what the volume belongs to is nobody else's"
        assert host.serve(other).text == "started\n"
        push(name)
        assert ids(name) == own
        assert host.serve(name).text == "started\nstarted\n"
    finally:
        host.delete(other)
    # Once they are removed, too, so are the ids.
    host.delete(name)
    assert not host.user("podman", "volume", "ls", "-q", "--filter", f"name=^{name}").split()
    wait_for(lambda: not host.user("podman", "ps", "-aq", "--filter", f"name=^{name}").split(), 30, "nothing of it is left")


def test_what_another_store_knew_is_not_taken_for_a_new_service(host: Host, name: str):
    file = f"{UNITS}/{name}@7.container"
    host.write(file, "[Container]\nImage=localhost/podkeeper/other:7\n")
    try:
        answer = host.call("PUT", f"/services/{name}", 409, json={"template": "static"}).json()
        assert "that this agent doesn't know" in answer["detail"] and "another name" in answer["hint"], answer
        assert host.call("GET", "/services/available", 200, params={"name": name}).json()["reason"] == "taken"
        assert host.code("test", "-e", file) == 0
    finally:
        host.run("rm", file)
    host.create(name)


def test_what_an_attacker_reaches_from_a_service(host: Host, name: str, tmp_path):
    """The internet and the neighbours; neither the host's loopback, where the agent, the proxy and other services listen,
    nor a cloud's metadata, but for Azure's. What of the host listens at all of its addresses is reached, as from any neighbour."""
    own = host.run("hostname", "-I").split()[0]
    other = f"{name[:30]}-other"
    host.create(name)
    host.create(other)
    try:
        host.start(other)
        (port,) = host.run("ls", f"/var/lib/podkeeper-proxy/routes/{other}.localhost").split()
        with contextlib.ExitStack() as stack, served_outside(host, own, tmp_path) as (machine, outside, cloud):
            for unit, address in (("all", "0.0.0.0:9998"), ("near", "127.0.0.1:9996")):
                host.run("systemd-run", f"--unit=t-service-{unit}", "busybox", "httpd", "-f", "-p", address, "-h", "/etc")
                stack.callback(host.run, "systemctl", "stop", f"t-service-{unit}.service", check=False)
            # At 127.0.0.1:8080 it answers itself.
            loopback = {"127.0.0.1:7070", "127.0.0.1:9996", f"127.0.0.2:{port}"}
            # Where Azure's resolver is, too.
            azure = {address for address in cloud if address.startswith(AZURE)}
            # As a container knows its host.
            mapped = {f"169.254.1.2:{port}" for port in (7070, 8080, 9996, port)}
            every = REACH.format(" ".join(sorted(loopback | mapped | outside | cloud | {machine, "169.254.1.2:9998"})))
            reaches(lambda: host.run("sh", "-c", every.replace("wget", "busybox wget")), loopback | outside | cloud | {machine})
            host.start(name)
            inside = lambda: host.user("podman", "exec", f"{name}-1", "sh", "-c", every)
            reaches(inside, outside | azure | {machine, "169.254.1.2:9998"})
        # Nor has it anything else of the host: its ids are its own, it can't become more, and no socket lies in it.
        outer = int(host.user("podman", "exec", f"{name}-1", "awk", "{ print $2 }", "/proc/self/uid_map").split()[0])
        assert outer not in (0, int(host.uid()))
        process = host.user("podman", "inspect", "--format", "{{.State.Pid}}", f"{name}-1").strip()
        status = dict(line.split(":\t", 1) for line in host.run("cat", f"/proc/{process}/status").splitlines())
        assert status["NoNewPrivs"] == "1" and int(status["Uid"].split()[0]) > 100_000
        assert not host.user("podman", "exec", f"{name}-1", "sh", "-c", "find / -xdev -type s 2>/dev/null; true").strip()
    finally:
        host.delete(other)
