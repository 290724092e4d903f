"""Services whose code lies elsewhere: a real git server on the host, over http, ssh and git's own protocol."""

import base64
import contextlib
import json
import socket
from typing import Any
from urllib.parse import quote

import pytest
from containers import BASE, SERVE
from host import Host, wait_for
from test_hooks import github, payload

PASSWORD = "p@ss/wörd%41"
HTTP = "127.0.0.1:8085/cgi-bin/git"
UNITS = ("forge-http", "forge-ssh", "forge-git")
PORTS = (8085, 22, 2222, 9418)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


class Forge:
    """git http-backend behind busybox's httpd, sshd and git's daemon, all over the repositories below /srv/forge/git."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.stop(host)
        host.run("sh", "-c", "id forge 2>/dev/null || useradd --create-home --shell /bin/sh forge")
        host.run("chpasswd", input=f"forge:{PASSWORD}\n")
        host.run("mkdir", "-p", "/srv/forge/git", "/srv/forge/www/cgi-bin", "/run/sshd")
        host.write(
            "/srv/forge/www/cgi-bin/git",
            "#!/bin/sh\n"
            'echo "${REMOTE_USER:-nobody} $PATH_INFO $HTTP_GIT_PROTOCOL" >>/srv/forge/access.log\n'
            "export GIT_PROJECT_ROOT=/srv/forge/git GIT_HTTP_EXPORT_ALL=1 GIT_PROTOCOL=$HTTP_GIT_PROTOCOL\n"
            "exec git http-backend\n",
        )
        host.write(
            "/srv/forge/www/cgi-bin/elsewhere",
            "#!/bin/sh\n"
            "printf 'Status: 302 Found\\r\\nLocation: http://127.0.0.1:8085/cgi-bin/git%s?%s\\r\\n\\r\\n' "
            '"$PATH_INFO" "$QUERY_STRING"\n',
        )
        host.run("sh", "-c", "chmod 755 /srv/forge/www/cgi-bin/*")
        host.write("/srv/forge/httpd.conf", f"/cgi-bin/git/private.git:ann:{PASSWORD}\n")
        host.write(
            "/srv/forge/sshd_config",
            "Port 22\nPort 2222\nHostKey /srv/forge/host_key\nAuthorizedKeysFile /srv/forge/authorized_keys\n"
            "StrictModes no\nUsePAM no\nPidFile none\nPerSourcePenalties no\n",
        )
        self.new_host_key()
        host.run("touch", "/srv/forge/authorized_keys", "/srv/forge/access.log")
        self.own()
        start = ["systemd-run", "--quiet", "--collect"]
        httpd = ["busybox", "httpd", "-f", "-u", "forge", "-p", "8085", "-h", "/srv/forge/www", "-c", "/srv/forge/httpd.conf"]
        host.run(*start, "--unit=forge-http", *httpd)
        host.run(*start, "--unit=forge-ssh", "/usr/sbin/sshd", "-D", "-e", "-f", "/srv/forge/sshd_config")
        host.run(*start, "--unit=forge-git", "--uid=forge", "git", "daemon", "--export-all", "--base-path=/srv/forge/git")
        wait_for(lambda: all(map(listens, PORTS)), 10, "the forge listens")

    @staticmethod
    def stop(host: Host) -> None:
        host.run("systemctl", "stop", *(f"{unit}.service" for unit in UNITS), check=False)
        host.run("rm", "-rf", "/srv/forge")

    def new_host_key(self) -> None:
        self.host.run("sh", "-c", "rm -f /srv/forge/host_key*; ssh-keygen -q -t ed25519 -N '' -f /srv/forge/host_key")

    def show_new_host_key(self) -> None:
        """From here on sshd is another one."""
        self.new_host_key()
        self.host.run("systemctl", "kill", "-s", "HUP", "forge-ssh.service")
        key = self.host.run("cat", "/srv/forge/host_key.pub").split()[1]
        shown = lambda: self.host.run("ssh-keyscan", "-t", "ed25519", "127.0.0.1", check=False)
        wait_for(lambda: key in shown(), 10, "sshd shows the new key")

    def own(self) -> None:
        self.host.run("chown", "-R", "forge:", "/srv/forge/git", "/srv/forge/authorized_keys", "/srv/forge/access.log")

    def commit(self, repository: str, page: str, branch: str = "main") -> str:
        """Makes a commit, and the repository where it isn't there yet; the commit's id."""
        script = (
            'set -e; bare=/srv/forge/git/$1.git work=$(mktemp -d); [ -d "$bare" ] || git init -q --bare "$bare"\n'
            'export GIT_DIR=$bare GIT_WORK_TREE=$work GIT_INDEX_FILE=$work.index; cd "$work"\n'
            'git symbolic-ref HEAD "refs/heads/$3"; mkdir site; printf %s "$2" >site/index.html; cat >Containerfile\n'
            "git -c safe.directory=* add -A\n"
            "git -c safe.directory=* -c user.name=A -c user.email=a@example.com commit -q --allow-empty -m change\n"
            "git -c safe.directory=* rev-parse HEAD\n"
            'rm -rf "$work" "$work.index"\n'
        )
        command = ["env", "HOME=/root", "sh", "-c", script, "sh", repository, page, branch]
        commit = self.host.run(*command, input=BASE + SERVE).strip()
        self.own()
        return commit

    def access_log(self) -> str:
        return self.host.run("cat", "/srv/forge/access.log")


@pytest.fixture(scope="module")
def forge(host: Host):
    try:
        with host.configured("[git]\nallow_private = true\n"):
            yield Forge(host)
    finally:
        Forge.stop(host)


def failed(host: Host, name: str, uri: str, **fields: str) -> dict[str, Any]:
    """The deployment of a service whose code can't be had from there; the service is gone again."""
    host.create(name, external=uri, **fields)
    deployment = host.start(name, "failed")
    host.delete(name)
    return deployment


def test_over_http_with_a_password(host: Host, forge: Forge, name: str):
    forge.commit("private", "one")
    uri = f"http://ann:{quote(PASSWORD, safe='')}@{HTTP}/private.git"
    created = host.call("PUT", f"/services/{name}", 201, json={"external": uri}).json()
    shown = f"http://ann:***@{HTTP}/private.git"
    assert created["source"] == {"type": "external", "uri": shown} and created["push_url"] is None
    assert host.call("GET", f"/services/{name}", 200).json()["source"]["uri"] == shown
    assert host.start(name)["cause"] == "start"
    assert host.serve(name).text == "one"
    assert "ann /private.git/git-upload-pack version=2" in forge.access_log()

    # The password is still there for the next build, and the quick restart needs none.
    forge.commit("private", "two")
    host.wait_deployment(host.call("POST", f"/services/{name}/restart", 202).json()["id"])
    assert host.serve(name).text == "two"
    asked = forge.access_log()
    quick = host.call("POST", f"/services/{name}/restart", 202, params={"quick": "1"}).json()
    host.wait_deployment(quick["id"])
    assert forge.access_log() == asked

    # It is nowhere but in Podman's secret store.
    encoded = base64.b64encode(PASSWORD.encode()).decode().rstrip("=")
    files = host.run(
        "grep", "-srlaF", "-e", PASSWORD, "-e", quote(PASSWORD, safe=""), "-e", encoded, "/var/lib/podkeeper", check=False
    )
    assert not any(host.journal_holds(text) for text in (PASSWORD, quote(PASSWORD, safe=""), encoded))
    assert set(files.split()) <= {"/var/lib/podkeeper/.local/share/containers/storage/secrets/filedriver/secretsdata.json"}
    assert f"podkeeper-{name}-" in host.user("podman", "secret", "ls", "--format", "{{.Name}}")
    host.delete(name)
    assert f"podkeeper-{name}-" not in host.user("podman", "secret", "ls", "--format", "{{.Name}}")


def test_a_wrong_password_is_told_and_not_shown(host: Host, forge: Forge, name: str):
    forge.commit("private", "one")
    deployment = failed(host, name, f"http://ann:hunter2@{HTTP}/private.git")
    assert deployment["problem"]["code"] == "fetch-failed" and "password" in deployment["problem"]["hint"]
    assert "hunter2" not in json.dumps(deployment)
    # None at all is no hang either.
    without = failed(host, name, f"http://{HTTP}/private.git")["problem"]
    assert without["code"] == "fetch-failed" and "lets nobody read" in without["detail"], without


def test_a_password_and_an_address_are_changed(host: Host, forge: Forge, name: str):
    forge.commit("private", "one")
    forge.commit("public", "moved")
    host.create(name, external=f"http://ann:old-one@{HTTP}/private.git")
    assert "--password-file" in host.start(name, "failed")["problem"]["hint"]
    uri = f"http://ann:{quote(PASSWORD, safe='')}@{HTTP}/private.git"
    changed = host.call("PATCH", f"/services/{name}", 200, json={"external": uri}).json()
    assert changed["source"]["uri"] == f"http://ann:***@{HTTP}/private.git"
    host.start(name)
    assert host.serve(name).text == "one"
    # The password before goes, and with another address the one that there is.
    secrets = lambda: host.user("podman", "secret", "ls", "--format", "{{.Name}}").count(f"podkeeper-{name}-")
    wait_for(lambda: secrets() == 1, 120, "the password before is gone")
    host.call("PATCH", f"/services/{name}", 200, json={"external": f"http://{HTTP}/public.git"})
    host.start(name)
    assert host.serve(name).text == "moved"


def test_a_user_name_alone_is_a_token(host: Host, forge: Forge, name: str):
    """It is told to the forge and to nobody else: no reader of the API, nobody who lists processes, no file, no log."""
    token = "ghp_0nlyForTheForge"
    forge.commit("tokened", "by token")
    host.run("sh", "-c", f"echo '/cgi-bin/git/tokened.git:{token}:' >>/srv/forge/httpd.conf; systemctl kill -s HUP forge-http")
    # The forge writes down what anybody of the host sees while it is asked.
    look = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; done >>/srv/forge/seen 2>/dev/null\n"
    script = host.run("cat", "/srv/forge/www/cgi-bin/git")
    host.run("sh", "-c", "touch /srv/forge/seen; chmod 666 /srv/forge/seen")
    host.write("/srv/forge/www/cgi-bin/git", script.replace("export GIT_PROJECT_ROOT", f"{look}export GIT_PROJECT_ROOT"))
    uri = f"http://{token}@{HTTP}/tokened.git"
    created = host.call("PUT", f"/services/{name}", 201, json={"external": uri}).json()
    shown = f"http://***@{HTTP}/tokened.git"
    assert created["source"]["uri"] == shown and token not in json.dumps(created)
    assert host.call("GET", f"/services/{name}", 200).json()["source"]["uri"] == shown
    deployment = host.start(name)
    assert host.serve(name).text == "by token" and token not in json.dumps(deployment)
    assert f"{token} /tokened.git/git-upload-pack" in forge.access_log()
    seen = host.run("cat", "/srv/forge/seen")
    assert f"remote-http http://{HTTP}/tokened.git" in seen and token not in seen
    encoded = base64.b64encode(token.encode()).decode().rstrip("=")
    files = host.run("grep", "-srlaF", "-e", token, "-e", encoded, "/var/lib/podkeeper", check=False)
    assert set(files.split()) <= {"/var/lib/podkeeper/.local/share/containers/storage/secrets/filedriver/secretsdata.json"}
    assert not any(host.journal_holds(text) for text in (token, encoded))


def test_over_ssh_with_the_key_that_the_agent_makes(host: Host, forge: Forge, name: str):
    forge.commit("deploy", "by key")
    host.create(name, external="forge@127.0.0.1:/srv/forge/git/deploy.git")
    key = host.call("GET", f"/services/{name}/deploy-key", 200).json()["public_key"]
    assert key.startswith("ssh-ed25519 ") and key.endswith(f"podkeeper-{name}")
    assert host.call("POST", f"/services/{name}/deploy-key", 200).json()["public_key"] == key
    problem = host.start(name, "failed")["problem"]
    assert problem["code"] == "fetch-failed" and "deploy key" in problem["hint"]
    host.write("/srv/forge/authorized_keys", key + "\n")
    host.start(name)
    assert host.serve(name).text == "by key"
    private = host.run("stat", "-c", "%a %U", f"/var/lib/podkeeper/keys/{name}").strip()
    assert private == "600 podkeeper"

    # Whoever answers there from now on must have the key of the first time.
    forge.show_new_host_key()
    changed = host.start(name, "failed")
    assert changed["problem"]["code"] == "fetch-failed" and "verification failed" in changed["problem"]["detail"]
    assert host.serve(name).text == "by key"
    keys = host.call("GET", f"/services/{name}/host-key", 200).json()
    (known,), (offered,) = keys["known"], [key for key in keys["offered"] if key["kind"] == "ssh-ed25519"]
    printed = host.run("ssh-keygen", "-lf", "/srv/forge/host_key.pub")
    assert offered["fingerprint"] in printed and known["fingerprint"] not in printed
    wrong = host.call("POST", f"/services/{name}/host-key", 409, json={"fingerprint": known["fingerprint"]}).json()
    assert wrong["type"].endswith(":conflict")
    assert "another key than before" in host.run("podkeeper", "host-key", name)
    host.run("podkeeper", "host-key", name, "--accept", offered["fingerprint"])
    host.start(name)
    host.delete(name)
    assert host.run("sh", "-c", f"ls /var/lib/podkeeper/keys | grep -c {name} || true").strip() == "0"


def test_over_ssh_with_a_password(host: Host, forge: Forge, name: str):
    forge.commit("public", "by password")
    uri = f"ssh://forge:{quote(PASSWORD, safe='')}@127.0.0.1:2222/srv/forge/git/public.git"
    assert host.create(name, external=uri)["source"]["uri"] == "ssh://forge:***@127.0.0.1:2222/srv/forge/git/public.git"
    host.start(name)
    assert host.serve(name).text == "by password"


def test_over_gits_own_protocol_and_another_branch(host: Host, forge: Forge, name: str):
    forge.commit("public", "main")
    forge.commit("public", "release", branch="release")
    host.create(name, external="git://127.0.0.1/public.git", branch="release")
    host.start(name)
    assert host.serve(name).text == "release"


def test_a_forges_hook_fetches_and_builds_the_newest_commit(host: Host, forge: Forge, name: str):
    forge.commit("hooked", "one")
    key = host.create(name, external=f"http://{HTTP}/hooked.git")["hook_key"]
    host.start(name)
    newest = forge.commit("hooked", "two")
    push = payload("github-push").replace(b"0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c", newest.encode())
    status, _, deployment = github(name, key, "one", push)
    assert (status, deployment["cause"], deployment["actor"]) == (202, "hook", "hook:github")
    assert host.wait_deployment(deployment["id"])["commit"] == newest
    assert host.serve(name).text == "two"
    # What is no push to its branch, and what has a wrong signature, asks the forge for nothing.
    asked = forge.access_log()
    assert github(name, key, "two", payload("github-tag"))[0] == 200
    assert github(name, "wrong", "three", payload("github-push"))[0] == 404
    assert forge.access_log() == asked


def test_a_repository_without_commits(host: Host, forge: Forge, name: str):
    host.run("git", "init", "-q", "--bare", "/srv/forge/git/empty.git")
    forge.own()
    problem = failed(host, name, f"http://{HTTP}/empty.git")["problem"]
    assert problem["code"] == "no-commits" and "branch" in problem["hint"]
    forge.commit("public", "one")
    other = failed(host, name, f"http://{HTTP}/public.git", branch="nothing")
    assert other["problem"]["code"] == "no-commits" and "`main`" in other["problem"]["detail"]
    assert failed(host, name, f"http://{HTTP}/missing.git")["problem"]["code"] == "fetch-failed"


def test_a_repository_that_is_too_large_is_not_fetched(host: Host, forge: Forge, name: str):
    """One large file, and many small ones that are large together; nothing of either stays."""
    forge.commit("large", "small")
    uri = f"http://{HTTP}/large.git"
    host.create(name, external=uri)
    host.start(name)
    clone = "cd $(mktemp -d); git clone -q /srv/forge/git/large.git .; git rm -q --ignore-unmatch large"
    commit = "git add -A; git -c user.name=A -c user.email=a@example.com commit -qm large; git push -q origin main"
    for files in ("head -c 3000000 /dev/urandom >large", "for i in $(seq 30); do head -c 100000 /dev/urandom >$i; done"):
        host.run("runuser", "-u", "forge", "--", "sh", "-ec", f"{clone}; {files}; {commit}")
        with host.configured("[git]\nallow_private = true\nmax_push_mib = 1\n"):
            problem = host.start(name, "failed")["problem"]
        assert problem["code"] == "payload-too-large" and "1 MiB" in problem["detail"], problem
        packs = host.run("ls", f"/var/lib/podkeeper/git/{name}.git/objects/pack")
        assert "tmp" not in packs, packs
    assert host.serve(name).text == "small"
    host.start(name)


def test_a_repository_that_has_moved_is_fetched_where_it_is(host: Host, forge: Forge, name: str):
    forge.commit("trunk", "one", branch="trunk")
    host.create(name, external="http://127.0.0.1:8085/cgi-bin/elsewhere/trunk.git")
    deployment = host.start(name)
    assert host.serve(name).text == "one"
    # The forge's own branch is taken, where none was given, and said.
    assert host.call("GET", f"/services/{name}", 200).json()["branch"] == "trunk"
    story = host.call("GET", f"/deployments/{deployment['id']}/log", 200).text
    assert "`trunk`" in story and "/cgi-bin/git/trunk.git" in story, story


def test_private_addresses_are_refused_unless_they_are_allowed(host: Host, forge: Forge, name: str):
    forge.commit("public", "one")
    asked = forge.access_log()
    with host.configured("[git]\nallow_private = false\n"):
        for address in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "169.254.169.254"):
            problem = failed(host, name, f"http://{address}:8085/cgi-bin/git/public.git")["problem"]
            assert problem["code"] == "fetch-failed", address
            assert "not a public address" in problem["detail"], problem
            assert "git.allow_private" in problem["hint"]
    assert forge.access_log() == asked


def test_addresses_that_are_refused_make_nothing(host: Host, name: str):
    for uri in (
        "file:///etc/passwd",
        "/etc/passwd",
        "./here",
        "ext::sh -c id",
        "fd::3",
        "-uhttps://x/y",
        "--upload-pack=touch /tmp/x",
        "ssh://-oProxyCommand=touch/x",
        "ftp://example.org/x",
        "https://",
        "https://example.org",
        "https://example.org/a\nb",
        "https://ann%0ahost=elsewhere:x@example.org/x",
        "https://ann:x%0d%0ay@example.org/x",
        "https://%2dx:y@example.org/x",
        "ssh://%2doProxyCommand=x@example.org/x",
        "",
    ):
        answer = host.call("PUT", f"/services/{name}", 422, json={"external": uri})
        assert answer.json()["type"] == "urn:podkeeper:problem:invalid-uri", uri
    both = host.call("PUT", f"/services/{name}", 400, json={"external": "https://example.org/x", "template": "static"})
    assert both.json()["type"].endswith(":bad-request")
    assert host.call("GET", f"/services/available?name={name}", 200).json()["available"] is True


def test_a_service_whose_code_lies_here_has_no_deploy_key(host: Host, name: str):
    host.create(name)
    assert host.call("GET", f"/services/{name}/deploy-key", 409).json()["type"].endswith(":conflict")
