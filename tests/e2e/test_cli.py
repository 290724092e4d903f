"""The command line, on the host over the unix socket and from elsewhere with a token."""

import base64
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import socketserver
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator

import pytest
import requests
from containers import Gate, Push, last
from host import HOST, SLACK, Clone, Host, git, wait_for
from journal import pretend

REMOTE = ("--host", "http://127.0.0.1:7070")


@pytest.fixture(scope="module")
def running(host: Host) -> Iterator[str]:
    name = "t-cli-service"
    host.create(name)
    try:
        host.start(name)
        state = lambda: host.call("GET", f"/services/{name}", 200).json()["state"]
        wait_for(lambda: state() == "running", 30, "it is told that it runs")
        yield name
    finally:
        host.delete(name)


@pytest.fixture
def other(host: Host, name: str) -> Iterator[str]:
    """Another service of a test that has one."""
    other = f"{name[:30].strip('-')}-other"
    host.create(other)
    yield other
    host.delete(other)


@pytest.fixture
def token_file(host: Host) -> Iterator[str]:
    path = "/root/token"
    host.run("sh", "-c", f"umask 077; cat >{path}", input=host.token + "\n")
    yield path
    host.run("rm", path)


def cli(host: Host, *arguments: str, **options) -> str:
    return host.run("podkeeper", *arguments, **options)


def test_ps_status_and_open(host: Host, running: str):
    table = cli(host, "ps")
    assert table.splitlines()[0].split() == ["NAME", "STATE", "DEPLOYMENT", "RELEASE", "COMMIT", "AGE", "URL"]
    (row,) = [line.split() for line in table.splitlines() if line.startswith(running)]
    assert row[1:4] == ["running", "live", "1"] and row[6] == f"http://{running}.localhost:8080"
    assert "\x1b" not in table
    services = json.loads(cli(host, "ps", "--json"))["services"]
    assert running in [service["name"] for service in services]
    assert re.search(rf"^{running} +running ", cli(host, "status", running), re.M)
    assert json.loads(cli(host, "status", running, "--json"))[running]["state"] == "running"
    assert cli(host, "open", running).strip() == f"http://{running}.localhost:8080"
    assert json.loads(cli(host, "open", running, "--json")) == {"url": f"http://{running}.localhost:8080"}


def test_errors_say_what_to_do_next(host: Host, running: str):
    for arguments, wanted in [
        (("status", "t-nobody"), "podkeeper ps"),
        (("status", "--watch", "t-nobody"), "podkeeper ps"),
        (("logs", "t-nobody"), "podkeeper ps"),
        (("logs", "-f", "t-nobody"), "t-nobody"),
        (("deploy", "t-nobody"), "podkeeper create"),
        (("create", "t-cli-more", "--template", "none"), "podkeeper templates"),
        (("create", "app"), "Next: Choose another name"),
        (("env", running, "PORT=1"), "podkeeper settings NAME container_port=PORT"),
        (("settings", running, "memory=1"), "memory_mib"),
        (("settings", running, "memory_mib=little"), "whole number"),
        (("settings", running, "container_port=99999"), "`container_port`"),
        (("settings", running, "domains=localhost"), "Choose a domain of your own"),
        (("deploy-key", running), "lies on this host"),
        (("rollback", running, "999"), "podkeeper deployments NAME"),
        (("token", "remove", "t-nobody"), "podkeeper token list"),
        (("rollback", running), "no release before"),
        (("env", running, "NOT A PAIR"), "KEY=VALUE"),
        (("ps", "--host", "http://example.com"), "ssh -L"),
        (("ps", "--host", "http://127.0.0.1:7070"), "PODKEEPER_TOKEN"),
        (("doctor", "--host", "https://example.com"), "run it on that host"),
        (("shell", "--attach", "aaaaaaaa"), "no such session"),
    ]:
        assert host.code("podkeeper", *arguments) == 1, arguments
        said = cli(host, *arguments, check=False)
        assert wanted in said and said.startswith("podkeeper: "), said
    assert host.code("podkeeper", "depoly", running) == 2
    host.write("/run/t-cli.toml", '[listen]\nlocal = "/root/nobody.sock"\n')
    assert "give --host" in cli(host, "ps", "--config", "/run/t-cli.toml", check=False)
    assert "shell --list" in cli(host, "shell", "--attach", "my-session", check=False)


def test_from_another_machine_with_a_token(host: Host, running: str, token_file: str):
    assert running in cli(host, "ps", *REMOTE, "--token-file", token_file)
    assert running in host.run("env", f"PODKEEPER_TOKEN={host.token}", "podkeeper", "ps", *REMOTE)
    said = host.run("env", "PODKEEPER_TOKEN=pk_wrong", "podkeeper", "ps", *REMOTE, check=False)
    assert "not signed in: this host knows no such token, or it has ended" in said
    said = host.run("env", "PODKEEPER_TOKEN=pk_wrong", "podkeeper", "status", "-w", *REMOTE, check=False)
    assert "knows no such token" in said


def test_a_token_of_one_service_shows_that_one_alone(host: Host, running: str, name: str):
    host.create(name)
    # It ends with its service.
    label = f"{name}-{time.time_ns()}"
    token = cli(host, "token", "create", "--name", label, "--scope", "read", "--service", name).strip()
    remote = ("env", f"PODKEEPER_TOKEN={token}", "PODKEEPER_HOST=http://127.0.0.1:7070", "podkeeper")
    for lists in (("ps",), ("status",)):
        listed = host.run(*remote, *lists).splitlines()[1:]
        assert [line.split()[0] for line in listed] == [name], lists
    assert host.run(*remote, "status", name).splitlines()[1].split()[1] == "never-deployed"
    for other in (("status", running), ("logs", running)):
        assert host.code(*remote, *other) == 1, other
    listed = cli(host, "token", "list").splitlines()
    assert listed[0].split() == ["NAME", "SCOPE", "SERVICE", "ENDS", "USED"]
    (row,) = [line.split() for line in listed if line.startswith(f"{label} ")]
    assert row[1:4] == ["read", name, "-"] and re.fullmatch(r"\d+[smh]", row[4])
    cli(host, "token", "remove", label)


CADDYFILE = """{
    admin off
    skip_install_trust
    auto_https disable_redirects
    storage file_system /root/t-cli
}
https://localhost:7443 {
    tls internal
    reverse_proxy 127.0.0.1:7070
}
"""


def test_over_https_with_whom_this_machine_trusts(host: Host, running: str):
    host.write("/root/t-cli.caddy", CADDYFILE)
    token = f"PODKEEPER_TOKEN={host.token}"
    trust = "SSL_CERT_FILE=/root/t-cli/pki/authorities/local/root.crt"
    ps = ("podkeeper", "ps", "--host", "https://localhost:7443")
    caddy = ("caddy", "run", "--config=/root/t-cli.caddy", "--adapter=caddyfile")
    host.run("systemd-run", "--quiet", "--collect", "--unit=t-cli-https", *caddy)
    try:
        wait_for(lambda: host.code("env", token, trust, *ps) == 0, 30, "the agent answers over https")
        assert running in host.run("env", token, trust, *ps)
        said = host.run("env", token, *ps, check=False)
        assert said.startswith("podkeeper: can't reach the agent at https://localhost:7443/") and "certificate" in said
    finally:
        host.run("systemctl", "stop", "t-cli-https")
        host.run("rm", "-rf", "/root/t-cli", "/root/t-cli.caddy")


def test_a_repository_of_ones_own_is_pushed_to_a_new_service(host: Host, name: str, tmp_path):
    git("init", "-q", "-b", "main", cwd=tmp_path)
    own = Clone(tmp_path)
    own.commit({"index.html": "my own"})
    refused = own.git("push", host.remote(name), "main", check=False)
    assert f"There is no service `{name}`" in refused and "podkeeper create" in refused
    made = cli(host, "create", name)
    assert f"git push http://localhost:7070/git/{name}.git HEAD:main" in made and f"http://{name}.localhost:8080" in made
    assert "podkeeper deploy" in cli(host, "deploy", name, "--quick", check=False)
    assert "podkeeper deploy" in cli(host, "shell", name, check=False)
    wrong = own.git("push", host.remote(name).removesuffix(".git"), "main", check=False)
    assert "/git/NAME.git" in wrong
    said = cli(host, "deploy", name, check=False)
    assert "no commit" in said and "Push a commit to `main`" in said
    # Nothing is there that a push would have to force its way over.
    assert f"Live: http://{name}.localhost:8080" in own.git("push", host.remote(name), "main")
    assert host.serve(name).text == "my own"
    assert "is stopped" in cli(host, "stop", name) and host.serve(name).status_code == 404
    assert host.code("podkeeper", "remove", name) == 1 and "--yes" in cli(host, "remove", name, check=False)
    assert cli(host, "remove", "--yes", name).strip() == f"{name} is removed"
    assert host.code("podkeeper", "remove", "--yes", name) == 1
    made = cli(host, "create", name, "--template", "static")
    assert f"git clone http://localhost:7070/git/{name}.git" in made and f"podkeeper deploy {name}" in made
    assert "git push" not in made, "the template's commit would refuse it"
    cli(host, "remove", "--yes", name)
    made = cli(host, "create", name, "--from", "https://example.org/site.git")
    hook = host.call("GET", f"/services/{name}/hook", 200).json()
    assert hook["url"] in made and hook["key"] in made and f"podkeeper deploy {name}" in made
    cli(host, "remove", "--yes", name)
    listed = cli(host, "templates")
    assert "empty" in listed and "static" in listed


def test_deploy_env_and_rollback(host: Host, name: str):
    host.create(name)
    said = cli(host, "deploy", name)
    assert "STEP 1/" in said and "live at" in said
    ended = json.loads(cli(host, "deploy", name, "--quick", "--json").splitlines()[-1])
    assert ended["state"] == "live" and ended["cause"] == "restart"
    for start, cause in (("restart", "restart"), ("start", "start")):
        again = json.loads(cli(host, start, name, "--json").splitlines()[-1])
        assert again["state"] == "live" and again["cause"] == cause
    cli(host, "env", name, "A=first value", "B=2")
    assert cli(host, "env", name) == "A=first value\nB=2\n"
    cli(host, "env", name, "--remove", "B", "--file", "-", input="# secrets\nC='from a file'\n")
    assert json.loads(cli(host, "env", name, "--json"))["env"] == {"A": "first value", "C": "from a file"}
    assert "live at" in cli(host, "rollback", name, "4")
    assert cli(host, "env", name) == ""
    back = json.loads(cli(host, "rollback", name, "--json"))
    assert back["state"] == "live" and back["cause"] == "rollback"
    queued = json.loads(cli(host, "deploy", name, "--no-wait", "--json"))
    host.wait_deployment(queued["id"])


def test_an_environment_that_is_so_already_starts_nothing(host: Host, name: str):
    def newest() -> int:
        return host.call("GET", f"/services/{name}/deployments?limit=1", 200).json()["deployments"][0]["id"]

    host.create(name)
    host.start(name)
    cli(host, "env", name, "A=first value")
    before = newest()
    assert "`B` is not set" in cli(host, "env", name, "--remove", "B", check=False)
    assert host.code("podkeeper", "env", name, "--remove", "B") == 0
    assert "has it so already" in cli(host, "env", name, "A=first value")
    assert newest() == before, "nothing is changed, and nothing is started anew"
    assert "kept for the next release" in cli(host, "env", name, "--no-restart", "A=1")
    # What the running release lacks is no change of what is set, and a restart is wanted now.
    cli(host, "env", name, "A=1")
    assert newest() == before + 1


def test_settings_are_shown_changed_and_taken_back(host: Host, name: str):
    host.create(name)
    shown = cli(host, "settings", name)
    assert shown.splitlines()[0].split()[:3] == ["SETTING", "VALUE", "FROM"]
    assert re.search(r"^branch +main ", shown, re.M) and re.search(r"^memory_mib +- ", shown, re.M)
    assert "from the first release on" in cli(host, "settings", name, "container_port=8080")
    host.start(name)
    domain = f"{name}.example.org"
    said = cli(host, "settings", name, "memory_mib=64", f"domains={domain}", "volumes=data:/data", "tcp=no")
    assert re.search(rf"^domains +{domain} +service +from now on$", said, re.M), said
    assert re.search(rf"^memory_mib +64 +service +from the next release on: podkeeper restart {name}$", said, re.M), said
    assert host.serve(name, headers={"Host": domain}).status_code == 200
    cli(host, "restart", name)
    assert "MemoryMax=67108864" in host.user("systemctl", "--user", "show", f"{name}@2.service")
    # What can't be changes nothing, whatever stands beside it.
    assert host.code("podkeeper", "settings", name, "keep=2", "memory_mib=1") == 1
    said = cli(host, "settings", name, "--unset", "memory_mib", "domains=")
    assert re.search(r"^memory_mib +- ", said, re.M) and re.search(r"^domains +- +default +from now on", said, re.M), said
    settings = json.loads(cli(host, "settings", name, "--json"))
    assert (settings["branch"], settings["container_port"], settings["volumes"]) == ("main", 8080, {"data": "/data"})
    assert (settings["memory_mib"], settings["domains"], settings["keep"]) == (None, [], None)
    assert "branch" not in cli(host, "settings", name, "--unset", "branch", check=False).split("possible values:")[1]
    assert "memory limit in MiB" in cli(host, "settings", "--help")


def test_deployments_tell_what_a_rollback_may_name(host: Host, name: str, tmp_path):
    host.create(name)
    cli(host, "settings", name, "keep=2")
    host.start(name)
    for _ in range(2):
        cli(host, "restart", name)
    clone = host.clone(name, tmp_path / "clone")
    commit = clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nRUN exit 7\n"})
    clone.push()

    def releases() -> list[str]:
        return [line.split("  ")[2].strip() for line in re.sub("  +", "  ", cli(host, "deployments", name)).splitlines()[1:]]

    wait_for(lambda: releases() == ["4", "3 (current)", "2 (kept)", "1 (gone)"], 30, "the first is cleared away")
    table = cli(host, "deployments", name).splitlines()
    assert table[0].split() == ["ID", "STATE", "RELEASE", "CAUSE", "COMMIT", "BY", "AGE", "TOOK", "WHY"]
    assert "failed" in table[1] and "push" in table[1] and commit[:10] in table[1]
    assert table[1].endswith("ended with status 7.")
    listed = json.loads(cli(host, "deployments", name, "--json", "-n", "3"))
    assert [one["release"] for one in listed["releases"]] == [3, 2]
    assert [one["state"] for one in listed["deployments"]] == ["failed", "live", "live"]
    assert host.code("podkeeper", "rollback", name, "1") == 1
    cli(host, "rollback", name, "2")
    assert "rollback to 2" in cli(host, "deployments", name)


def test_a_release_that_goes_while_a_rollback_to_it_waits_is_told_as_gone(host: Host, name: str, gate: Gate, tmp_path):
    host.create(name)
    host.call("PATCH", f"/services/{name}", 200, json={"keep": 2})
    host.start(name)
    cli(host, "restart", name)
    clone = host.clone(name, tmp_path / "clone")
    built = (clone.folder / "Containerfile").read_text()
    clone.commit({"Containerfile": f"{built}RUN {gate.waits}\n"})
    # It is the third, and with it the first is one too many.
    push = Push(clone)
    gate.wait_reached()
    with Follow(host, "rollback", name, "1") as rollback:
        waits = lambda newest: (newest["cause"], newest["state"]) == ("rollback", "queued")
        wait_for(lambda: waits(last(host, name)), 30, lambda: f"the rollback waits: {last(host, name)}, {rollback.read()}")
        gate.open()
        assert "Live:" in push.end()
        said = rollback.end()
    assert "The service has no release 1" in said and "podkeeper deployments" in said and "Podman" not in said, said


def test_a_deployment_that_fails_says_why(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nRUN echo the reason; exit 7\n"})
    pushed = clone.push()
    assert "Your push is kept." in pushed and "what ran before" not in pushed, "nothing did"
    said = cli(host, "deploy", name, check=False)
    assert "the reason" in said and "Next: " in said
    assert said.count("ended with status 7.") == 1, "it is told once"
    assert "failed: The step `RUN echo the reason; exit 7` ended with status 7" in said and re.search(r"^podkeeper: deployment \d+ failed$", said, re.M)
    assert host.code("podkeeper", "deploy", name, "--json") == 1
    # What the program said is no part of the story.
    clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nCMD [\"sh\", \"-c\", \"echo the program spoke; exit 3\"]\n"})
    clone.push()
    said = cli(host, "deploy", name, check=False)
    assert said.count("with status 3") == 1 and "  | the program spoke" in said, said
    # Nor is what its unit says a line of the program's, which could not be started: it is an init, so that there is no other.
    clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nCMD [\"/t-nothing/tini\"]\n"})
    clone.push()
    said = cli(host, "logs", name, check=False)
    assert re.search(r"^podkeeper: deployment \d+ did not start: ", said, re.M), said
    assert re.search(r"^  \| .*/t-nothing", said, re.M) and "Next: " in said, said


# A title, a cleared screen, the clipboard, C1 as UTF-8, a colour that stays, and a sequence that doesn't end.
HOSTILE = r"\033]0;owned\007\033[2J\033]52;c;cHduZWQ=\033\\\302\2332J\033[31mred\033["
COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


def commands(text: str) -> bool:
    """Whether a terminal would obey some of it."""
    return any(ord(c) < 32 and c not in "\t\n\r" or 127 <= ord(c) < 160 for c in COLOUR.sub("", text))


def test_what_builds_and_programs_print_commands_nobodys_terminal(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    base = "FROM docker.io/library/busybox:stable\n"
    hostile = f"printf 'it prints {HOSTILE}\\n'"
    clone.commit({"Containerfile": f"{base}RUN {hostile}; exit 7\n"})
    pushed = clone.push()
    assert "it prints" in pushed and "\x1b[31mred\\x1b[\x1b[m" in pushed and not commands(pushed), repr(pushed)
    failed = host.call("GET", f"/services/{name}", 200).json()["last_deployment"]
    assert "it prints" in failed["tail"] and not commands(failed["tail"]) and "\x1b" not in failed["tail"]
    story = host.call("GET", f"/deployments/{failed['id']}/log", 200, headers={"Accept": "text/plain"}).content.decode()
    assert "it prints" in story and not commands(story), repr(story)

    clone.commit({"Containerfile": f'{base}CMD ["sh", "-c", "{hostile.replace(chr(92), chr(92) * 2)}; sleep 1; exit 3"]\n'})
    assert "it prints" in clone.push()
    printed = lambda: "it prints" in cli(host, "logs", name)
    wait_for(printed, 30, "the program's line is there")
    # Who reads from a pipe gets what was written.
    assert "\x1b]0;owned\x07" in cli(host, "logs", name)
    for arguments in (("logs", name), ("deploy", name), ("deployments", name), ("ps",)):
        with Person(host, *arguments) as person:
            person.code()
            while select.select([person.master], [], [], 1)[0]:
                try:
                    person.seen += os.read(person.master, 65536).decode()
                except OSError:
                    break
            assert any(text in person.seen for text in ("it prints", name, "WHY"))
            assert not commands(person.seen), (arguments, person.seen)
    text = host.call("GET", f"/services/{name}/logs", 200, headers={"Accept": "text/plain"}).text
    assert "it prints" in text and "\x1b" not in text and not commands(text)


def test_a_service_that_never_came_up_has_failed(host: Host, name: str, gate: Gate, tmp_path):
    def states() -> set[str]:
        (row,) = [line.split() for line in cli(host, "ps").splitlines() if line.startswith(f"{name} ")]
        return {row[1], cli(host, "status", name, check=False).splitlines()[1].split()[1]}

    host.create(name)
    assert states() == {"never-deployed"}
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": f"FROM docker.io/library/busybox:stable\nRUN {gate.waits}; exit 7\n"})
    with Follow(host, "status", "--watch", name) as status:
        status.wait(f"{name} never-deployed")
        push = Push(clone)
        gate.wait_reached()
        status.wait(f"{name} starting")
        assert states() == {"starting"}
        seen = len(status.seen)
        host.call("DELETE", f"/deployments/{last(host, name)['id']}", 200)
        status.wait(f"{name} never-deployed", seen)
        push.end()
        clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nRUN exit 7\n"})
        clone.push()
        status.wait(f"{name} failed", seen)
    assert states() == {"failed"} and host.code("podkeeper", "status", name) == 1
    assert "is stopped" in cli(host, "stop", name) and states() == {"stopped"}


def test_ps_shows_the_commit_that_runs_and_how_the_last_deployment_went(host: Host, name: str, tmp_path):
    host.create(name)
    host.start(name)
    clone = host.clone(name, tmp_path / "clone")
    runs = clone.git("rev-parse", "HEAD").strip()[:10]

    def row() -> list[str]:
        (row,) = [line.split() for line in cli(host, "ps").splitlines() if line.startswith(f"{name} ")]
        return row[1:5]

    # Nothing is built, and so the deployment has no commit.
    cli(host, "deploy", name, "--quick")
    assert row() == ["running", "live", "2", runs]
    clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nRUN exit 7\n"})
    assert "Your push is kept; what ran before goes on." in clone.push()
    assert row() == ["running", "failed", "2", runs]


def test_a_hook_and_a_deploy_key_for_a_forge(host: Host, name: str):
    made = cli(host, "create", name, "--from", "git@example.org:ann/site.git", "--branch", "main")
    assert f"podkeeper deploy-key {name}" in made
    key = cli(host, "deploy-key", name)
    assert key.startswith("ssh-ed25519 ") and json.loads(cli(host, "deploy-key", name, "--json")) == {"public_key": key.strip()}
    hook = host.call("GET", f"/services/{name}/hook", 200).json()
    shown = cli(host, "hook", name)
    assert hook["url"] in shown and hook["key"] in shown and "Nothing was delivered yet." in shown
    requests.get(f"http://127.0.0.1:7070/hooks/{name}?key={hook['key']}&ref=refs/heads/other", timeout=60)
    assert "ignored: " in cli(host, "hook", name).splitlines()[-1]
    said = cli(host, "hook", name, "--rotate")
    new = json.loads(cli(host, "hook", name, "--json"))["key"]
    assert new in said and new != hook["key"] and "dead" in said
    # One that the forge has made.
    assert hook["key"] in cli(host, "hook", name, "--rotate", "--key-file", "-", input=hook["key"] + "\n")
    assert host.code("podkeeper", "hook", name, "--key-file", "-") == 2


def test_a_repositorys_password_comes_by_no_command_line(host: Host, name: str):
    refused = cli(host, "create", name, "--from", "https://ann:hunter2@example.org/site.git", check=False)
    assert "--from https://ann@example.org/site.git --password-file FILE" in refused and "hunter2" not in refused
    assert host.call("GET", f"/services/available?name={name}", 200).json()["available"]
    from_there = ("create", name, "--from", "https://ann@example.org/site.git", "--password-file")
    assert "can't read `/nothing`" in cli(host, *from_there, "/nothing", check=False)
    assert "is empty" in cli(host, *from_there, "-", input="\n", check=False)
    cli(host, *from_there, "-", input="p@ss/w:örd%41\n")
    assert host.call("GET", f"/services/{name}", 200).json()["source"]["uri"] == "https://ann:***@example.org/site.git"
    (secret,) = [line for line in host.user("podman", "secret", "ls", "--format", "{{.Name}}").split() if f"-{name}-" in line]
    kept = host.user("podman", "secret", "inspect", "--showsecret", "--format", "{{.SecretData}}", secret)
    assert kept.rstrip("\n") == "p@ss/w:örd%41"
    cli(host, "remove", "--yes", name)
    # A user name alone is a token.
    refused = cli(host, "create", name, "--from", "https://ghp_hunter2@example.org/site.git", check=False)
    assert "--from https://example.org/site.git --password-file FILE" in refused and "hunter2" not in refused
    with Person(host, *from_there, "-") as person:
        person.wait("not shown: ")
        person.type("\x03")
        person.code()
        assert termios.tcgetattr(person.master)[3] & termios.ECHO, "what is typed is shown again"
    with Person(host, *from_there, "-") as person:
        person.wait("not shown: ")
        person.type("typed in\n")
        person.wait("is made")
        assert "typed in" not in person.seen and person.code() == 0


def test_the_audit_log_is_read(host: Host, name: str):
    host.create(name)
    cli(host, "stop", name)
    requests.get("http://127.0.0.1:7070/services", timeout=60)
    listed = cli(host, "audit", "list", "-n", "20").splitlines()
    assert listed[0].split() == ["ROW", "TIME", "ACTOR", "ADDRESS", "ACTION", "RESULT", "DETAIL"]
    row = next(line.split() for line in listed if f"/services/{name}/stop" in line)
    assert row[2:] == ["local:0", "-", "POST", f"/services/{name}/stop", "200"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[1])
    two = json.loads(cli(host, "audit", "list", "-n", "2", "--json"))["rows"]
    assert [two[0]["id"] - two[1]["id"], len(two)] == [1, 2]
    # More than the agent gives at once.
    most = json.loads(cli(host, "audit", "list", "-n", "100000", "--json"))["rows"]
    assert [row["id"] for row in most] == list(range(most[0]["id"], most[-1]["id"] - 1, -1))
    assert host.code("podkeeper", "audit", "list", "-n", "0") == 2


def kill(process: subprocess.Popen) -> None:
    """What entered the host, and the command in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Follow:
    """A command that goes on."""

    def __init__(self, host: Host, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [HOST, "enter", host.name, "--", "podkeeper", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.seen, self.rest = "", b""

    def wait(self, wanted: str, after: int = 0) -> None:
        """Until it is there, behind so many letters."""
        wait_for(lambda: wanted in self.read()[after:], 30, lambda: f"{wanted!r} is printed: {self.seen[after:][-2000:]!r}")

    def read(self) -> str:
        """What it has printed by now, in whole lines."""
        self.rest += self.process.stdout.read() or b""
        whole, end, self.rest = self.rest.rpartition(b"\n")
        self.seen += (whole + end).decode()
        return self.seen

    def code(self) -> int:
        return self.process.wait(30 * SLACK)

    def end(self) -> str:
        """All that it printed, once it has ended by itself."""
        ended = lambda: self.process.poll() is not None
        wait_for(lambda: self.read() and ended(), 60, lambda: f"it ends: {self.seen[-2000:]!r}")
        return self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        kill(self.process)
        self.process.stdout.close()


def test_logs_follow_over_a_restart_of_the_agent(host: Host, running: str):
    say = ("podman", "exec", f"{running}-1", "sh", "-c")
    first, second = (f"the {one} line of {time.time_ns()}" for one in ("first", "second"))
    host.user(*say, f"echo {first} >/proc/1/fd/1")
    wait_for(lambda: first in cli(host, "logs", running), 30, "the line is there")
    assert json.loads(cli(host, "logs", running, "--json", "-n", "1"))["message"]
    assert cli(host, "logs", running, "--grep", "nothing has this") == ""
    recent = cli(host, "logs", running, "--since", "1h")
    assert re.search(rf"^\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ {first}$", recent, re.M), recent
    assert first in cli(host, "logs", running, "--since", "yesterday")
    later = cli(host, "logs", running, "--since", "soon", check=False)
    assert "'--since <TIME>'" in later and "it takes a length of time" in later
    with Follow(host, "logs", "-f", running) as logs:
        logs.wait(first)
        host.run("systemctl", "restart", "podkeeper")
        host.wait_ready()
        host.user(*say, f"echo {second} >/proc/1/fd/1")
        logs.wait(second)
        assert logs.seen.count(first) == 1 and logs.seen.count("the agent is away") == 1, logs.seen


class Relay(socketserver.ThreadingTCPServer):
    """What goes to the agent by another port, where it is seen whether there is an answer."""

    daemon_threads = True
    answered = 0

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 7070)) as agent:
                threading.Thread(target=self.ask, args=[agent], daemon=True).start()
                while data := agent.recv(65536):
                    self.request.sendall(data)
                    self.server.answered += len(data)

        def ask(self, agent: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := self.request.recv(65536):
                    agent.sendall(data)
                agent.shutdown(socket.SHUT_RDWR)

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.Connection)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


def test_logs_follow_a_service_that_has_no_line_yet(host: Host, name: str, token_file: str):
    host.create(name)
    with Relay() as relay:
        remote = ("--host", f"http://127.0.0.1:{relay.server_address[1]}", "--token-file", token_file)
        with Follow(host, "logs", "-f", name, *remote) as logs:
            wait_for(lambda: relay.answered, 30, "it follows")
            host.kill_agent()
            # More than it would begin with.
            pretend(host, name, [("a", 6, f"meanwhile-{number}", 0, False) for number in range(300)])
            host.start_agent()
            logs.wait("meanwhile-299")
            away, *shown = logs.seen.splitlines()
            assert away.startswith("podkeeper: the agent is away")
            assert [line.split()[1] for line in shown] == [f"meanwhile-{number}" for number in range(300)]
            host.delete(name)
            logs.wait("The service is gone")
            assert logs.code() == 1


def test_lines_that_are_no_text_take_several_answers(host: Host, running: str):
    # Each is told by some 4 MiB.
    line = "head -c 1000000 /dev/urandom | tr '\\n' x; echo"
    host.user("podman", "exec", f"{running}-1", "sh", "-c", f"(for i in 1 2 3 4 5 6; do {line}; done; echo behind them) >/proc/1/fd/1")
    wait_for(lambda: "behind them" in cli(host, "logs", running, "-n", "1"), 30, "they are there")
    lines = [json.loads(text) for text in cli(host, "logs", running, "--json", "-n", "7").rstrip("\n").split("\n")]
    assert [len(base64.b64decode(line.get("bytes", ""))) for line in lines] == [1_000_000] * 6 + [0]
    assert lines[-1]["message"] == "behind them"


def test_podman_and_journalctl_print_a_services_lines(host: Host, running: str):
    container, word = f"{running}-1", f"printed-{time.time_ns()}"
    host.user("podman", "exec", container, "sh", "-c", f"echo {word} >/proc/1/fd/1")
    wait_for(lambda: word in cli(host, "logs", running, "-n", "1"), 30, "it is there")
    assert word in host.run("journalctl", f"CONTAINER_NAME={container}")
    runtime = f"XDG_RUNTIME_DIR=/run/user/{host.run('id', '-u', 'podkeeper').strip()}"
    with_group = ("runuser", "-u", "podkeeper", "-G", "systemd-journal", "--", "env", "-C", "/", runtime)
    assert word in host.run(*with_group, "podman", "logs", "--tail", "1", container)


def test_status_watches_each_change(host: Host, name: str, other: str):
    host.create(name)
    with Follow(host, "status", "--watch", name) as status, Follow(host, "status", "--watch", "--json", name) as lines:
        status.wait(f"{name} never-deployed")
        lines.wait("snapshot")
        host.run("systemctl", "restart", "podkeeper")
        host.wait_ready()
        again = lambda: lines.read().count('"snapshot"') > 1 and status.read().count(f"{name} never-deployed") > 1
        wait_for(again, 30, "both are there again")
        host.start(name)
        status.wait(f"{name} running")
        lines.wait('"running"')
        host.delete(name)
        status.wait(f"{name} removed")
        lines.wait('"removed"')
        events = [json.loads(line) for line in lines.seen.splitlines()]
        assert events[0]["event"] == "snapshot"
        assert [service["name"] for service in events[0]["data"]["services"]] == [name]
        assert other not in lines.seen


class Person:
    """Somebody at a terminal of 100 by 30."""

    def __init__(self, host: Host, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(100, 30)
        self.process = subprocess.Popen(
            # A run of the tests in the background has Ctrl-C ignored.
            ["env", "--default-signal", HOST, "enter", host.name, "--", "env", "TERM=xterm", "podkeeper", *arguments],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            # So that it is told of another size.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.seen = ""

    def resize(self, cols: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def code(self) -> int:
        return self.process.wait(30 * SLACK)

    def wait(self, wanted: str) -> None:
        end = time.monotonic() + 30 * SLACK
        while wanted not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"not {wanted!r}: {self.seen[-2000:]!r}"
            try:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"ended without {wanted!r}: {self.seen[-2000:]!r}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        kill(self.process)
        os.close(self.master)


def test_a_shell_at_a_terminal(host: Host, running: str):
    with Person(host, "shell", running) as person:
        person.type("stty size; echo in $((40+2))\n")
        person.wait("30 100")
        person.wait("in 42")
        person.resize(90, 20)
        person.type("until stty size | grep '^20 9[0]'; do sleep 1; done; exit 9\n")
        person.wait("20 90")
        assert person.code() == 9


def test_a_shell_is_left_shown_again_and_closed(host: Host, token_file: str):
    name = f"cli-{time.time_ns()}"
    with Person(host, "shell", "--name", name) as person:
        person.type("echo here $((40+2))\n")
        person.wait("here 42")
        person.type("\x1d")
        person.wait("podkeeper shell --attach")
        assert person.code() == 0
    listed = json.loads(cli(host, "shell", "--list", "--json"))["sessions"]
    (session,) = [session for session in listed if session["name"] == name]
    assert session["session"] in cli(host, "shell", "--list")
    with Person(host, "shell", "--name", name, *REMOTE, "--token-file", token_file) as person:
        person.wait("here 42")
        cli(host, "shell", "--close", session["session"])
        person.wait("the session was closed")
        assert person.code() == 1


def test_a_shell_takes_a_script_from_a_pipe(host: Host, running: str):
    said = cli(host, "shell", running, input="echo piped $((40+2))\nexit 0\n")
    assert "piped 42" in said
    # Nor must the last line have an end.
    said = cli(host, "shell", running, input="echo piped $((40+2)) $((50+2))")
    assert "piped 42 52" in said
    # More than waits for a program that does not read for a while.
    said = cli(host, "shell", running, input="sleep 2; stty -echo; wc -c\n" + ("x" * 999 + "\n") * 3000, timeout=1800)
    assert "3000000" in said


def test_colours_only_on_a_terminal_and_where_they_are_wanted(host: Host, running: str):
    with Person(host, "ps") as person:
        person.wait("running")
        assert "\x1b[32mrunning" in person.seen
    assert "\x1b" not in cli(host, "ps")
    shown = host.run("script", "-qec", "env NO_COLOR=1 TERM=xterm podkeeper ps", "/dev/null")
    assert "running" in shown and "\x1b[32m" not in shown


def test_the_help_of_a_command_begins_with_its_own_options(host: Host):
    own, everywhere = cli(host, "logs", "--help").split("Options of every command:")
    assert "--follow" in own and "--since" in own and "--host" not in own
    assert "--host" in everywhere and "--json" in everywhere and "--since" not in everywhere


def test_manual_pages_and_completion_are_installed(host: Host):
    for page in ("podkeeper", "podkeeper-logs", "podkeeper-deploy", "podkeeper-shell", "podkeeper-settings"):
        assert host.code("test", "-s", f"/usr/share/man/man1/{page}.1.gz") == 0, page
    completion = host.run("cat", "/usr/share/bash-completion/completions/podkeeper")
    assert "rollback" in completion
    script = "source /usr/share/bash-completion/completions/podkeeper; COMP_WORDS=(podkeeper rol); COMP_CWORD=1; " \
        "_podkeeper podkeeper rol podkeeper; echo ${COMPREPLY[@]}"
    assert host.run("bash", "-c", script).split() == ["rollback"]
