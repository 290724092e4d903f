"""What the agent takes while nothing happens."""

import re
import threading

from host import Host
from measure import Row, ensure_services, say

SERVICES = 20
SECONDS = 60

# All processes but those of the test's own registry and of this look.
PSS = r"""
for folder in /proc/[0-9]*; do
  case $(cat "$folder/comm" 2>/dev/null) in docker-registry | registry | sh | cat | awk) continue ;; esac
  cat "$folder/smaps_rollup" 2>/dev/null
done | awk '/^Pss:/ { all += $2 } END { print all }'
"""


def cpu_ns(host: Host, pid: int) -> int:
    """The time that all threads of a process have run, in ns."""
    text = host.run("sh", "-c", f"cat /proc/{pid}/task/*/schedstat")
    return sum(int(line.split()[0]) for line in text.splitlines())


def memory(host: Host, pid: int) -> dict[str, float]:
    """In MiB."""
    text = host.run("cat", f"/proc/{pid}/status")
    return {key: int(value) / 1024 for key, value in re.findall(r"^(VmRSS|RssAnon|RssFile):\s+(\d+)", text, re.MULTILINE)}


def measure(host: Host) -> list[Row]:
    ensure_services(host, 5)
    pss = int(host.run("sh", "-c", PSS)) / 1024
    ensure_services(host, SERVICES)
    # As it is after its own restart, and not swollen by what was deployed a moment ago.
    host.run("systemctl", "restart", "podkeeper")
    host.wait_ready()
    threading.Event().wait(10)
    pid = host.agent_pid()
    say(f"leaving it alone for {SECONDS} s")
    began = cpu_ns(host, pid)
    threading.Event().wait(SECONDS)
    used = (cpu_ns(host, pid) - began) / 1e9 / SECONDS * 100
    now = memory(host, pid)
    return [
        Row(f"idle agent, {SERVICES} services: resident", now["VmRSS"], "MiB", at_most=12),
        Row("  of it memory of its own", now["RssAnon"], "MiB"),
        Row("  of it its program and libraries", now["RssFile"], "MiB"),
        Row(f"idle agent, {SERVICES} services: CPU of one core", used, "%", at_most=0.1),
        Row("the whole host with 5 services: PSS", pss, "MiB"),
    ]
