"""`podkeeper doctor` names what is wrong with a host, and its next step puts it right."""

import json

from host import Host, wait_for

ROUTES = "/var/lib/podkeeper-proxy/routes"
PIPES = "/proc/sys/fs/pipe-user-pages-soft"
INOTIFY = "/proc/sys/fs/inotify/max_user_instances"
OLD = """#!/bin/sh
echo podman version 4.9.3
"""


def doctor(host: Host, *options: str) -> dict[str, dict]:
    """What is not as it should be, by name."""
    said, code = host.run("sh", "-c", 'podkeeper "$@"; echo " $?"', "sh", *options, "doctor", "--json").rsplit(maxsplit=1)
    findings = json.loads(said)["findings"]
    assert int(code) == any(finding["level"] == "bad" for finding in findings)
    # The kernel's controllers belong to the machine around this host, and nothing in it puts that right.
    return {finding["what"]: finding for finding in findings if finding["level"] != "ok" and finding["what"] != "limits"}


def test_it_names_each_thing_and_the_next_step(own: Host):
    uid = own.uid()
    ids = own.run("grep", "^podkeeper:", "/etc/subuid").strip()
    user = ("systemctl", "--user", "-M", "podkeeper@")
    restart = f"systemctl restart user-runtime-dir@{uid} user@{uid}"
    # What, how it breaks, what the next step says, and that step.
    cases = (
        ("user ids", "sed -i /^podkeeper:/d /etc/subuid", "to /etc/subuid", f"echo {ids} >>/etc/subuid"),
        ("group ids", "sed -i /^podkeeper:/d /etc/subgid", "to /etc/subgid", f"echo {ids} >>/etc/subgid"),
        ("podman socket", " ".join((*user, "stop podman.socket podman.service")), " ".join((*user, "enable --now podman.socket")), None),
        ("proxy", "systemctl stop podkeeper-proxy", "systemctl enable --now podkeeper-proxy", None),
        ("proxy", "systemctl disable podkeeper-proxy", "systemctl enable podkeeper-proxy", None),
        ("proxy", "echo >>/etc/podkeeper/proxy.json", "systemctl restart podkeeper-proxy", None),
        (
            "proxy",
            "sysctl net.ipv6.conf.lo.disable_ipv6=1 && systemctl restart podkeeper-proxy",
            "sysctl net.ipv6.conf.lo.disable_ipv6=0 && systemctl restart podkeeper-proxy",
            None,
        ),
        ("agent", "systemctl disable podkeeper.service podkeeper.socket", "systemctl enable podkeeper", None),
        (
            "network",
            "ip route show default >/run/route && ip route del default",
            "`ip route show default` tells when it is",
            "ip route add $(cat /run/route)",
        ),
        ("routes", f"chown root {ROUTES}", "systemd-tmpfiles --create podkeeper.conf && systemctl restart podkeeper", None),
        ("routes", f"chmod 700 {ROUTES}", "systemd-tmpfiles --create podkeeper.conf && systemctl restart podkeeper", None),
        ("routes", f"rm -r {ROUTES}", "systemd-tmpfiles --create podkeeper.conf && systemctl restart podkeeper", None),
        ("agent", "systemctl stop podkeeper.socket podkeeper.service", "systemctl restart podkeeper", None),
        (
            "journal limits",
            f"rm -r /etc/systemd/system/user@{uid}.service.d && systemctl daemon-reload",
            "apt install --reinstall podkeeper-host",
            "apt-get install -y --reinstall /root/podkeeper-host.deb",
        ),
        # The limit is the machine's: this host alone sees the lower one.
        (
            "pipes",
            f"echo 16384 >/run/pages && mount --bind /run/pages {PIPES}",
            "systemctl restart systemd-sysctl",
            f"systemctl restart systemd-sysctl && grep -qx 4194304 {PIPES}",
        ),
        (
            "inotify",
            f"echo 1 >/run/instances && mount --bind /run/instances {INOTIFY}",
            "echo fs.inotify.max_user_instances = 4 >/etc/sysctl.d/90-inotify.conf",
            f"umount {INOTIFY}",
        ),
        ("journal", "rm -r /var/log/journal", "mkdir /var/log/journal && systemctl restart systemd-journald", None),
        ("user manager", f"systemctl stop user@{uid}", restart, None),
        # It runs, and what it is reached by is gone.
        ("user manager", f"rm -r /run/user/{uid}/bus", restart, None),
        ("user manager", f"umount -l /run/user/{uid}", restart, None),
        ("lingering", "loginctl disable-linger podkeeper", "loginctl enable-linger podkeeper", None),
    )
    wait_for(lambda: own.code("podkeeper", "doctor") == 0, 30, lambda: f"nothing is wrong: {doctor(own)}")
    for what, breaking, next_step, repair in cases:
        own.run("sh", "-c", breaking)
        found = wait_for(lambda: doctor(own).get(what), 10, f"{what} is named after: {breaking}")
        assert next_step in found["next"], found
        told = (found["detail"], f"Next: {found['next']}")
        shown = lambda: own.run("podkeeper", "doctor", check=False)
        wait_for(lambda: all(text in shown() for text in told), 10, lambda: f"a person reads {told}; they read: {shown()}")
        own.run("sh", "-c", repair or next_step)
        nothing = lambda: f"nothing is wrong after {repair or next_step}: {doctor(own)}"
        wait_for(lambda: not doctor(own), 30, nothing)


def test_it_names_an_old_podman_and_a_full_disk(own: Host):
    own.write("/root/old-podman", OLD)
    own.run("chmod", "755", "/root/old-podman")
    own.run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", "/mnt")
    own.run("mount", "-t", "tmpfs", "-o", "size=2g,nr_inodes=100", "tmpfs", "/opt")
    for config, what, detail, next_step in (
        ('[paths]\npodman = "/root/old-podman"\n', "podman", "Podman 4.9 is too old; 5.3 is needed", "Debian 13"),
        ('[paths]\npodman = "/nowhere"\n', "podman", "there is no Podman", "apt install podman"),
        ('[paths]\nstate = "/mnt"\n', "disk", "only 8 MiB are free", "remove services"),
        ('[paths]\nstate = "/opt"\n', "disk", "more files can be made", "remove services"),
        ('[paths]\nstate = "/nowhere"\n', "disk", "can't be looked at", "podkeeper-host"),
    ):
        own.write("/root/config.toml", config)
        found = doctor(own, "--config", "/root/config.toml")
        assert list(found) == [what]
        assert detail in found[what]["detail"] and next_step in found[what]["next"]


def test_it_tells_a_podman_that_fails_from_a_socket_that_is_gone(own: Host):
    storage = "/var/lib/podkeeper/.config/containers/storage.conf"
    user = ("systemctl", "--user", "-M", "podkeeper@")
    own.write(storage, "nonsense")

    def named() -> dict[str, dict]:
        # After a few starts that fail systemd gives the socket up.
        own.run(*user, "stop", "podman.service", "podman.socket")
        own.run(*user, "reset-failed")
        own.run(*user, "start", "podman.socket")
        found = doctor(own)
        detail = found.get("podman socket", {}).get("detail", "")
        return found if "Podman does not answer" in detail and "agent" in found else {}

    found = wait_for(named, 30, lambda: f"it is told; {doctor(own)} is")
    assert "_SYSTEMD_USER_UNIT=podman.service tells why" in found["podman socket"]["next"]
    assert found["agent"]["detail"] == "Not ready: no answer from podman."
    assert "what stands above" in found["agent"]["next"]
    own.run("rm", storage)

    def mended() -> bool:
        # Whoever asks meanwhile, such as the agent, may have systemd give it up again.
        own.run(*user, "reset-failed")
        own.run(*user, "start", "podman.socket")
        return not doctor(own)

    wait_for(mended, 30, "nothing is wrong")
