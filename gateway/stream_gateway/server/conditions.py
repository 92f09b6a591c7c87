"""What the kernel knows of the network to a client (Linux: `struct tcp_info`)."""

import socket
import struct
from typing import Final

from stream_protocols.chunking import Conditions

_UNKNOWN: Final = Conditions()

_SIZE: Final = 168
_RTT: Final = 68  # tcpi_rtt, microseconds
_UNSENT: Final = 144  # tcpi_notsent_bytes
_RATE: Final = 160  # tcpi_delivery_rate, bytes a second

_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)


def conditions(sock: socket.socket) -> Conditions:
    """The conditions of a connection; unknown ones where the kernel does not tell, or it is no TCP."""
    if _TCP_INFO is None or sock.family == getattr(socket, "AF_UNIX", None):
        return _UNKNOWN
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _SIZE)
    except OSError:
        return _UNKNOWN
    if len(info) < _SIZE:
        return _UNKNOWN
    (rtt,), (unsent,) = struct.unpack_from("=I", info, _RTT), struct.unpack_from("=I", info, _UNSENT)
    (rate,) = struct.unpack_from("=Q", info, _RATE)
    return Conditions(rtt / 1e6, float(rate), unsent)
