"""Git over smart HTTP: who may, what is streamed, what is refused, and what the person who pushes reads."""

import base64
import os
import pathlib

import requests
from containers import BASE, SERVE, Gate, Push
from host import Host, git, wait_for

GIT = "http://127.0.0.1:7070/git"
MIB = 1024 * 1024


def basic(password: str, user: str = "any") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def deployments(host: Host, name: str) -> list[dict]:
    return host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"]


def test_a_token_is_the_password(host: Host, name: str):
    host.create(name)
    refs = f"{GIT}/{name}.git/info/refs?service=git-upload-pack"
    for headers in ({}, basic("pk_wrong"), {"Authorization": f"Bearer {host.token}"}, {"Authorization": "Basic ?"}):
        answer = requests.get(refs, headers=headers, timeout=300)
        assert answer.status_code == 401, headers
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        # Git shows a text and nothing else.
        assert answer.headers["Content-Type"].startswith("text/plain") and "token" in answer.text
    # Whether a repository is there is nobody's business who has no key.
    assert requests.get(f"{GIT}/nothing.git/info/refs?service=git-upload-pack", timeout=300).status_code == 401
    for user in ("any", "", "ünï"):
        assert requests.get(refs, headers=basic(host.token, user), timeout=300).status_code == 200


def test_only_smart_requests_to_repositories_of_this_host(host: Host, name: str, tmp_path):
    host.create(name)
    for path in ("HEAD", "config", "info/refs", "objects/info/packs", "info/refs?service=git-upload-archive", "../../store.db"):
        assert requests.get(f"{GIT}/{name}.git/{path}", headers=basic(host.token), timeout=300).status_code == 404, path
    for repository in ("nothing.git", f"{name}", "..git", "%2e%2e%2fkeys.git"):
        url = f"{GIT}/{repository}/info/refs?service=git-upload-pack"
        assert requests.get(url, headers=basic(host.token), timeout=300).status_code == 404, repository
    said = git("clone", f"http://any:{host.token}@127.0.0.1:7070/git/nothing.git", cwd=tmp_path, check=False)
    assert "not found" in said
    put = requests.put(f"{GIT}/{name}.git/git-receive-pack", headers=basic(host.token), timeout=300)
    assert put.status_code == 405 and "POST" in put.headers["Allow"]
    host.delete(name)
    host.create(name, external="https://example.org/x.git")
    url = f"{GIT}/{name}.git/info/refs?service=git-receive-pack"
    assert requests.get(url, headers=basic(host.token), timeout=300).status_code == 404


def test_protocol_v2_shallow_and_partial_clones(host: Host, name: str, tmp_path):
    host.create(name)
    refs = f"{GIT}/{name}.git/info/refs?service=git-upload-pack"
    answer = requests.get(refs, headers={**basic(host.token), "Git-Protocol": "version=2"}, timeout=300)
    assert b"version 2" in answer.content and b"fetch=shallow" in answer.content
    assert b"version 2" not in requests.get(refs, headers=basic(host.token), timeout=300).content

    whole = host.clone(name, tmp_path / "whole")
    for number in range(3):
        whole.commit({"site/number": str(number)})
    whole.git("push", "-q", "origin", "HEAD:refs/heads/side")
    shallow = host.clone(name, tmp_path / "shallow", "--depth=1", "--branch=side")
    assert shallow.git("rev-list", "--count", "HEAD").strip() == "1"
    assert (shallow.folder / "site/number").read_text() == "2"
    # A push from it goes through as well.
    commit = shallow.commit({"site/number": "3"})
    shallow.git("push", "-q", "origin", "HEAD:side")
    assert commit in shallow.git("ls-remote", "origin", "refs/heads/side")
    partial = host.clone(name, tmp_path / "partial", "--filter=blob:none", "--no-checkout")
    assert "?" in partial.git("rev-list", "--objects", "--missing=print", "--all")
    deepened = shallow.git("fetch", "--unshallow", "-q", "origin", "side")
    assert shallow.git("rev-list", "--count", "HEAD").strip() == "5", deepened


def peak(host: Host, pid: int) -> int:
    """The most memory that the process ever had, in KiB."""
    status = host.run("cat", f"/proc/{pid}/status")
    return int(status.split("VmHWM:")[1].split()[0])


def test_200_mb_up_and_down_at_constant_memory(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.git("config", "core.compression", "0")
    with open(clone.folder / "large", "wb") as file:
        for _ in range(200):
            file.write(os.urandom(MIB))
    commit = clone.commit({})
    pid = host.agent_pid()
    host.run("sh", "-c", f"echo 5 >/proc/{pid}/clear_refs")
    before = peak(host, pid)
    clone.git("push", "origin", "HEAD:refs/heads/large")
    pushed = peak(host, pid)
    git("clone", "-q", "--bare", "--branch=large", "--single-branch", clone.git("remote", "get-url", "origin").strip(),
        "back", cwd=tmp_path)  # fmt: skip
    assert git("rev-parse", "large", cwd=tmp_path / "back").strip() == commit
    cloned = peak(host, pid)
    print(f"200 MiB: from {before} KiB to {pushed} KiB by the push, {cloned} KiB by the clone")
    assert host.agent_pid() == pid
    assert pushed - before < 32 * 1024 and cloned - before < 32 * 1024


def test_bad_objects_are_refused(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    blob = clone.git("hash-object", "-w", "Containerfile").strip()

    def write(kind: str, content: bytes) -> str:
        path = tmp_path / "object"
        path.write_bytes(content)
        return clone.git("hash-object", "-w", "--literally", "-t", kind, str(path)).strip()

    who = "A <a@example.com> 1 +0000"
    evil = write("tree", b"100644 .git\0" + bytes.fromhex(blob))
    inside = clone.git("commit-tree", "-m", "evil", evil).strip()
    nobodys = write("commit", f"tree {clone.git('rev-parse', 'HEAD^{tree}').strip()}\ncommitter {who}\n\nx\n".encode())
    for commit, why in ((inside, "hasDotgit"), (nobodys, "missingAuthor")):
        said = clone.git("push", "origin", f"{commit}:refs/heads/evil", check=False)
        assert why in said and "[remote rejected]" in said, said
    assert clone.git("ls-remote", "origin", "refs/heads/evil") == ""


def test_a_push_that_is_too_large_is_refused(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    before = clone.git("ls-remote", "origin")
    clone.commit({"large": os.urandom(3 * MIB)})
    with host.configured("[git]\nmax_push_mib = 1\n"):
        for buffer in ("1048576", "8388608"):
            said = clone.git("-c", f"http.postBuffer={buffer}", "push", "origin", "HEAD:main", check=False)
            assert "pack exceeds maximum allowed size (1024.00 KiB)" in said, said
        # One that says before that it is larger by far is not read at all.
        headers = {**basic(host.token), "Content-Type": "application/x-git-receive-pack-request"}
        url = f"{GIT}/{name}.git/git-receive-pack"
        assert requests.post(url, b"x" * (18 * MIB), headers=headers, timeout=300).status_code == 413
        assert clone.git("ls-remote", "origin") == before
    assert deployments(host, name) == []
    clone.git("push", "-q", "origin", "HEAD:refs/heads/side")


def test_a_repository_has_so_many_branches_and_so_much_and_no_more(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"noise": os.urandom(2 * MIB)})
    push = lambda *refs: clone.git("push", "origin", *refs, check=False)
    there = lambda: clone.git("ls-remote", "origin")
    before = there()
    with host.configured("[git]\nmax_refs = 3\n"):
        said = push(*(f"HEAD:refs/heads/side-{number}" for number in range(3)))
        assert "at most 3 branches and tags" in said and "git.max_refs" in said, said
        assert there() == before
        assert "rejected" not in push("HEAD:refs/heads/side-0", "HEAD:refs/tags/one")
        # What moves, and what goes, is always taken.
        assert "rejected" not in push(":refs/tags/one", "HEAD:refs/heads/side-1")
    before = there()
    assert "side-0" in before and "side-1" in before and "refs/tags" not in before
    clone.commit({"more": "more"})
    with host.configured("[git]\nmax_repository_mib = 1\n"):
        said = push("HEAD:refs/heads/side-2")
        assert "413" in said, said
        assert there() == before
    assert "rejected" not in push("HEAD:refs/heads/side-2")
    assert deployments(host, name) == []


def test_a_push_to_another_branch_is_kept_and_says_so(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    commit = clone.commit({"site/index.html": "side"})
    assert "remote: Kept. Only a push to `main` is deployed." in clone.git("push", "origin", "HEAD:side")
    assert "remote: Kept." in clone.git("push", "origin", "HEAD:refs/tags/v1")
    assert deployments(host, name) == []
    assert commit in clone.git("ls-remote", "origin", "refs/heads/side")
    # The deployed branch can't be taken away; the others can.
    assert "[remote rejected]" in clone.git("push", "origin", ":main", check=False)
    clone.git("push", "origin", ":side")
    # Another branch becomes the deployed one, and a new history of it is a new release.
    host.call("PATCH", f"/services/{name}", 200, json={"branch": "side"})
    assert "remote: Kept. Only a push to `side` is deployed." in clone.git("push", "origin", "HEAD:main")
    assert "remote:   Live:" in clone.git("push", "origin", "HEAD:side")
    assert host.serve(name).text == "side"
    clone.git("commit", "-q", "--amend", "-m", "another")
    (clone.folder / "site/index.html").write_text("amended")
    clone.git("commit", "-qam", "another", "--amend")
    assert "remote:   Live:" in clone.git("push", "--force", "origin", "HEAD:side")
    assert host.serve(name).text == "amended"


def test_the_pusher_reads_the_build_as_it_runs(host: Host, name: str, gate: Gate, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": f"{BASE}RUN echo it has begun; {gate.waits}; echo it is over\n{SERVE}"})
    push = Push(clone)
    wait_for(lambda: "it has begun" in push.lines, 60, lambda: f"the pusher reads it: {push.lines}")
    # The build stands still: what was read did not wait for more.
    assert "it is over" not in push.lines and deployments(host, name)[0]["state"] == "building"
    gate.wait_reached()
    gate.open()
    push.end()
    begun, over = push.lines.index("it has begun"), push.lines.index("it is over")
    (live,) = [number for number, line in enumerate(push.lines) if line.startswith("Live:")]
    assert begun < over < live, push.lines
    assert f"http://{name}.localhost:8080" in push.lines[live]
    # Nothing moved: nothing is deployed.
    assert "up-to-date" in clone.push()
    assert len(deployments(host, name)) == 1


def test_without_a_commit_on_its_branch_there_is_nothing_to_build(host: Host, name: str, tmp_path):
    host.create(name)
    host.call("PATCH", f"/services/{name}", 200, json={"branch": "nothing"})
    failed = host.start(name, "failed")
    assert failed["problem"]["code"] == "no-commits" and "`nothing`" in failed["problem"]["hint"]
    # A repository of another history altogether is as good as any.
    other = tmp_path / "other"
    other.mkdir()
    git("init", "-q", "-b", "nothing", cwd=other)
    git("commit", "-q", "--allow-empty", "-m", "nothing", cwd=other)
    said = push_all(host, name, other)
    assert "Failed (no-recipe)" in said and "Add a Containerfile" in said, said
    # Who waits for it, as CI does, has not pushed well; what git itself says of it depends on its age.
    assert "the deployment is not live" in said and "\nerror: " in said, said


def push_all(host: Host, name: str, folder: pathlib.Path) -> str:
    return git("push", "-o", "wait", host.remote(name), "HEAD:nothing", cwd=folder, check=False)
