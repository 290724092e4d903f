"""Whatever installs something waits for the programs that hold apt's locks, as in a server's first minutes."""

import subprocess

import pytest
from host import HOST, ROOT, Host, wait_for

# As apt takes it (fcntl(2)).
HOLD = """
use Fcntl;
$0 = "unattended-upgr";
open(my $file, ">>", $ARGV[0]) or die;
my $lock = pack("s s x4 q q l x4", F_WRLCK, 0, 0, 0, 0);
fcntl($file, F_SETLK, $lock) or die;
sleep;
"""
LOCKS = ("/var/lib/apt/lists/lock", "/var/lib/dpkg/lock-frontend")
# The archive is not in reach, and is not what this is about.
UPDATE = "apt_get update -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/dev/null"


def hold(host: Host, lock: str) -> None:
    host.run("systemd-run", "--quiet", "--unit=holder", "perl", "-e", HOLD, lock)
    held = f'grep -q ":$(stat -c %i {lock}) " /proc/locks'
    wait_for(lambda: host.code("sh", "-c", held) == 0, 10, f"{lock} is held")


@pytest.mark.parametrize("lock", LOCKS)
def test_apt_waits_for_who_holds_its_locks_and_names_it(plain: Host, lock: str, tmp_path):
    plain.put(ROOT / "packaging/apt", "/root/apt")
    hold(plain, lock)
    script = f". /root/apt && {UPDATE}"
    refused = subprocess.run(
        [HOST, "enter", plain.name, "--", "env", "APT_PATIENCE=2", "bash", "-c", script], text=True, capture_output=True
    )
    assert refused.returncode == 100
    waiting, gives_up = refused.stderr.splitlines()
    holder = plain.run("systemctl", "show", "-P", "MainPID", "holder").strip()
    assert waiting == f"waiting for unattended-upgr (process {holder}), which holds apt's locks"
    assert gives_up.startswith(f"error: unattended-upgr (process {holder}) has held apt's locks for 2 seconds; wait")

    said = tmp_path / "said"
    with said.open("w") as out:
        patient = subprocess.Popen([HOST, "enter", plain.name, "--", "bash", "-c", script], stderr=out)
    wait_for(said.read_text, 30, "it says that it waits")
    assert patient.poll() is None
    plain.run("systemctl", "stop", "holder")
    assert patient.wait(300) == 0
    assert said.read_text().splitlines() == [waiting]
