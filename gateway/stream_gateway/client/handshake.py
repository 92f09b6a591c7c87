"""Opening a WebSocket, and what it means when that fails. Runs on Trio."""

import ssl
from collections.abc import Iterator
from typing import Final, NamedTuple

import trio
import trio_websocket
from wsproto import ConnectionType, WSConnection

from stream_gateway.client.carrier import Lost
from stream_gateway.client.errors import ClientError, Unauthorized
from stream_gateway.client.http import told, untrusted
from stream_protocols.commands import JSON_PROTOCOL
from stream_protocols.reconnect import Blame, on_status

MAX_MESSAGE: Final = 32 * 1024 * 1024
"""Bytes of one message from the gateway; an image comes in one event."""


class Address(NamedTuple):
    """Where a socket leads, and what its handshake carries."""

    host: str
    port: int
    path: str
    context: ssl.SSLContext | None
    headers: list[tuple[bytes, bytes]]


class Swallowed(trio_websocket.HandshakeError):
    """Somebody is there, and does not answer the handshake."""


FAILURES: Final = (
    trio_websocket.HandshakeError,
    trio_websocket.ConnectionClosed,
    trio.BrokenResourceError,
    OSError,
)
"""What becomes of a socket that cannot be opened, or breaks."""


async def open_websocket(nursery: trio.Nursery, address: Address, limit: float) -> trio_websocket.WebSocketConnection:
    """Connect and shake hands within `limit` seconds; `nursery` reads, and closes it all when it ends.

    Raises:
        OSError: nobody is there.
        HandshakeError, ConnectionClosed, BrokenResourceError: somebody is, without a WebSocket.
    """
    connected = False
    with trio.move_on_after(limit):
        stream: trio.abc.Stream = await trio.open_tcp_stream(address.host, address.port)
        nursery.start_soon(_closing, stream)
        if address.context is not None:
            address.context.set_alpn_protocols(["http/1.1"])  # httpx, with which we share it, sets its own
            secure = trio.SSLStream(stream, address.context, server_hostname=address.host, https_compatible=True)
            await secure.do_handshake()
            stream = secure
        connected = True
        return await _shake_hands(nursery, stream, address)
    raise (Swallowed if connected else OSError)(f"no answer within {limit:.0f} s")


async def _shake_hands(
    nursery: trio.Nursery, stream: trio.abc.Stream, address: Address
) -> trio_websocket.WebSocketConnection:
    """The library's `wrap_client_stream`, which would wait for ever when the connection ends within the handshake."""
    connection = trio_websocket.WebSocketConnection(
        stream,
        WSConnection(ConnectionType.CLIENT),
        host=address.host if address.port in (80, 443) else f"{address.host}:{address.port}",
        path=address.path,
        client_subprotocols=[JSON_PROTOCOL],
        client_extra_headers=address.headers,
        max_message_size=MAX_MESSAGE,
    )

    async def read() -> None:
        await connection._reader_task()
        handshake.cancel()

    with trio.CancelScope() as handshake:
        nursery.start_soon(read)
        await connection._open_handshake.wait()
        return connection
    raise trio_websocket.HandshakeError("the connection ended in the handshake")


async def _closing(stream: trio.abc.Stream) -> None:
    """Close the connection when its nursery ends, however it ends."""
    try:
        await trio.sleep_forever()
    finally:
        await trio.aclose_forcefully(stream)


def explain(group: BaseExceptionGroup[BaseException], address: Address) -> Lost | ClientError:
    """What `FAILURES` mean."""
    errors = list(_leaves(group))
    for error in errors:
        if isinstance(error, trio_websocket.ConnectionRejected):
            return _rejected(error)
        if (refused := untrusted(error, f"{address.host}:{address.port}")) is not None:
            return refused
    said = told(errors[0])
    if all(isinstance(error, OSError) for error in errors):
        return Lost(f"cannot connect: {said}", Blame.NETWORK)
    # A handshake that is swallowed is some proxy's doing.
    swallowed = any(isinstance(error, Swallowed) for error in errors)
    return Lost(f"no WebSocket: {said}", Blame.TRANSPORT if swallowed else Blame.EARLY)


def _rejected(error: trio_websocket.ConnectionRejected) -> Lost | ClientError:
    """A refused handshake. Only a gateway's own refusal, which says when to come back, is not the transport's fault.

    Not final: what a proxy refuses here may go by HTTP; and if it is the gateway, HTTP will hear it again, and better.
    But that the gateway takes no such token is true of every transport (a proxy would say 407).
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in error.headers}
    if error.status_code == 401 and headers.get("www-authenticate", "").lower().startswith("bearer"):
        return Unauthorized(
            "The gateway does not let this client in (401): its token is missing, wrong, expired or revoked."
        )
    verdict = on_status(error.status_code, retry_after=headers.get("retry-after"), date=headers.get("date"))
    own = verdict.come_back and verdict.after is not None
    blame = Blame.NETWORK if own else Blame.TRANSPORT
    return Lost(f"WebSocket refused with {error.status_code}", blame, after=verdict.after)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors that a group holds, however deep."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from _leaves(inner)
