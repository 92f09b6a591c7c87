"""What a process and its children cost: CPU time and memory, from the kernel."""

import os
import time
from pathlib import Path


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process; 0 if it is gone."""
    # The clock of another process's CPU time has this id on Linux (see clock_getcpuclockid(3)); it is
    # exact where /proc/PID/stat counts in hundredths of a second.
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return 0


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (parent := _parent(int(entry))) is not None:
            children.setdefault(parent, []).append(int(entry))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in brackets may itself hold spaces and brackets.
    return int(stat.rpartition(")")[2].split()[1])


def family_cpu_ns(pids: list[int]) -> int:
    return sum(cpu_ns(pid) for pid in pids)


def pss_bytes(pids: list[int]) -> int:
    """Memory of the processes, what they share being divided among the sharers."""
    return sum(_pss(pid) for pid in pids)


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
