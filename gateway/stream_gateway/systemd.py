"""What systemd and a service tell each other: sockets handed over (sd_listen_fds), and states told (sd_notify).

All of it is optional: without the environment variables, nothing is there and nothing is said.
"""

import contextlib
import os
import socket
import time
from typing import Final

_FIRST: Final = 3  # SD_LISTEN_FDS_START
_handed: dict[str, list[int]] | None = None


class HandedOver(socket.socket):
    """A listening socket that somebody else has, too: if it has a path, that is not ours to remove."""


def listening(name: str) -> HandedOver | None:
    """The listening socket that was handed over under a name (`FileDescriptorName=`), once; None when there is none.

    Raises:
        OSError: what was handed over under that name is no listening socket.
    """
    numbers = _take_all().get(name)
    if not numbers:
        return None
    sock = HandedOver(fileno=numbers.pop(0))
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise OSError(f"systemd handed over {name!r}, which is no listening socket")
    sock.setblocking(False)
    return sock


def _take_all() -> dict[str, list[int]]:
    """Descriptors by name; they and the variables are ours alone, and not our children's."""
    global _handed
    if _handed is None:
        _handed = {}
        count, process = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
        names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
        if count.isdecimal() and process == str(os.getpid()):
            for index in range(int(count)):
                os.set_inheritable(_FIRST + index, False)
                name = names[index] if index < len(names) else ""
                _handed.setdefault(name, []).append(_FIRST + index)
    return _handed


def notify(**states: str | int) -> bool:
    """Tell states, such as `READY=1` and `STATUS="…"`; whether there is somebody to tell."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # in the abstract namespace
        address = "\0" + address[1:]
    message = "\n".join(f"{key}={value}" for key, value in states.items()).encode()
    with (
        contextlib.suppress(OSError),  # a manager that is gone is no reason to end
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
    ):
        sock.setblocking(False)
        sock.sendto(message, address)
    return True


def notify_reloading() -> None:
    """A reload has begun; its end is told by `READY=1` (`Type=notify-reload`)."""
    notify(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)


def watchdog() -> float | None:
    """Seconds after which the manager ends a service that has not said `WATCHDOG=1`; None: it does not watch."""
    text, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or process not in ("", str(os.getpid())):
        return None
    return int(text) / 1_000_000
