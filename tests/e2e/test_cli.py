"""The command line, on the host over the unix socket and from elsewhere with a token."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest
from host import HOST, Clone, Host, git, wait_for


@pytest.fixture(scope="module")
def running(host: Host):
    name = "t-cli-service"
    host.create(name)
    host.start(name)
    yield name
    host.delete(name)


def cli(host: Host, *arguments: str, **options) -> str:
    return host.run("podkeeper", *arguments, **options)


def test_ps_status_and_open(host: Host, running: str):
    table = cli(host, "ps")
    assert table.splitlines()[0].split() == ["NAME", "STATE", "RELEASE", "COMMIT", "AGE", "URL"]
    (row,) = [line.split() for line in table.splitlines() if line.startswith(running)]
    assert row[1:3] == ["running", "1"] and row[5] == f"http://{running}.localhost:8080"
    assert "\x1b" not in table
    services = json.loads(cli(host, "ps", "--json"))["services"]
    assert running in [service["name"] for service in services]
    assert re.search(rf"^{running} +running ", cli(host, "status", running), re.M)
    assert json.loads(cli(host, "status", running, "--json"))[running]["state"] == "running"
    assert cli(host, "open", running).strip() == f"http://{running}.localhost:8080"


def test_errors_say_what_to_do_next(host: Host, running: str):
    for arguments, wanted in [
        (("status", "t-nobody"), "podkeeper ps"),
        (("logs", "t-nobody"), "t-nobody"),
        (("deploy", "t-nobody"), "t-nobody"),
        (("rollback", running), "no release before"),
        (("env", running, "NOT A PAIR"), "KEY=VALUE"),
        (("ps", "--host", "http://example.com"), "ssh -L"),
        (("ps", "--host", "http://127.0.0.1:7070"), "PODKEEPER_TOKEN"),
        (("shell", "--attach", "aaaaaaaa"), "no such session"),
    ]:
        assert host.code("podkeeper", *arguments) == 1, arguments
        said = cli(host, *arguments, check=False)
        assert wanted in said and said.startswith("podkeeper: "), said
    assert host.code("podkeeper", "depoly", running) == 2


def test_from_another_machine_with_a_token(host: Host, running: str):
    host.write("/root/token", host.token + "\n")
    remote = ("--host", "http://127.0.0.1:7070")
    try:
        assert running in cli(host, "ps", *remote, "--token-file", "/root/token")
        assert running in host.run("env", f"PODKEEPER_TOKEN={host.token}", "podkeeper", "ps", *remote)
        said = host.run("env", "PODKEEPER_TOKEN=pk_wrong", "podkeeper", "ps", *remote, check=False)
        assert "not signed in" in said
        said = host.run("env", "PODKEEPER_TOKEN=pk_wrong", "podkeeper", "status", "-w", *remote, check=False)
        assert "not signed in" in said
    finally:
        host.run("rm", "/root/token")


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
    host.run("systemd-run", "--unit=t-cli-https", "caddy", "run", "--config=/root/t-cli.caddy", "--adapter=caddyfile")
    try:
        wait_for(lambda: host.code("env", token, trust, *ps) == 0, 30, "the agent answers over https")
        assert running in host.run("env", token, trust, *ps)
        said = host.run("env", token, *ps, check=False)
        assert said.startswith("podkeeper: can't reach the agent at https://localhost:7443/") and "certificate" in said
    finally:
        host.run("systemctl", "stop", "t-cli-https")
        host.run("rm", "-r", "/root/t-cli", "/root/t-cli.caddy")


def test_a_repository_of_ones_own_is_pushed_to_a_new_service(host: Host, name: str, tmp_path):
    git("init", "-q", "-b", "main", cwd=tmp_path)
    own = Clone(tmp_path)
    own.commit({"index.html": "my own"})
    refused = own.git("push", host.remote(name), "main", check=False)
    assert f"there is no service `{name}`" in refused and "podkeeper create" in refused
    made = cli(host, "create", name)
    assert f"git push http://localhost:7070/git/{name}.git HEAD:main" in made and f"http://{name}.localhost:8080" in made
    said = cli(host, "deploy", name, check=False)
    assert "no commit" in said and "push a commit to `main`" in said
    # Nothing is there that a push would have to force its way over.
    assert f"Live: http://{name}.localhost:8080" in own.git("push", host.remote(name), "main")
    assert host.serve(name).text == "my own"
    assert "is stopped" in cli(host, "stop", name) and host.serve(name).status_code == 404
    assert host.code("podkeeper", "remove", name) == 1 and "--yes" in cli(host, "remove", name, check=False)
    assert cli(host, "remove", "--yes", name).strip() == f"{name} is removed"
    assert host.code("podkeeper", "remove", "--yes", name) == 1
    listed = cli(host, "templates")
    assert "empty" in listed and "static" in listed


def test_deploy_env_and_rollback(host: Host, name: str):
    host.create(name)
    said = cli(host, "deploy", name)
    assert "STEP 1/" in said and "live at" in said
    ended = json.loads(cli(host, "deploy", name, "--quick", "--json").splitlines()[-1])
    assert ended["state"] == "live" and ended["cause"] == "restart"
    cli(host, "env", name, "A=first value", "B=2")
    assert cli(host, "env", name) == "A=first value\nB=2\n"
    cli(host, "env", name, "--remove", "B", "--file", "-", input="# secrets\nC='from a file'\n")
    assert json.loads(cli(host, "env", name, "--json"))["env"] == {"A": "first value", "C": "from a file"}
    assert "live at" in cli(host, "rollback", name, "1")
    assert cli(host, "env", name) == ""
    queued = json.loads(cli(host, "deploy", name, "--no-wait", "--json"))
    host.wait_deployment(queued["id"])


def test_a_deployment_that_fails_says_why(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nRUN echo the reason; exit 7\n"})
    clone.push()
    said = cli(host, "deploy", name, check=False)
    assert "the reason" in said and "the build ended with status" in said and "next: " in said
    assert host.code("podkeeper", "deploy", name, "--json") == 1


class Follow:
    """A command that goes on."""

    def __init__(self, host: Host, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [HOST, "enter", host.name, "--", "podkeeper", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.seen = ""

    def wait(self, wanted: str, seconds: float = 30) -> None:
        def there() -> bool:
            self.seen += (self.process.stdout.read() or b"").decode()
            return wanted in self.seen

        wait_for(there, seconds, f"{wanted!r} is printed")

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def test_logs_follow_over_a_restart_of_the_agent(host: Host, running: str):
    say = ("podman", "exec", f"{running}-1", "sh", "-c")
    host.user(*say, "echo first line >/proc/1/fd/1")
    wait_for(lambda: "first line" in cli(host, "logs", running), 30, "the line is there")
    assert json.loads(cli(host, "logs", running, "--json", "-n", "1"))["message"]
    assert cli(host, "logs", running, "--grep", "nothing has this") == ""
    with Follow(host, "logs", "-f", running) as logs:
        logs.wait("first line")
        host.run("systemctl", "restart", "podkeeper")
        host.wait_ready()
        host.user(*say, "echo second line >/proc/1/fd/1")
        logs.wait("second line")
        assert logs.seen.count("first line") == 1


def test_status_watches_each_change(host: Host, name: str):
    host.create(name)
    with Follow(host, "status", "--watch", name) as status, Follow(host, "status", "--watch", "--json") as lines:
        status.wait(f"{name} created")
        host.start(name)
        status.wait(f"{name} running")
        lines.wait('"running"')
        host.delete(name)
        status.wait(f"{name} removed")
        events = [json.loads(line) for line in lines.seen.splitlines()[:3]]
        assert events[0]["event"] == "snapshot"


class Person:
    """Somebody at a terminal of 100 by 30."""

    def __init__(self, host: Host, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(100, 30)
        self.process = subprocess.Popen(
            [HOST, "enter", host.name, "--", "env", "TERM=xterm", "podkeeper", *arguments],
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
        return self.process.wait(30)

    def wait(self, wanted: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
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
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def test_a_shell_at_a_terminal(host: Host, running: str):
    with Person(host, "shell", running) as person:
        person.type("stty size; echo in $((40+2))\n")
        person.wait("30 100")
        person.wait("in 42")
        person.resize(90, 20)
        person.type("sleep 1; stty size; exit 9\n")
        person.wait("20 90")
        assert person.code() == 9
    with Person(host, "shell", "--name", "cli") as person:
        person.type("echo here $((40+2))\n")
        person.wait("here 42")
        person.type("\x1d")
        person.wait("podkeeper shell --attach")
        assert person.code() == 0
    listed = json.loads(cli(host, "shell", "--list", "--json"))["sessions"]
    (session,) = [session for session in listed if session["name"] == "cli"]
    assert session["session"] in cli(host, "shell", "--list")
    remote = ("--host", "http://127.0.0.1:7070", "--token-file", "/root/token")
    host.run("sh", "-c", "umask 077; cat >/root/token", input=host.token)
    with Person(host, "shell", "--name", "cli", *remote) as person:
        person.wait("here 42")
        cli(host, "shell", "--close", session["session"])
        person.wait("the session was closed")
        assert person.code() == 1
    host.run("rm", "/root/token")


def test_a_shell_takes_a_script_from_a_pipe(host: Host, running: str):
    said = cli(host, "shell", running, input="echo piped $((40+2))\nexit 0\n")
    assert "piped 42" in said


def test_colours_only_on_a_terminal_and_where_they_are_wanted(host: Host, running: str):
    with Person(host, "ps") as person:
        person.wait("running")
        assert "\x1b[32mrunning" in person.seen
    assert "\x1b" not in cli(host, "ps")
    shown = host.run("script", "-qec", "env NO_COLOR=1 TERM=xterm podkeeper ps", "/dev/null")
    assert "running" in shown and "\x1b[32m" not in shown


def test_manual_pages_and_completion_are_installed(host: Host):
    for page in ("podkeeper", "podkeeper-logs", "podkeeper-deploy", "podkeeper-shell"):
        assert host.code("test", "-s", f"/usr/share/man/man1/{page}.1.gz") == 0, page
    completion = host.run("cat", "/usr/share/bash-completion/completions/podkeeper")
    assert "rollback" in completion
    script = "source /usr/share/bash-completion/completions/podkeeper; COMP_WORDS=(podkeeper rol); COMP_CWORD=1; " \
        "_podkeeper podkeeper rol podkeeper; echo ${COMPREPLY[@]}"
    assert host.run("bash", "-c", script).split() == ["rollback"]
