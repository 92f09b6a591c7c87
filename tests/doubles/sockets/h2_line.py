"""One stream of an HTTP/2 connection as the line of a `RawSocket`."""

from __future__ import annotations

from collections.abc import Mapping

from tests.doubles.h2_client import H2Client, H2Stream
from tests.doubles.sockets.raw_socket import CONNECT, JSON


class H2Line:
    """Carries a socket's bytes (see `Line`)."""

    def __init__(self, client: H2Client, stream: H2Stream) -> None:
        self.unread = bytearray()
        self._client = client
        self._stream = stream
        self._taken = 0

    async def send(self, data: bytes) -> None:
        self._client.h2.send_data(self._stream.id, data)
        await self._client.flush()

    async def receive(self) -> bool:
        stream = self._stream
        await self._client.until(lambda: len(stream.body) > self._taken or stream.ended or stream.reset is not None)
        data = bytes(stream.body[self._taken :])
        self._taken = len(stream.body)
        self.unread += data
        return bool(data)

    async def aclose(self) -> None:
        if not self._stream.ended and self._stream.reset is None:
            await self._client.cancel(self._stream)


async def h2_shake(client: H2Client, headers: Mapping[str, str], protocol: str = JSON) -> H2Stream:
    """Send an opening handshake; the stream has its answer."""
    await client.until(lambda: client.h2.remote_settings.enable_connect_protocol == 1)
    fields = {
        ":protocol": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-protocol": protocol,
        **{name.lower(): value for name, value in headers.items()},
    }
    return await client.request("CONNECT", CONNECT, headers=fields, end=False)
