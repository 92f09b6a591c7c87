"""The sockets of a gateway in this process, seen from the side."""

from __future__ import annotations

from stream_gateway.server.sockets.service import SocketService
from stream_gateway.server.sockets.socket import WebSocket
from tests.doubles.served_gateway import ServedGateway


def service_of(gateway: ServedGateway) -> SocketService:
    """The gateway's sockets."""
    return gateway.gateway._sockets


def socket_of(gateway: ServedGateway) -> WebSocket:
    """The gateway's socket, when there is one."""
    (socket,) = service_of(gateway).sockets
    return socket
