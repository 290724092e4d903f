"""What a new user types: `packaging/up`, with nothing compiled and nothing in the cache, and again with all of it there.

It is run in this machine's own network, whose ports 7070 and 8080 must be free, and takes the internet. Debian's packages
that it installs on this machine, and what cargo has downloaded, may be here already.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile

import requests
from host import ROOT, Host, git, wait_for
from measure import Row, say, seconds

# In seconds: what hangs must not hold the run forever.
PATIENCE = 3600


def end(process: subprocess.Popen[str]) -> None:
    """Ends what the command runs beside itself: where its build fails, the host's root is still being made."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)

    def states() -> list[str]:
        # The host and what forwards its ports have sessions of their own.
        return subprocess.run(["ps", "-s", str(process.pid), "-o", "stat="], capture_output=True, text=True).stdout.split()

    # Nobody may ever wait for those whose parent has ended.
    wait_for(lambda: all(state.startswith("Z") for state in states()), 60, "all of it has ended")
    process.wait()


def run(folder: pathlib.Path, environment: dict[str, str], command: str, *arguments: str) -> str:
    """What this command of the clone's `packaging` prints."""
    said = folder / "said"
    with said.open("w") as out:
        argv = [str(folder / "podkeeper/packaging" / command), *arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(argv, env=environment, stdout=pipe, stderr=out, text=True, start_new_session=True)
        try:
            told, _ = process.communicate(timeout=PATIENCE)
        finally:
            end(process)
    assert process.returncode == 0, f"packaging/{command} ended with {process.returncode}:\n{said.read_text()[-4000:]}"
    return told


def up(folder: pathlib.Path, environment: dict[str, str]) -> None:
    """Until the dashboard answers at the address that it prints."""
    told = json.loads(run(folder, environment, "up", "--json").splitlines()[-1])
    answer = requests.get(told["url"], timeout=60)
    assert answer.status_code == 200, f"{told['url']}: {answer.status_code}"


def measure(host: Host) -> list[Row]:
    # With systemd here it would be installed on this machine itself, and then taken away from it.
    assert pathlib.Path("/proc/1/comm").read_text() != "systemd\n", "this machine runs systemd, so there is no throwaway host"
    # What a run that was killed left would be gone on with. It also gives this process the machine's network.
    host.stop()
    # On the disk that the hosts lie on, too.
    with tempfile.TemporaryDirectory(prefix="podkeeper-bench-", dir="/var/tmp") as name:
        folder = pathlib.Path(name)
        # The cache's own place can be read by all as well.
        folder.chmod(0o755)
        git("clone", "-q", str(ROOT), "podkeeper", cwd=folder)
        environment = {
            **os.environ,
            "PODKEEPER_THROWAWAY": host.name,
            "PODKEEPER_CACHE": str(folder / "cache"),
            "CARGO_TARGET_DIR": str(folder / "target"),
        }
        try:
            say("packaging/up from nothing")
            first = seconds(lambda: up(folder, environment))
            say(f"after {first:.0f} s: packaging/up again")
            again = seconds(lambda: up(folder, environment))
        finally:
            run(folder, environment, "down")
    return [
        Row("packaging/up, from nothing until the dashboard answers", first, "s", at_most=600),
        Row("packaging/up again", again, "s", at_most=60),
    ]
