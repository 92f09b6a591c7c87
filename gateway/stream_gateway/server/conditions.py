"""What the kernel knows of the network to a client (Linux: `struct tcp_info`)."""

import fcntl
import socket
import struct
import sys
from typing import Final

from stream_protocols.chunking import Conditions

_UNKNOWN: Final = Conditions()

_TCP_INFO: Final = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None  # others have other fields
_SIZE: Final = 168
_FIELDS: Final = struct.Struct("=7x B 60x I 8x I 60x I I 8x Q")
"""`tcpi_delivery_rate_app_limited` (a bit), `tcpi_rtt` (µs), `tcpi_snd_cwnd` (packets), `tcpi_notsent_bytes`,
`tcpi_min_rtt` (µs), `tcpi_delivery_rate`."""

_LIMITED_BY_US: Final = 0x01 if sys.byteorder == "little" else 0x80
"""There was no more to send: the rate then is the model's, and says nothing of what the network could carry."""

_NEVER: Final = 0xFFFFFFFF
"""`tcpi_min_rtt` before the first measurement."""

_SIOCOUTQNSD: Final = 0x894B if sys.platform == "linux" else None
_COUNT: Final = struct.Struct("=i")
_ROOM: Final = bytearray(_COUNT.size)
"""For the kernel's answer: one for all costs half of what a new one each time does."""


def is_tcp(sock: socket.socket) -> bool:
    """Whether the kernel may know something of it."""
    return sock.family in (socket.AF_INET, socket.AF_INET6)


def conditions(sock: socket.socket) -> Conditions:
    """The conditions of a connection; unknown ones where the kernel does not tell, or it is no TCP."""
    if _TCP_INFO is None or not is_tcp(sock):
        return _UNKNOWN
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _SIZE)
    except OSError:
        return _UNKNOWN
    if len(info) < _SIZE:
        return _UNKNOWN
    flags, rtt, window, unsent, least, rate = _FIELDS.unpack(info)
    return Conditions(
        rtt=rtt / 1e6,
        least_rtt=0.0 if least == _NEVER else least / 1e6,
        rate=0.0 if flags & _LIMITED_BY_US else float(rate),
        window=window,
        unsent=unsent,
    )


def unsent(sock: socket.socket) -> int:
    """Bytes written to a TCP socket that wait in the kernel for the network to take more; 0 where that is unknown."""
    if _SIOCOUTQNSD is None:
        return 0
    try:
        fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, _ROOM)
    except OSError:
        return 0
    count: int = _COUNT.unpack(_ROOM)[0]
    return count
