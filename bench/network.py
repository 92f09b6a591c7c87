"""Two network namespaces with an emulated link between them. Nothing outside of them is touched, and they always go."""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ADDRESSES = ("10.213.0.1", "10.213.0.2")
DEVICE = "emulated"

_CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Sockets made meanwhile, by this thread, belong to a namespace, and stay in it."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(path: str) -> None:
        with open(path, "rb") as file:
            if libc.setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"the network namespace {path} cannot be entered")

    home = f"/proc/{os.getpid()}/ns/net"
    with open(home, "rb") as before:
        enter(f"/run/netns/{namespace}")
        try:
            yield
        finally:
            libc.setns(before.fileno(), _CLONE_NEWNET)


def obstacle() -> str:
    """Why there can be no emulated network here; empty: there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    name = f"bench-{os.getpid()}-probe"
    try:
        subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
    except FileNotFoundError:
        return "iproute2 is not installed (the command `ip`)"
    except subprocess.CalledProcessError as error:
        return f"network namespaces cannot be made: {error.stderr.decode(errors='replace').strip()[:200]}"
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return ""


class Network:
    """The namespaces `near`, where the server is, and `far`, where its clients are; use it as a context manager."""

    def __init__(self) -> None:
        self.near = f"bench-{os.getpid()}-near"
        self.far = f"bench-{os.getpid()}-far"
        self._link: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Network":
        try:
            for name in (self.near, self.far):
                subprocess.run(["ip", "netns", "add", name], check=True)
            command = [sys.executable, "-m", "bench.tether", "", "--", sys.executable, "-m", "bench.link"]
            self._link = subprocess.Popen(
                [*command, self.near, self.far], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._link is not None:
            self._link.kill()
            self._link.wait()
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "delete", name], check=False, stderr=subprocess.DEVNULL)

    def _wait(self) -> None:
        assert self._link is not None
        assert self._link.stdout is not None
        if self._link.stdout.readline() != b"ready\n":
            raise OSError("the emulated link did not start")

    def become(self, **conditions: Any) -> None:
        """Change the conditions of the link (see `bench.link.Conditions`)."""
        assert self._link is not None
        assert self._link.stdin is not None
        self._link.stdin.write(json.dumps(conditions).encode() + b"\n")
        self._link.stdin.flush()

    def sent(self) -> int:
        """Bytes of IP that the server's side has sent, retransmissions included."""
        with inside(self.near):
            for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
                name, _, fields = line.partition(":")
                if name.strip() == DEVICE:
                    return int(fields.split()[8])
        return 0
