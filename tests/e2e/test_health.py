"""Health checks, which are the services' own programs: what each may take, and what becomes of one that takes more."""

from containers import BASE, SERVE, Gate, Push
from host import Host, wait_for


def unit(name: str, kind: str = "service", release: int = 1) -> str:
    return f"podkeeper-check-{name}-{release}.{kind}"


def health(host: Host, name: str) -> str | None:
    return host.call("GET", "/services/status", 200).json()[name]["health"]


def check(commands: str) -> str:
    return f"HEALTHCHECK --interval=1s --timeout=1s --retries=2 CMD {commands}\n"


def deploy(host: Host, name: str, folder, commands: str) -> str:
    host.create(name)
    clone = host.clone(name, folder)
    clone.commit({"Containerfile": BASE + check(commands) + SERVE, "site/index.html": "healthy"})
    return Push(clone).end()


def ended(host: Host, name: str) -> str:
    """What is said of the service's checks that were ended."""
    return "\n".join(host.journal("-t", "podkeeper-check-" + name))


def shown(host: Host, unit: str, *properties: str) -> dict[str, str]:
    lines = host.user("systemctl", "--user", "show", unit, *(f"--property={name}" for name in properties)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_a_live_health_check_is_run_within_the_services_limits_and_not_too_often(
    host: Host, name: str, gate: Gate, tmp_path
):
    # It passes while the release is started, and waits at the gate from the first run after that on.
    said = deploy(host, name, tmp_path / "clone", f"test ! -e /live || {{ {gate.waits}; }}")
    assert "asks to be run each 1s" in said, said
    assert "OnUnitInactiveUSec=5s " in host.user("systemctl", "--user", "show", unit(name, "timer"))
    (container,) = host.user("podman", "ps", "-q", "--no-trunc", "--filter", f"name={name}-1").split()
    assert container not in host.user("systemctl", "--user", "list-units", "--all", "--no-legend"), "Podman has no timer"
    # This host has none of the kernel's controllers, so that the limits are set here and enforced elsewhere.
    assert shown(host, unit(name), "MemoryMax", "MemorySwapMax", "TasksMax", "CPUQuotaPerSecUSec", "TimeoutStartUSec") == {
        "MemoryMax": str(128 * 1024 * 1024), "MemorySwapMax": "0", "TasksMax": "64", "CPUQuotaPerSecUSec": "1s",
        "TimeoutStartUSec": "1min 1s",
    }  # fmt: skip
    host.user("podman", "exec", f"{name}-1", "touch", "/live")
    gate.wait_reached()
    # What limits the release's unit limits the check, which runs in the container's own cgroup; Podman beside it is in the
    # service's slice.
    assert f"/{name}@1.service/" in host.run("cat", f"/proc/{gate.pid()}/cgroup")
    slice = shown(host, f"{name}@1.service", "Slice")
    assert slice == shown(host, unit(name), "Slice") and name.replace("-", "\\x2d") in slice["Slice"]


def test_a_health_check_that_takes_too_much_is_ended_and_counts_as_failed(host: Host, name: str, gate: Gate, tmp_path):
    modes = f"case $(cat /mode) in hangs) {gate.waits};; prints) yes;; esac"
    assert "Live:" in deploy(host, name, tmp_path / "clone", modes)
    for mode, why in (("hangs", "did not end within 1 s"), ("prints", "printed more than 4 MiB")):
        wait_for(lambda: health(host, name) == "healthy", 60, "it is healthy")
        host.user("podman", "exec", f"{name}-1", "sh", "-c", f"echo {mode} >/mode")
        # It takes as many runs as with Podman's own timer.
        wait_for(lambda: health(host, name) == "unhealthy", 60, f"it is not healthy where its check {mode}")
        wait_for(lambda: why in ended(host, name), 30, lambda: f"it is said why: {ended(host, name)}")
        host.user("podman", "exec", f"{name}-1", "sh", "-c", "echo >/mode")
    wait_for(lambda: health(host, name) == "healthy", 60, "it is healthy again")
    # None of what was ended is left, in the container or with Podman.
    assert not gate.reached()
    left = host.user("podman", "top", f"{name}-1", "args")
    assert "yes" not in left.split() and "/mode" not in left, left
    wait_for(lambda: host.user("podman", "inspect", "-f", "{{.ExecIDs}}", f"{name}-1").strip() == "[]", 30, "no session")


def test_a_health_check_that_takes_too_much_makes_no_release_live(host: Host, name: str, tmp_path):
    host.create(name)
    host.call("PATCH", f"/services/{name}", 200, json={"health_timeout": 5})
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": BASE + check("yes") + SERVE, "site/index.html": "never"})
    assert "Failed (unhealthy)" in clone.push()
    assert "printed more than 4 MiB" in ended(host, name)


def test_what_a_check_that_does_not_pass_came_to_is_told(host: Host, name: str, tmp_path):
    host.create(name)
    host.call("PATCH", f"/services/{name}", 200, json={"health_timeout": 8})
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": BASE + check("echo no database; exit 7") + SERVE, "site/index.html": "never"})
    said = clone.push()
    assert "Failed (unhealthy): Its health check did not pass within 8 s" in said, said
    assert "ended with status" in said and "no database" in said and "HEALTHCHECK" in said, said
    assert "conmon" not in said and "libpod" not in said, said


def test_health_is_known_to_the_next_agent_however_seldom_it_is_checked(host: Host, name: str, tmp_path):
    said = deploy(host, name, tmp_path / "clone", "true")
    assert "Live:" in said, said
    wait_for(lambda: health(host, name) == "healthy", 60, "it is healthy")
    # Nobody runs it again for as long as this takes.
    host.user("systemctl", "--user", "stop", unit(name, "timer"))
    host.run("journalctl", "--rotate")
    host.run("systemctl", "restart", "podkeeper.service")
    wait_for(lambda: health(host, name) == "healthy", 30, "the next agent knows it")


def test_a_check_that_is_cut_off_is_no_failed_unit(host: Host, name: str, gate: Gate, tmp_path):
    assert "Live:" in deploy(host, name, tmp_path / "clone", f"test ! -e /live || {{ {gate.waits}; }}")
    host.user("podman", "exec", f"{name}-1", "touch", "/live")
    gate.wait_reached()
    failed = lambda: host.user("systemctl", "--user", "list-units", "--failed", "--no-legend", "--plain")
    host.call("POST", f"/services/{name}/stop", 200)
    assert name not in failed(), failed()
    host.call("DELETE", f"/services/{name}", 200)
    assert name not in failed(), failed()


def test_a_health_check_goes_with_its_release_and_comes_back_with_it(host: Host, name: str, tmp_path):
    assert "Live:" in deploy(host, name, tmp_path / "clone", "true")
    wait_for(lambda: health(host, name) == "healthy", 60, "it is healthy")
    active = lambda: shown(host, unit(name, "timer"), "ActiveState")["ActiveState"]
    # It ended by itself, again and again within the time in which systemd would count the timer's starts, and is started
    # again each time.
    runs = lambda: host.user("podman", "ps", "-q", "--no-trunc", "--filter", f"name={name}-1").strip()
    for restarts in (1, 2, 3):
        ended = wait_for(runs, 60, "it runs")
        host.user("podman", "kill", ended)
        restarted = lambda: host.call("GET", "/services/status", 200).json()[name]["restarts"] == restarts
        wait_for(lambda: restarted() and runs() not in ("", ended), 60, "it ran again")
    wait_for(lambda: active() == "active" and health(host, name) == "healthy", 60, "its health is known again")
    host.user("systemctl", "--user", "stop", f"{name}@1.service")
    assert active() == "inactive"
    host.user("systemctl", "--user", "start", f"{name}@1.service")
    assert active() == "active"


def test_a_release_whose_check_podman_runs_itself_is_heard_as_before(host: Host, name: str, tmp_path):
    """One that was rendered before there were units for that."""
    assert "Live:" in deploy(host, name, tmp_path / "clone", "test ! -e /tmp/ill")
    file = f"/var/lib/podkeeper/.config/containers/systemd/{name}@1.container"
    host.run("sed", "-i", "/^Wants=/d; /DISABLE_HC/d", file)
    host.user("systemctl", "--user", "daemon-reload")
    for verb in ("stop", "start"):
        host.user("systemctl", "--user", verb, f"{name}@1.service")
    wait_for(lambda: health(host, name) == "healthy", 60, "it is healthy")
    host.user("podman", "exec", f"{name}-1", "touch", "/tmp/ill")
    wait_for(lambda: health(host, name) == "unhealthy", 60, "it is not healthy any more")
    assert shown(host, unit(name, "timer"), "ActiveState")["ActiveState"] == "inactive"
