"""A link between two network namespaces: delay, bandwidth, loss and stalls, in user space.

    python -m bench.link A B

Each namespace gets one end, a TUN device with the addresses of `bench.network`. It is in this process that
packets wait, so that nothing is asked of the kernel but TUN: `tc netem`, which does the same, is a module that many
kernels do not have. Conditions come as lines of JSON on standard input; it ends when that does.
"""

import fcntl
import heapq
import io
import itertools
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from dataclasses import dataclass

from bench.network import ADDRESSES, DEVICE, inside

_TUNSETIFF = 0x400454CA
_IFF_TUN_WITHOUT_HEADERS = 0x0001 | 0x1000
_MTU = 1500


@dataclass(frozen=True)
class Conditions:
    delay: float = 0.0
    """Seconds one way."""
    bandwidth: float = 0.0
    """Bytes a second each way; 0: no limit."""
    queue: int = 65_536
    """Bytes that wait before the link; what comes beyond is dropped."""
    loss: float = 0.0
    """Share of packets that are lost, in either direction."""
    down: bool = False
    """Nothing leaves; what comes waits in the queue."""


class Direction:
    """Packets on their way from one end to the other."""

    def __init__(self, source: int, sink: int, seed: int) -> None:
        self._source = source
        self._sink = sink
        self._dice = random.Random(seed)
        self._order = itertools.count()
        self._queue: list[bytes] = []
        self._queued = 0
        self._free_at = 0.0
        self._flying: list[tuple[float, int, bytes]] = []

    def take(self, conditions: Conditions) -> None:
        """Take what the kernel sends."""
        while True:
            try:
                packet = os.read(self._source, _MTU + 100)
            except BlockingIOError:
                return
            if self._dice.random() >= conditions.loss and self._queued + len(packet) <= conditions.queue:
                self._queue.append(packet)
                self._queued += len(packet)

    def move(self, conditions: Conditions, now: float) -> float:
        """Let packets leave and arrive that are due; when the next one is."""
        while self._queue and not conditions.down and self._free_at <= now:
            packet = self._queue.pop(0)
            self._queued -= len(packet)
            if conditions.bandwidth:
                self._free_at = max(self._free_at, now - 0.002) + len(packet) / conditions.bandwidth
            heapq.heappush(self._flying, (max(self._free_at, now) + conditions.delay, next(self._order), packet))
        while self._flying and self._flying[0][0] <= now:
            os.write(self._sink, heapq.heappop(self._flying)[2])
        due = self._flying[0][0] if self._flying else float("inf")
        return min(due, self._free_at) if self._queue and not conditions.down else due


def open_end(namespace: str, address: str) -> int:
    """One end: a TUN device in a namespace."""
    with inside(namespace):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", DEVICE.encode(), _IFF_TUN_WITHOUT_HEADERS))
    for command in (
        f"ip -n {namespace} address add {address}/24 dev {DEVICE}",
        f"ip -n {namespace} link set dev {DEVICE} mtu {_MTU} up",
        f"ip -n {namespace} link set lo up",
    ):
        subprocess.run(command.split(), check=True)
    return device


def main() -> None:
    ends = [open_end(namespace, address) for namespace, address in zip(sys.argv[1:3], ADDRESSES, strict=True)]
    directions = [Direction(ends[0], ends[1], 1), Direction(ends[1], ends[0], 2)]
    conditions = Conditions()
    commands = io.FileIO(0)  # unbuffered, so that `select` sees what is left
    print("ready", flush=True)
    due = float("inf")
    while True:
        left = max(due - time.monotonic(), 0)
        ready, _, _ = select.select([0, *ends], (), (), None if due == float("inf") else left)
        if 0 in ready:
            line = commands.readline()
            if not line:
                return
            conditions = Conditions(**json.loads(line))
        for direction in directions:
            direction.take(conditions)
        now = time.monotonic()
        due = min(direction.move(conditions, now) for direction in directions)


if __name__ == "__main__":
    main()
