"""What the measurements share: rows of the table, and the services that they are made on."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from host import ROOT, Host, wait_for

# How far above its bar a measure may be until the run fails: the machines are shared, and slow at times.
MARGIN = 1.25


@dataclasses.dataclass
class Row:
    """A line of the table. With `ratio_at_most` the ratio to the reference has a bar, with `at_most` our own value."""

    measure: str
    ours: float
    unit: str
    reference: float | None = None
    what: str = ""
    ratio_at_most: float | None = None
    at_most: float | None = None

    def ratio(self) -> float | None:
        return self.ours / self.reference if self.reference else None

    def missed(self) -> bool:
        if self.ratio_at_most is not None:
            return self.ratio() is None or self.ratio() > self.ratio_at_most * MARGIN
        return self.at_most is not None and self.ours > self.at_most * MARGIN

    def line(self) -> str:
        return line(self.cells())

    def cells(self) -> list[str]:
        def number(value: float | None, unit: str = "") -> str:
            return "" if value is None else f"{value:.3g} {unit}".strip() if value < 100 else f"{value:.0f} {unit}".strip()

        bar = ""
        if self.ratio_at_most is not None:
            bar = f"≤ {self.ratio_at_most:g} ×"
        elif self.at_most is not None:
            bar = f"≤ {self.at_most:g} {self.unit}"
        reference = f"{number(self.reference, self.unit)} {self.what}".strip()
        ratio = number(self.ratio())
        met = self.ratio() <= self.ratio_at_most if self.ratio_at_most else self.at_most is None or self.ours <= self.at_most
        return [self.measure, number(self.ours, self.unit), reference, ratio, bar, "" if not bar else "yes" if met else "NO"]


# Of the columns of the table, which is printed as it grows.
WIDTHS = (68, 11, 38, 7, 10, 3)


def line(cells: list[str]) -> str:
    return " | ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def heading() -> str:
    return line(["measure", "ours", "reference", "ratio", "bar", "met"]) + "\n" + "-|-".join("-" * width for width in WIDTHS)


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def median(values: list[float]) -> float:
    return quantile(values, 0.5)


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def install(programs: dict[str, str]) -> None:
    """Installs the packages, by program, of those that are missing."""
    missing = [package for program, package in programs.items() if not shutil.which(program, path="/usr/sbin:/usr/local/bin:/usr/bin")]
    if missing:
        say(f"installing {' '.join(missing)}")
        # Nothing of it shall run by itself.
        policy = pathlib.Path("/usr/sbin/policy-rc.d")
        ours = not policy.exists()
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        try:
            for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
                script = '. "$0" && apt_get "$@"'
                subprocess.run(["bash", "-c", script, ROOT / "packaging/apt", *command], check=True)
        finally:
            if ours:
                policy.unlink()


def ensure_services(host: Host, count: int) -> list[str]:
    """At least so many services that run, each of the template `static`."""
    names = [f"bench-{number}" for number in range(count)]
    there = {service["name"] for service in host.call("GET", "/services", 200).json()["services"]}
    missing = [name for name in names if name not in there]
    if missing:
        say(f"starting {len(missing)} services")
    begun = []
    for name in missing:
        host.create(name)
        begun.append(host.call("POST", f"/services/{name}/start", 202).json()["id"])
    for identity in begun:
        host.wait_deployment(identity, seconds=1800)

    def settled() -> bool:
        states = host.call("GET", "/services/status", 200).json()
        return all(states[name]["state"] == "running" for name in names)

    wait_for(settled, 60, "all services run")
    return names


def wait_idle(host: Host, name: str) -> None:
    """Nothing of the service is under way, and the release before is drained and gone."""

    def idle() -> bool:
        deployments = host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"]
        ended = all(one["state"] in ("live", "failed", "cancelled", "superseded") for one in deployments)
        units = host.user("systemctl", "--user", "list-units", "--all", "--no-legend", "--plain", f"{name}@*")
        return ended and len(units.splitlines()) <= 1

    wait_for(idle, 120, "the slot is free")
