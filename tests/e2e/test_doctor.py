"""`podkeeper doctor` names what is wrong with a host, and its next step puts it right."""

import json

from host import Host, wait_for

OLD = """#!/bin/sh
echo podman version 4.9.3
"""


def doctor(host: Host, *options: str) -> dict[str, dict]:
    """What is not as it should be, by name."""
    said = host.run("podkeeper", *options, "doctor", "--json", check=False)
    findings = json.loads(said)["findings"]
    return {finding["what"]: finding for finding in findings if finding["level"] != "ok"}


def test_it_names_each_thing_and_the_next_step(own: Host):
    uid = own.uid()
    ids = own.run("grep", "^podkeeper:", "/etc/subuid").strip()
    user = ("systemctl", "--user", "-M", "podkeeper@")
    # What, how it breaks, what the next step says, and that step.
    cases = (
        ("user ids", "sed -i /^podkeeper:/d /etc/subuid", "to /etc/subuid", f"echo {ids} >>/etc/subuid"),
        ("group ids", "sed -i /^podkeeper:/d /etc/subgid", "to /etc/subgid", f"echo {ids} >>/etc/subgid"),
        ("podman socket", " ".join((*user, "stop podman.socket podman.service")), " ".join((*user, "enable --now podman.socket")), None),
        ("proxy", "systemctl stop podkeeper-proxy", "systemctl enable --now podkeeper-proxy", None),
        ("proxy", "systemctl start caddy", "systemctl enable --now podkeeper-proxy", None),
        ("agent", "systemctl stop podkeeper.socket podkeeper.service", "systemctl restart podkeeper", None),
        (
            "journal limits",
            f"rm -r /etc/systemd/system/user@{uid}.service.d && systemctl daemon-reload",
            "apt install --reinstall podkeeper-host",
            "apt-get install -y --reinstall /root/podkeeper-host.deb",
        ),
        ("journal", "rm -r /var/log/journal", "mkdir /var/log/journal && systemctl restart systemd-journald", None),
        ("user manager", f"systemctl stop user@{uid}", f"systemctl start user@{uid}", None),
        ("lingering", "loginctl disable-linger podkeeper", "loginctl enable-linger podkeeper", None),
    )
    assert own.code("podkeeper", "doctor") == 0
    for what, breaking, next_step, repair in cases:
        own.run("sh", "-c", breaking)
        found = wait_for(lambda: doctor(own).get(what), 10, f"{what} is named after: {breaking}")
        assert next_step in found["next"], found
        shown = own.run("podkeeper", "doctor", check=False)
        assert found["detail"] in shown and f"next: {found['next']}" in shown
        assert own.code("podkeeper", "doctor") == (1 if found["level"] == "bad" else 0)
        own.run("sh", "-c", repair or next_step)
        wait_for(lambda: not doctor(own), 30, f"nothing is wrong after: {repair or next_step}")


def test_it_names_an_old_podman_and_a_full_disk(own: Host):
    own.write("/root/old-podman", OLD)
    own.run("chmod", "755", "/root/old-podman")
    own.run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", "/mnt")
    for config, what, detail, next_step in (
        ('[paths]\npodman = "/root/old-podman"\n', "podman", "Podman 4.9 is too old; 5.3 is needed", "Debian 13"),
        ('[paths]\npodman = "/nowhere"\n', "podman", "there is no Podman", "apt install podman"),
        ('[paths]\nstate = "/mnt"\n', "disk", "only 8 MiB are free", "remove services"),
        ('[paths]\nstate = "/nowhere"\n', "disk", "can't be looked at", "podkeeper-host"),
    ):
        own.write("/root/config.toml", config)
        found = doctor(own, "--config", "/root/config.toml")
        assert list(found) == [what]
        assert detail in found[what]["detail"] and next_step in found[what]["next"]
