"""A reboot, without the agent and without Debian's own Caddy."""

import pathlib
import subprocess

import requests
from host import HOST, Host, leave_network, wait_for


def serves(host: Host, name: str) -> bool:
    try:
        return host.serve(name).status_code == 200
    except requests.RequestException:
        return False


def test_a_running_service_comes_back_and_a_stopped_one_stays_stopped(own: Host):
    for name in ("running", "stopped"):
        own.create(name)
        own.start(name)
    assert own.call("POST", "/services/stopped/stop", 200).json()["state"] == "stopped"
    own.run("systemctl", "disable", "--now", "podkeeper.socket", "podkeeper.service")
    # Debian's package would start it at boot.
    assert own.run("systemctl", "is-enabled", "caddy.service", check=False) == "disabled\n"

    file = pathlib.Path(f"/run/podkeeper-test/{own.name}/pid")
    before = file.read_text()
    leave_network()
    reboot = subprocess.Popen([HOST, "reboot", own.name], stdout=subprocess.DEVNULL)
    wait_for(lambda: file.exists() and file.read_text() not in ("", before), 60, "it boots")
    own.join_network()
    wait_for(lambda: serves(own, "running"), 60, "the service answers without the agent")
    assert reboot.wait(600) == 0

    assert own.run("systemctl", "is-system-running") == "running\n"
    for unit in ("podkeeper.service", "podkeeper.socket", "caddy.service"):
        assert own.run("systemctl", "is-active", unit, check=False) == "inactive\n"
    assert own.user("systemctl", "--user", "is-active", "stopped@1.service", check=False) == "inactive\n"
    assert own.serve("stopped").status_code == 404

    # Nor does the agent start it when it is back.
    own.run("systemctl", "enable", "--now", "podkeeper.socket", "podkeeper.service")
    own.wait_ready()

    def states() -> dict[str, str]:
        return {name: facts["state"] for name, facts in own.call("GET", "/services/status", 200).json().items()}

    wait_for(lambda: states() == {"running": "running", "stopped": "stopped"}, 20, "the agent sees them so")
    assert own.user("systemctl", "--user", "is-active", "stopped@1.service", check=False) == "inactive\n"
    assert serves(own, "running")
    own.start("stopped")
    assert serves(own, "stopped")


def test_what_started_without_a_network_has_one_as_soon_as_the_host_has(own: Host):
    own.create("early")
    own.start("early")
    links = ("eth0", "internet")
    route = own.run("ip", "route", "show", "default").split()
    for link in links:
        own.run("ip", "link", "set", link, "down")
    assert own.run("ip", "route", "show", "default") == ""
    own.user("systemctl", "--user", "restart", "early@1.service")
    wait_for(lambda: serves(own, "early"), 60, "it serves without a network")
    for link in links:
        own.run("ip", "link", "set", link, "up")
    own.run("ip", "route", "add", *route)
    # What stands for the internet there is a registry.
    ask = ("wget", "-T", "3", "-O", "-", "http://192.0.2.1:5000/v2/")
    asked = lambda: own.user("podman", "exec", "early-1", *ask, check=False)
    wait_for(lambda: asked() == "{}", 30, lambda: f"the service reaches the internet: {asked()}")
