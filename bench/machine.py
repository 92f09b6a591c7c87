"""The machine a benchmark ran on, and how much of it others took meanwhile."""

import dataclasses
import os
import platform
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Ticks:
    """Hundredths of a second that all cores spent, from /proc/stat."""

    all: int
    busy: int
    stolen: int
    """By the hypervisor, for other machines."""


def ticks() -> Ticks:
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, idle, waiting, irq, soft_irq, stolen = fields
    busy = user + nice + system + irq + soft_irq
    return Ticks(busy + idle + waiting + stolen, busy, stolen)


def describe() -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
