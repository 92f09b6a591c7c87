"""The double of an OpenAI endpoint that speaks HTTP/2: the same scripts, gates and faults (see `openai_server`).

A fault concerns one stream where HTTP/2 has that: `Ending.RESET` is an RST_STREAM. `Ending.CLOSE` ends the connection.
"""

from __future__ import annotations

import json
import ssl
import zlib
from collections.abc import Mapping
from typing import Any

import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.doubles.faults import Ending, pieces
from tests.doubles.h2_peer import H2Peer, H2Request
from tests.doubles.http_requests import Request
from tests.doubles.openai_chunks import ChunkWriter, reply
from tests.doubles.openai_script import Script
from tests.doubles.openai_server import OpenAIServer, UpstreamExchange


class OpenAIH2Server(OpenAIServer):
    """Serves over TLS, or by prior knowledge when there is no context. The context has to offer h2.

    `settings`: what each connection's first SETTINGS say; None: nothing.
    """

    def __init__(
        self,
        *,
        key: str | None = None,
        context: ssl.SSLContext | None = None,
        settings: Mapping[SettingCodes, int] | None = {},
    ) -> None:
        super().__init__(key=key)
        self.settings = settings
        self.peers: list[H2Peer] = []
        self.resets = 0
        """Streams that were left by their client."""
        self._context = context

    @property
    def base_url(self) -> str:
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/v1"

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        self.open_connections += 1
        self.accepted_connections += 1
        try:
            if self._context is None:
                await self._serve_peer(stream)
            else:
                await self._serve_peer(trio.SSLStream(stream, self._context, server_side=True, https_compatible=True))
        except trio.BrokenResourceError:
            pass
        finally:
            self.open_connections -= 1
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _serve_peer(self, stream: trio.abc.Stream) -> None:
        peer = H2Peer(stream, settings=self.settings)
        if isinstance(stream, trio.SSLStream):
            await stream.do_handshake()
        self.peers.append(peer)
        async with trio.open_nursery() as nursery:
            await nursery.start(peer.run)
            try:
                while True:
                    request = await peer.request()
                    nursery.start_soon(self._answer, peer, request)
            except trio.EndOfChannel:
                nursery.cancel_scope.cancel()
        self.peers.remove(peer)

    async def _answer(self, peer: H2Peer, request: H2Request) -> None:
        exchange = UpstreamExchange(_as_request(request))
        self.exchanges.append(exchange)
        self._arrivals.send_nowait(exchange)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_when_left, request, nursery.cancel_scope)
            await _Answer(self, exchange, peer, request).write()
            exchange.finished.set()
            nursery.cancel_scope.cancel()
        if not exchange.finished.is_set():
            exchange.left.set()
        exchange.ended.set()

    async def _cancel_when_left(self, request: H2Request, scope: trio.CancelScope) -> None:
        await request.left.wait()
        self.resets += request.reset is not None
        scope.cancel()


class _Answer:
    """Writes the answer to one exchange."""

    def __init__(self, server: OpenAIServer, exchange: UpstreamExchange, peer: H2Peer, request: H2Request) -> None:
        self._server = server
        self._exchange = exchange
        self._peer = peer
        self._request = request

    async def write(self) -> None:
        script = self._server.script_for(self._exchange.request)
        if script.head_gate is not None:
            await script.head_gate.take()
        if script.refusal is not None:
            await self._write_json(script.refusal.status, script.refusal.body(), script.refusal.headers)
        elif self._exchange.request.json.get("stream"):
            await self._write_stream(script)
        elif script.gate is not None and await script.gate.take():
            await self._write_json(200, reply(script, self._exchange.request.json))
        else:
            await self._write_json(200, reply(script, self._exchange.request.json))

    async def _write_json(self, status: int, payload: Any, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(payload, ensure_ascii=False).encode()
        named = {name.lower(): value for name, value in (headers or {}).items()}
        fields = {"content-type": "application/json", "content-length": str(len(body)), **named}
        await self._peer.respond(self._request, fields, status=status)
        self._exchange.answered.set()
        await self._peer.send(self._request, body, end=True)

    async def _write_stream(self, script: Script) -> None:
        frames = ChunkWriter(script, self._exchange.request.json)
        gzip = zlib.compressobj(wbits=31) if script.gzip else None
        fields = {"content-type": "text/event-stream; charset=utf-8", "x-request-id": "req_double"}
        await self._peer.respond(self._request, {**fields, "content-encoding": "gzip"} if gzip else fields)
        self._exchange.answered.set()

        async def send(data: bytes) -> None:
            for piece in pieces(data, script.split):
                packed = piece if gzip is None else gzip.compress(piece) + gzip.flush(zlib.Z_SYNC_FLUSH)
                await self._peer.send(self._request, packed)

        await send(frames.opening())
        deltas = frames.deltas()
        while self._exchange.steps_sent < len(deltas):
            sent = self._exchange.steps_sent
            count = len(deltas) - sent if script.gate is None else await script.gate.take(len(deltas) - sent)
            await send(b"".join(deltas[sent : sent + count]))
            self._exchange.steps_sent += count
        if script.ending is Ending.SILENCE:
            await trio.sleep_forever()
        if script.gate is not None:
            await script.gate.take()
        if script.ending is Ending.DONE:
            await send(frames.closing())
        elif script.ending is Ending.ERROR:
            await send(frames.error())
        await self._end(script.ending, b"" if gzip is None else gzip.flush())

    async def _end(self, ending: Ending, rest: bytes) -> None:
        if ending is Ending.RESET:
            await self._peer.reset(self._request, ErrorCodes.INTERNAL_ERROR)
        elif ending is Ending.CLOSE:
            await trio.aclose_forcefully(self._peer.stream)
        else:
            await self._peer.send(self._request, rest, end=True)


def _as_request(request: H2Request) -> Request:
    headers = {name: value for name, value in request.headers.items() if not name.startswith(":")}
    return Request(method=request.headers[":method"], target=request.path, headers=headers, body=bytes(request.body))
