"""How many threads a tower should compute with: the cores that this process may really use."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

from bindsearch.errors import UnusableSpace

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
"""Lines of `number:controllers:path`; cgroup version 2 has a single one, without controllers."""


@cache
def usable_cores() -> int:
    """Return `BINDSEARCH_THREADS`, otherwise the cores that affinity and cgroups leave to this process.

    Raises `UnusableSpace` if the variable is not a positive number.
    """
    given = os.environ.get("BINDSEARCH_THREADS", "")
    if given:
        if not given.isdecimal() or int(given) < 1:
            raise UnusableSpace(f"BINDSEARCH_THREADS={given}: give the number of threads, 1 or more")
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota())))


def cpu_quota(root: Path = CGROUPS, own: Path = OWN_CGROUP) -> float:
    """Return how many cores' worth of time the cgroups of this process allow; infinity without a limit."""
    try:
        lines = [line.split(":", 2) for line in own.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return math.inf
    groups = {
        folder / path.lstrip("/")
        for _, controllers, path in lines
        if not controllers or "cpu" in controllers.split(",")
        for folder in ([root / "cpu", root / "cpu,cpuacct"] if controllers else [root])
    }
    # A limit of any group above holds too, and in a container the path may be one that only the host can see.
    above = {each for group in groups for each in (group, *group.parents) if each.is_relative_to(root)}
    return min((_quota_of(each) for each in above), default=math.inf)


def _quota_of(group: Path) -> float:
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (group / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        return float(quota) / float(period) if quota not in {"max", "-1"} else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
