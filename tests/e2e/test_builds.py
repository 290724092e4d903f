"""What a build reaches: the internet, the service's own earlier images, and nothing of the host, its neighbours and of other
services. And what is kept of it.

Most are written as the attacker would, who may push to one service.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import pathlib
import time
from collections.abc import Iterator

import pytest
from containers import BASE, IMAGE, SERVE, SITE, Gate, last, push_behind
from host import Clone, Host, git, wait_for
from reach import INTERNET, LINK, REACH, at, has_address, reached, reaches, resolving, served_outside

STATE = "/var/lib/podkeeper"
# No step of a build is in the cache.
numbers = itertools.count(time.time_ns())


@pytest.fixture
def clone(host: Host, name: str, tmp_path: pathlib.Path) -> Clone:
    host.create(name)
    return host.clone(name, tmp_path / "clone")


@pytest.fixture(scope="module")
def victim(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another service, whose image holds a secret."""
    name = "t-builds-victim"
    try:
        host.create(name)
        clone = host.clone(name, tmp_path_factory.mktemp("victim") / "clone")
        clone.commit({"Containerfile": f"{BASE}RUN echo the-secret >/site/secret.html\n{SERVE}", "site/index.html": "victim"})
        clone.push()
        yield name
    finally:
        host.delete(name)


def build(clone: Clone, steps: str, **files: str | bytes) -> str:
    """What is said of a build with these steps, none of which is cached."""
    containerfile = f"{IMAGE}LABEL number={next(numbers)}\n{SITE}{steps}{SERVE}"
    clone.commit({"Containerfile": containerfile, "site/index.html": "mine", **files})
    lines = clone.push(check=False).splitlines()
    return "\n".join(line.removeprefix("remote: ").rstrip() for line in lines)


def run(clone: Clone, script: str) -> str:
    """What a script says as a step."""
    said = build(clone, f"RUN <<'END'\n{{ {script}\n}} 2>&1\ntrue\nEND\n")
    assert "is live" in said or "live at" in said, said
    return said


def told(said: str) -> str:
    """What steps have said, without their own text."""
    return "\n".join(line for line in said.splitlines() if not line.startswith("STEP "))


def test_what_an_attacker_reaches_from_a_build(host: Host, name: str, victim: str, clone: Clone, gate: Gate, tmp_path: pathlib.Path):
    """The host's addresses, another service, the neighbours, the cloud's metadata: none of them. Each is shown to be there
    from the host."""
    own = host.run("hostname", "-I").split()[0]
    extra = ("10.99.79.1", "203.0.113.11", "2001:db8:79::1")
    later = ("10.99.80.1", "203.0.113.12", "2001:db8:80::1", "fd80::1")
    with contextlib.ExitStack() as stack, served_outside(host, own, tmp_path) as (machine, outside, cloud):
        for address in extra:
            has_address(host, stack, address, "lo")
        for unit, address, port in (("all", "[::]", 9998), ("all4", "0.0.0.0", 9999), ("near", "127.0.0.1", 9996)):
            host.run("systemd-run", f"--unit=t-builds-{unit}", "busybox", "httpd", "-f", "-p", f"{address}:{port}", "-h", "/etc")
            stack.callback(host.run, "systemctl", "stop", f"t-builds-{unit}.service", check=False)
        (port,) = host.run("sh", "-c", f"ls /var/lib/podkeeper-proxy/routes/{victim}.localhost").split()
        loopback = {f"127.0.0.1:{port}" for port in (7070, 8080, 9996, 9998)} | {f"127.0.0.2:{port}"}
        of_host = {at(address, 9998) for address in (own, f"{LINK}2", *extra)}
        of_host |= {f"{address}:9999" for address in (own, "192.0.2.254", *extra) if ":" not in address}
        every = REACH.format(" ".join(sorted(loopback | of_host | outside | cloud | {machine})))
        mapped = REACH.format("169.254.1.2:9998 169.254.1.1:9998 [fe80::1%eth0]:9998")

        on_host = lambda probe: host.run("sh", "-c", probe.replace("wget", "busybox wget"))
        reaches(lambda: on_host(every), loopback | of_host | outside | cloud | {machine})
        reaches(lambda: run(clone, f"{every}; {mapped}"), outside)

        # Nor what fetches for it, whoever asks: the names of images, and ADD.
        for target in sorted(loopback | of_host | cloud | {machine}):
            said = build(clone, f"ADD http://{target}/ /site/got.html\n")
            assert "Failed (build-failed)" in said, (target, said)
        assert "live" in build(clone, f"ADD http://{sorted(outside)[0]}/ /site/got.html\n")
        for target in ("127.0.0.1:9996", f"{own}:9998", machine):
            clone.commit({"Containerfile": f"ARG BASE=http\nFROM {target}/library/busybox:stable\n{SITE}{SERVE}"})
            said = clone.push()
            assert "Failed (build-failed)" in said and "x509" not in said, said
        # Buildah takes a repository that it can't fetch for its working folder, which is empty.
        said = build(clone, f"ADD http://{machine}/repository.git /got/\nRUN echo it has $(ls -A /got | wc -l)\n")
        assert "it has 0" in said, said

        # Nor by addresses that the host is given while it goes on: at once where they aren't of the internet, and of the
        # internet's within seconds.
        new = REACH.format(" ".join(at(address, 9998) for address in later))
        until_closed = f"for _ in $(seq 60); do said=$({new}); [ -z \"$said\" ] && break; sleep 1; done; echo \"$said\""
        clone.commit({"Containerfile": f"{IMAGE}LABEL number={next(numbers)}\nRUN {gate.waits}; {until_closed}\n{SITE}{SERVE}"})
        push = push_behind(clone)
        gate.wait_reached()
        for number, address in enumerate(later):
            has_address(host, stack, address, ("lo", "eth0")[number % 2])
        reaches(lambda: on_host(new), {at(address, 9998) for address in later})
        lines = lambda: host.journal(f"SYSLOG_IDENTIFIER=build-{last(host, name)['id']}")
        closed = "this host's addresses changed; the build's network is closed to them"
        wait_for(lambda: closed in lines(), 10, "it is closed anew")
        gate.open()
        push.wait(600)
        assert last(host, name)["state"] == "live" and reached("\n".join(lines())) == set()

        # What is allowed besides is open, but for the host and for metadata; and names are found.
        with host.configured('[builds]\nallow = ["10.99.0.0/16", "100.64.0.0/10", "fd00::/8"]\n'), resolving(host):
            reaches(lambda: run(clone, f"{every}; {new}"), outside | {machine})
            assert INTERNET[0] in run(clone, "nslookup host.example.com")


def test_a_build_has_nothing_of_the_host(host: Host, victim: str, clone: Clone):
    said = run(
        clone,
        """
        awk '$8 ~ /^[\\/@]/ { print "SOCKET", $8 }' /proc/net/unix
        awk '{ print "IDS", $1, $2, $3 }' /proc/self/uid_map
        ls /proc | grep -c '^[0-9]' | sed 's/^/PROCESSES /'
        find / -xdev -name '*podkeeper*' | sed 's/^/FILE /'
        awk '{ print "MOUNT", $4, $5 }' /proc/self/mountinfo
        ls /sys/class/net | sed 's/^/INTERFACE /'
        find /sys/fs/cgroup -name '*.service' | sed 's/^/UNIT /'
        mkdir -p /mnt
        for privileged in 'ip link set lo down' 'mount -t tmpfs none /mnt' 'mknod /dev/memory c 1 1'; do
          $privileged && echo "CAN $privileged"
        done
        """,
    )
    lines = lambda word: [line.split(" ", 1)[1] for line in said.splitlines() if line.startswith(f"{word} ")]
    assert lines("SOCKET") == lines("CAN") == lines("FILE") == lines("UNIT") == [], said
    (processes,) = lines("PROCESSES")
    assert int(processes) <= 5 and sorted(lines("INTERFACE")) == ["eth0", "lo"], said
    assert lines("MOUNT") and not [mount for mount in lines("MOUNT") if "podkeeper/git" in mount or "agent" in mount], said
    ids = [line.split() for line in lines("IDS")]
    assert ids and all(int(outer) != 0 for _, outer, _ in ids), ids
    owners = host.run("sh", "-c", f"stat -c %u {STATE}/cache/*/store").split()
    assert len(owners) == len(set(owners)) >= 2 and host.uid() not in owners, owners


FOREIGN = [
    "COPY --from=localhost/podkeeper/{victim}:1 /site /site/stolen\n",
    "COPY --from={id} /site /site/stolen\n",
    "RUN --mount=type=bind,from=localhost/podkeeper/{victim}:1,target=/v cp -r /v/site /site/stolen\n",
    "RUN --mount=type=bind,from={id},target=/v cp -r /v/site /site/stolen\n",
    "RUN --mount=type=cache,from=localhost/podkeeper/{victim}:1,target=/v cp -r /v/site /site/stolen\n",
    "COPY --from=containers-storage:localhost/podkeeper/{victim}:1 /site /site/stolen\n",
    "COPY --from=containers-storage:[overlay@{storage}]localhost/podkeeper/{victim}:1 /site /site/stolen\n",
    "RUN --mount=type=bind,source=../../../,target=/v cp -r /v /site/stolen\n",
    "RUN --mount=type=bind,source=/var/lib/podkeeper,target=/v cp -r /v /site/stolen\n",
    "RUN --mount=type=secret,id=podkeeper-{victim},required=true cp /run/secrets/* /site/stolen\n",
    "RUN --mount=type=ssh,required=true test -S $SSH_AUTH_SOCK && touch /site/stolen\n",
    "COPY ../../../agent/store.db /site/stolen\n",
    "COPY --parents /var/lib/podkeeper/./agent/store.db /site/stolen\n",
]
FROM = [
    "localhost/podkeeper/{victim}:1",
    "{id}",
    "sha256:{id}",
    "containers-storage:localhost/podkeeper/{victim}:1",
    "containers-storage:[overlay@{storage}]localhost/podkeeper/{victim}:1",
    "dir:/var/lib/podkeeper/out",
    "oci:/var/lib/podkeeper/out",
    "oci-archive:/tmp/t-builds.tar",
    "docker-archive:/tmp/t-builds.tar",
    "docker-daemon:localhost/podkeeper/{victim}:1",
]


def test_another_services_image_is_in_no_builds_reach(host: Host, name: str, victim: str, clone: Clone):
    facts = {
        "victim": victim,
        "id": host.user("podman", "image", "inspect", "-f", "{{.Id}}", f"localhost/podkeeper/{victim}:1").strip(),
        "storage": f"{STATE}/.local/share/containers/storage",
    }
    archive = "/tmp/t-builds.tar"
    try:
        host.user("podman", "save", "-q", "-o", archive, f"localhost/podkeeper/{victim}:1")
        host.run("chmod", "644", archive)
        for step in FOREIGN:
            said = build(clone, step.format(**facts))
            assert "Failed (build-failed)" in said and "the-secret" not in said, (step, said)
        for base in FROM:
            for form in ("FROM {}\n", "ARG BASE={}\nFROM ${{BASE}}\n"):
                clone.commit({"Containerfile": form.format(base.format(**facts)) + SERVE})
                said = clone.push()
                assert "Failed (build-failed)" in said and "the-secret" not in said, (base, said)
    finally:
        host.run("rm", "-f", archive)
    # What it steals it could not tell: nothing was released.
    assert host.call("GET", f"/services/{name}", 200).json()["release"] is None
    # With its own they are fine things to do.
    assert "live" in build(clone, "RUN echo first >/site/first.html\n")
    release = last(host, name)["release"]
    clone.commit({"Containerfile": f"FROM localhost/podkeeper/{name}:{release}\nCOPY --from=localhost/podkeeper/{name}:{release} /site /again\nRUN test -e /again/first.html\n"})
    assert "live" in clone.push()
    assert host.serve(name, "/first.html").text == "first\n"


@contextlib.contextmanager
def served_repository(host: Host, folder: pathlib.Path) -> Iterator[str]:
    """The address of a repository on what stands for the internet."""
    git("init", "-q", "--initial-branch=main", "work", cwd=folder)
    Clone(folder / "work").commit({"inside": "a file of the repository"})
    git("bundle", "create", "-q", "../bundle", "HEAD", "main", cwd=folder / "work")
    root = "/srv/t-builds-git"
    script = f"#!/bin/sh\nGIT_PROJECT_ROOT={root}/git GIT_HTTP_EXPORT_ALL=1 exec git -c safe.directory='*' http-backend\n"
    unit = ["--quiet", "--collect", "--unit=t-builds-git", "--property=NetworkNamespacePath=/run/netns/internet"]
    try:
        host.run("mkdir", "-p", f"{root}/cgi-bin", f"{root}/git")
        host.put(folder / "bundle", f"{root}/bundle")
        host.run("git", "clone", "-q", "--bare", f"{root}/bundle", f"{root}/git/added.git")
        host.write(f"{root}/cgi-bin/git", script)
        host.run("chmod", "755", f"{root}/cgi-bin/git")
        host.run("systemd-run", *unit, "busybox", "httpd", "-f", "-p", "192.0.2.1:8123", "-h", root)
        address = "http://192.0.2.1:8123/cgi-bin/git/added.git"
        wait_for(lambda: host.code("git", "ls-remote", address) == 0, 30, "the repository is there")
        yield address
    finally:
        host.run("systemctl", "stop", "t-builds-git.service", check=False)
        host.run("rm", "-rf", root)


def test_a_repository_that_a_step_adds_leads_out_to_nothing_of_value(host: Host, clone: Clone, tmp_path: pathlib.Path):
    """By CVE-2026-44517 it leads out of itself: to what buildah may read."""
    logins = f"{STATE}/.config/containers/auth.json"
    secret = "dGhlLXVzZXI6dGhlLXBhc3N3b3Jk"
    before = host.run("cat", logins) if host.code("test", "-e", logins) == 0 else None
    try:
        host.write(logins, json.dumps({"auths": {"private.example.org": {"auth": secret}}}))
        host.run("chown", "podkeeper:podkeeper", logins)
        with served_repository(host, tmp_path) as address:
            look = (
                f"RUN echo \"HAS [$(ls /got)]\"; grep -rl {secret} /got | sed 's/^/LEAKED /'; "
                "find /got | grep -E 'podkeeper|store.db|auth.json' | sed 's/^/LEAKED /'; true\n"
            )
            named = "# private.example.org\n"
            # With a login it has no git.
            for comment, expected in (("", "HAS [inside]"), (named, "HAS []")):
                said = build(clone, f"{comment}ADD {address} /got/\n{look}")
                assert expected in said and "LEAKED" not in told(said), said
            for way in ("..", "../..", "../../..", "../../../../..", "../../../etc", "../../../settings", "../../settings"):
                for comment in ("", named):
                    said = build(clone, f"{comment}ADD {address}#main:{way} /got/\n{look}")
                    assert "LEAKED" not in told(said), (way, said)
    finally:
        if before is None:
            host.run("rm", "-f", logins)
        else:
            host.write(logins, before)


def test_a_store_that_a_step_has_made_is_none(host: Host, name: str, clone: Clone):
    """What it is read with would be a program of the step's own, outside its container."""
    make = """RUN --mount=type=cache,id=x,target=/c <<'END'
    mkdir -p /c/g/overlay-images /c/g/overlay-layers /c/g/overlay /c/r
    printf '#!/bin/sh\\ntouch /mnt/tmp/buildah-cache-0/ran /mnt/tmp/ran\\n' >/c/evil
    chmod 755 /c/evil
    id=$(printf %064d 1)
    mkdir /c/g/overlay-images/$id
    printf '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"layers":[]}' >/c/g/overlay-images/$id/manifest
    printf '[{"id":"%s","names":["localhost/x:1"],"layer":"%s","big-data-names":["manifest"]}]' $id $id >/c/g/overlay-images/images.json
    printf '[{"id":"%s"}]' $id >/c/g/overlay-layers/layers.json
    mkdir -p /c/g/overlay/$id/diff
END
"""
    assert "live" in build(clone, make)
    found = host.run("sh", "-c", f"ls -d {STATE}/cache/{name}/mounts/*/evil").split("/")
    folder = f"/mnt/tmp/buildah-cache-0/{found[-2]}"
    for store in (f"{folder}/g+{folder}/r", f"/mnt/store+{folder}/r"):
        for base in ("localhost/x:1", f"localhost/podkeeper/{name}:1"):
            reference = f"containers-storage:[overlay@{store}:overlay.mount_program={folder}/evil]{base}"
            for containerfile in (f"FROM {reference}\n", f"{IMAGE}COPY --from={reference} / /x\n"):
                clone.commit({"Containerfile": f"{containerfile}LABEL number={next(numbers)}\n{SERVE}"})
                said = clone.push()
                assert "Failed (build-failed)" in said, (reference, said)
                # It is there, and would be read.
                is_there = store.startswith(folder) == (base == "localhost/x:1")
                assert "rejected by policy" in said or not (is_there and containerfile.startswith("FROM containers")), said
    assert "ran" not in host.run("find", f"{STATE}/cache/{name}/mounts", "-name", "ran")


def test_links_of_a_repository_lead_nowhere(host: Host, name: str, clone: Clone):
    targets = ("/etc/passwd", f"{STATE}/agent/store.db", "../../../../etc/hostname", "/proc/self/environ")
    for target in targets:
        (clone.folder / "link").symlink_to(target)
        said = build(clone, "COPY link /site/link\n")
        assert "Failed (build-failed)" in said, (target, said)
        (clone.folder / "link").unlink()
    for file in (".containerignore", "Containerfile.dockerignore"):
        (clone.folder / file).symlink_to("/dev/zero")
        said = build(clone, "")
        assert "Failed (build-failed)" in said and f"`{file}` must be a file of the repository" in said, said
        (clone.folder / file).unlink()
    (clone.folder / "outside").symlink_to("/etc")
    assert "Failed (build-failed)" in build(clone, "COPY outside/passwd /site/passwd\n")


def test_what_go_leaves_in_its_cache_is_kept_and_stops_nothing(host: Host, name: str, clone: Clone):
    cached = "RUN --mount=type=cache,target=/c d=/c/$(ls /c | wc -l); mkdir $d && touch $d/file && chmod 555 $d; echo there are $(ls /c | wc -l)\n"
    for number in (1, 2, 3):
        said = build(clone, cached)
        assert f"there are {number}" in said and "live" in said, said
        folder = last(host, name)["id"]
        wait_for(lambda: host.run("sh", "-c", f"ls -d {STATE}/builds/{folder}* 2>/dev/null || true") == "", 10, "its folder is gone")
    host.run("podkeeper", "doctor")
    # It ends with its service.
    assert host.code("test", "-d", f"{STATE}/cache/{name}") == 0
    host.delete(name)
    wait_for(lambda: host.code("test", "-d", f"{STATE}/cache/{name}") != 0, 30, "its cache is gone")


def test_what_a_killed_build_left_is_cleared_away(host: Host, name: str, gate: Gate, clone: Clone):
    """Folders of the service's ids, which nobody else may enter."""
    steps = f"RUN --mount=type=cache,target=/c mkdir /c/deep && chmod 0 /c/deep; {gate.waits}\n"
    clone.commit({"Containerfile": f"{IMAGE}LABEL number={next(numbers)}\n{steps}{SITE}{SERVE}", "site/index.html": "killed"})
    push = push_behind(clone)
    gate.wait_reached()
    deployment = last(host, name)
    mine = f"ls -d {STATE}/builds/{deployment['id']}.tmp"
    assert host.code("sh", "-c", mine) == 0
    host.user("systemctl", "--user", "kill", "-s", "KILL", "--kill-whom=all", f"build-{deployment['id']}.service")
    push.wait(600)
    host.wait_deployment(deployment["id"], "failed")
    wait_for(lambda: host.code("sh", "-c", mine) != 0, 10, "its folders are gone")
    assert not host.run("sh", "-c", f"ls {STATE}/builds")
    # What it had begun in its cache is no hindrance.
    assert "live" in build(clone, "")


@contextlib.contextmanager
def writable_registry(host: Host) -> Iterator[str]:
    """A registry on what stands for the internet, that takes images."""
    registry = "192.0.2.1:5002"
    config, drop_in = "/run/t-builds-registry.yml", "/etc/containers/registries.conf.d/t-builds.conf"
    host.write(
        config,
        "version: 0.1\nlog: { level: warn }\nstorage:\n  filesystem: { rootdirectory: /run/t-builds-registry }\n"
        f'http: {{ addr: "{registry}" }}\n',
    )
    host.write(drop_in, f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    unit = ["--quiet", "--collect", "--unit=t-builds-registry", "--property=NetworkNamespacePath=/run/netns/internet"]
    try:
        host.run("systemd-run", *unit, "docker-registry", "serve", config)
        wait_for(lambda: host.code("curl", "-s", "-o", "/dev/null", f"http://{registry}/v2/") == 0, 30, "the registry answers")
        yield registry
    finally:
        host.run("systemctl", "stop", "t-builds-registry.service", check=False)
        host.run("rm", "-rf", config, drop_in, "/run/t-builds-registry")


def test_a_base_may_have_a_short_name(host: Host, name: str, clone: Clone):
    """As most people write it: one that Debian's list of short names knows, and one that no list does."""
    assert '"library/busybox"' not in host.run("cat", "/etc/containers/registries.conf.d/shortnames.conf")
    text = f"FROM library/busybox:stable AS first\nRUN echo short >/page\nFROM busybox:stable\n{SITE}COPY --from=first /page /site/\n"
    clone.commit({"Containerfile": text + SERVE, "site/index.html": "mine"})
    clone.push()
    assert host.serve(name, "/page").text == "short\n"


def test_a_patched_base_is_taken(host: Host, name: str, clone: Clone):
    with writable_registry(host) as registry:
        base = f"{registry}/base:1"

        def publish(text: str) -> None:
            containerfile = f"FROM docker.io/library/busybox:stable\nRUN mkdir /site; echo {text} >/site/index.html\n"
            host.write("/run/t-builds.Containerfile", containerfile)
            host.run("chmod", "644", "/run/t-builds.Containerfile")
            host.user("podman", "build", "-q", "-t", base, "-f", "/run/t-builds.Containerfile", "/etc/skel")
            host.user("podman", "push", "-q", base)
            host.user("podman", "rmi", "-f", base)

        publish("old")
        clone.commit({"Containerfile": f"FROM {base}\nEXPOSE 8080\nSTOPSIGNAL SIGKILL\n{SERVE}"})
        clone.push()
        assert host.serve(name).text == "old\n"
        publish("patched")
        with host.configured('[builds]\npull = "missing"\n'):
            host.start(name)
            assert host.serve(name).text == "old\n"
        host.start(name)
        assert host.serve(name).text == "patched\n"
    # A registry that is away keeps nobody from building on what is there.
    host.start(name)
    assert host.serve(name).text == "patched\n"


def test_caches_have_an_end(host: Host, name: str, clone: Clone):
    assert "live" in build(clone, "RUN head -c 3000000 /dev/urandom >/site/large\n")
    cache = f"{STATE}/cache/{name}"
    assert host.code("test", "-d", f"{cache}/store") == 0
    with host.configured("[builds]\ncache_mib = 1\n"):
        # Maintenance.
        host.kill_agent()
        host.start_agent()
        wait_for(lambda: host.code("test", "-d", cache) != 0, 30, "the cache is removed")
    assert "live" in build(clone, "")


def test_a_host_without_a_way_to_the_internet_builds_on_what_it_has(host: Host, name: str, clone: Clone):
    assert "live" in build(clone, "")
    route = host.run("ip", "route", "show", "default").strip()
    devices = ("eth0", "internet")
    for device in devices:
        host.run("ip", "link", "set", device, "down")
    try:
        said = build(clone, "RUN echo offline >/site/index.html\n")
    finally:
        for device in devices:
            host.run("ip", "link", "set", device, "up")
        host.run("ip", "route", "replace", *route.split())
    assert host.serve(name).text == "offline\n", said


@pytest.mark.parametrize("line", ["FROM docker.io/library/nothing:1", "FROM not-there", f"{IMAGE}COPY --from=nothing.example.com/x:2 /a /a"])
def test_an_image_that_there_is_not_is_named(host: Host, name: str, clone: Clone, line: str):
    clone.commit({"Containerfile": f"{line}\nCMD true\n"})
    said = clone.push()
    image = line.rsplit("FROM ", 1)[-1] if "--from" not in line else "nothing.example.com/x:2"
    assert f"Failed (build-failed): The image `{image}`, which the build is made of, " in said, said
    assert "look at" in said.lower()
