"""The table of targets, in the order of the report."""

from bench.targets import own, peers
from bench.targets.target import Site, Start, Target, Unavailable

TARGETS: dict[str, Target] = {target.name: target for target in (*own.TARGETS, *peers.TARGETS)}

QUICK = ("direct", "floor", "gateway")
"""Need nothing that is not there after `make`."""

FULL = tuple(target.name for target in TARGETS.values() if target.kind != "faulty")

__all__ = ["FULL", "QUICK", "TARGETS", "Site", "Start", "Target", "Unavailable"]
