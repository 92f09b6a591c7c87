"""A loopback server that answers as a vendor does, and fails on command; what it speaks is for the subclass to say.

Its bytes are written by hand onto real sockets: a fault is a matter of single bytes, and a library that keeps
HTTP correct would not let them out.
"""

from __future__ import annotations

import abc
import json
import math
import socket
import zlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import trio

from tests.doubles.faults import Ending, Fault, pieces, reset
from tests.doubles.http_requests import Inbox, Request, read_request
from tests.doubles.openai_script import UNAUTHORIZED, Refusal, Script
from tests.doubles.waiting import until

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
_NOT_A_PATH = Refusal(status=404, code="unknown_url", message="Invalid URL.")
_AT_ONCE = 10_000
"""How many released steps go out in one write at most."""

ScriptOrFactory = Script | Callable[[Request], Script]


class Frames(Protocol):
    """Makes the frames of one streamed answer."""

    def opening(self) -> bytes:
        """What comes at once."""

    def deltas(self) -> list[bytes]:
        """One item for each step."""

    def closing(self) -> bytes:
        """What says that the answer is whole."""

    def error(self) -> bytes:
        """What says that it will not be."""


class UpstreamExchange:
    """One request to the double: what came, what was sent so far, and when its client left."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.steps_sent = 0
        self.answered = trio.Event()
        """The response head is on the wire."""
        self.finished = trio.Event()
        """All that the script says has been done."""
        self.left = trio.Event()
        """The client closed its connection before the answer was complete."""
        self.ended = trio.Event()
        """One of the two above."""


class VendorServer(abc.ABC):
    """The server. `scripts` says how each model answers; a model without a script is unknown (404)."""

    root: ClassVar[str] = "/v1"
    marks_refusals: ClassVar[bool] = True
    """Whether a text that declines is marked as one; if not, only the reason for which the answer ends says so."""
    takes_stop: ClassVar[bool] = True
    """Whether it can be asked to stop at a text."""

    def __init__(self, *, key: str | None = None) -> None:
        self.key = key
        self.scripts: dict[str, ScriptOrFactory] = {"mock": Script()}
        self.exchanges: list[UpstreamExchange] = []
        self.open_connections = 0
        self.accepted_connections = 0
        self.port = 0
        self._arrivals, self._arrived = trio.open_memory_channel[UpstreamExchange](math.inf)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.root}"

    @property
    def under_way(self) -> list[UpstreamExchange]:
        """The exchanges that neither finished nor lost their client."""
        return [exchange for exchange in self.exchanges if not exchange.ended.is_set()]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on a free loopback port until cancelled."""
        listener = trio.SocketListener(await _listening_socket())
        self.port = listener.socket.getsockname()[1]
        with self._arrivals, self._arrived:
            task_status.started()
            await trio.serve_listeners(self._serve_connection, [listener])

    async def next_exchange(self) -> UpstreamExchange:
        """The next request in the order of arrival, each handed out once."""
        return await self._arrived.receive()

    async def all_left(self, *, within: float = 10.0) -> None:
        """Wait until nothing is being answered any more."""
        await until(lambda: not self.under_way, within=within)

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        self.open_connections += 1
        self.accepted_connections += 1
        inbox = Inbox(stream)
        try:
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(inbox.pump)
                while await self._serve_request(inbox):
                    pass
                nursery.cancel_scope.cancel()
        finally:
            self.open_connections -= 1

    async def _serve_request(self, inbox: Inbox) -> bool:
        """Answer one request; say whether the connection serves another."""
        try:
            request = await read_request(inbox)
        except trio.BrokenResourceError:
            return False
        if request is None:
            return False
        exchange = UpstreamExchange(request)
        self.exchanges.append(exchange)
        self._arrivals.send_nowait(exchange)
        answer = _Answer(self, exchange, inbox.stream)
        keep = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_left, inbox, nursery.cancel_scope)
            try:
                keep = await answer.write()
                exchange.finished.set()
            except trio.BrokenResourceError:
                pass
            nursery.cancel_scope.cancel()
        if not exchange.finished.is_set():
            exchange.left.set()
        exchange.ended.set()
        return keep and exchange.finished.is_set()

    def script_for(self, request: Request) -> Script:
        if self.key is not None and not self.authorized(request, self.key):
            return Script(refusal=UNAUTHORIZED)
        model = self.model_of(request)
        if model is None:
            return Script(refusal=_NOT_A_PATH)
        script = self.scripts.get(model, Script(refusal=_unknown_model(model)))
        return script if isinstance(script, Script) else script(request)

    # ---- what a vendor says

    @abc.abstractmethod
    def authorized(self, request: Request, key: str) -> bool:
        """Whether the request carries the key, where this vendor has it."""

    @abc.abstractmethod
    def model_of(self, request: Request) -> str | None:
        """The model that is asked; None when this is not a path of the vendor's."""

    @abc.abstractmethod
    def wants_stream(self, request: Request) -> bool:
        """Whether the answer is to be streamed."""

    @abc.abstractmethod
    def frames(self, script: Script, request: Request) -> Frames:
        """A streamed answer."""

    @abc.abstractmethod
    def whole(self, script: Script, request: Request) -> Any:
        """The JSON of an answer that is not streamed; bytes for one that is a sound."""

    def refusal(self, refusal: Refusal) -> Any:
        """The JSON of an error."""
        return refusal.body()

    def code_of(self, refusal: Refusal) -> str | None:
        """What the error tells a program, in the vendor's words."""
        return refusal.code

    def other(self, request: Request) -> Any:
        """The JSON of the answer to a request that is no generation; None: it is one."""
        return None


class _Answer:
    """Writes the answer to one exchange."""

    def __init__(self, server: VendorServer, exchange: UpstreamExchange, stream: trio.SocketStream) -> None:
        self._server = server
        self._exchange = exchange
        self._stream = stream

    async def write(self) -> bool:
        """Write it all, faults included; say whether the connection may be used again."""
        request = self._exchange.request
        if (other := self._server.other(request)) is not None:
            return await self._write_json(200, other)
        script = self._server.script_for(request)
        if script.head_gate is not None:
            await script.head_gate.take()
        if script.refusal is not None:
            return await self._write_json(
                script.refusal.status, self._server.refusal(script.refusal), script.refusal.headers
            )
        if script.fault is not None:
            return await self._write_fault(script.fault, self._server.wants_stream(request))
        if self._server.wants_stream(request):
            frames = self._server.frames(script, request)
            return await _StreamedAnswer(self._exchange, self._stream, script, frames).write()
        return await self._write_whole(script)

    async def _write_fault(self, fault: Fault, stream: bool) -> bool:
        if fault is Fault.RESET:
            await reset(self._stream)
            return False
        if fault is Fault.CLOSE:
            await self._stream.aclose()
            return False
        body = b"<!doctype html><title>Welcome</title>" if fault is Fault.HTML else b"data: {oops\n\n"
        kind = "text/html" if fault is Fault.HTML else "text/event-stream" if stream else "application/json"
        await self._stream.send_all(_head(200, {"Content-Type": kind, "Content-Length": str(len(body))}) + body)
        self._exchange.answered.set()
        return True

    async def _write_whole(self, script: Script) -> bool:
        if script.gate is not None:
            await script.gate.take()
        if script.ending is Ending.SILENCE:
            await trio.sleep_forever()
        if script.ending in (Ending.RESET, Ending.CLOSE, Ending.CUT):
            await reset(self._stream)
            return False
        return await self._write_json(200, self._server.whole(script, self._exchange.request))

    async def _write_json(self, status: int, payload: Any, headers: Mapping[str, str] | None = None) -> bool:
        kind = "audio/mpeg" if isinstance(payload, bytes) else "application/json"
        body = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
        fields = {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}
        await self._stream.send_all(_head(status, fields) + body)
        self._exchange.answered.set()
        return True


class _StreamedAnswer:
    """Writes one answer as server-sent events, step by step and with its script's faults."""

    def __init__(self, exchange: UpstreamExchange, stream: trio.SocketStream, script: Script, frames: Frames) -> None:
        self._exchange = exchange
        self._stream = stream
        self._script = script
        self._frames = frames
        self._gzip = zlib.compressobj(wbits=31) if script.gzip else None

    async def write(self) -> bool:
        await self._stream.send_all(_head(200, self._head_fields()))
        self._exchange.answered.set()
        await self._send(self._frames.opening())
        await self._send_deltas()
        return await self._end()

    async def _send_deltas(self) -> None:
        deltas = self._frames.deltas()
        while self._exchange.steps_sent < len(deltas):
            sent = self._exchange.steps_sent
            most = min(len(deltas) - sent, _AT_ONCE)
            count = await self._take(most)
            await self._send(b"".join(deltas[sent : sent + count]))
            self._exchange.steps_sent += count

    async def _end(self) -> bool:
        ending = self._script.ending
        if ending is Ending.SILENCE:
            await trio.sleep_forever()
        await self._take(1)
        if ending is Ending.RESET:
            await reset(self._stream)
        elif ending is Ending.CLOSE:
            await self._stream.aclose()
        elif ending is Ending.CUT:
            await self._stream.send_all(b"40\r\ndata: ")
            await self._stream.aclose()
        if ending in (Ending.RESET, Ending.CLOSE, Ending.CUT):
            return False
        if ending is Ending.DONE:
            await self._send(self._frames.closing())
        elif ending is Ending.GARBAGE:
            await self._send(b"data: {oops\n\n")
        elif ending is Ending.ERROR:
            await self._send(self._frames.error())
        return await self._end_body()

    async def _end_body(self) -> bool:
        if self._gzip is not None:
            await self._send_framed(self._gzip.flush())
        if self._script.until_close:
            await self._stream.aclose()
            return False
        await self._stream.send_all(b"0\r\n\r\n")
        return True

    async def _take(self, most: int) -> int:
        gate = self._script.gate
        return most if gate is None else await gate.take(most)

    async def _send(self, data: bytes) -> None:
        for piece in pieces(data, self._script.split):
            if self._gzip is None:
                await self._send_framed(piece)
            else:
                await self._send_framed(self._gzip.compress(piece) + self._gzip.flush(zlib.Z_SYNC_FLUSH))

    async def _send_framed(self, data: bytes) -> None:
        framed = data if self._script.until_close else b"%x\r\n%b\r\n" % (len(data), data)
        if data:
            await self._stream.send_all(framed)

    def _head_fields(self) -> dict[str, str]:
        fields = {"Content-Type": "text/event-stream; charset=utf-8", "X-Request-Id": "req_double"}
        if self._gzip is not None:
            fields["Content-Encoding"] = "gzip"
        if self._script.until_close:
            return {**fields, "Connection": "close"}
        return {**fields, "Transfer-Encoding": "chunked"}


async def _listening_socket() -> trio.socket.SocketType:
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    await sock.bind(("127.0.0.1", 0))
    # A storm of a thousand clients has to fit into the queue of connections not yet accepted.
    sock.listen(4096)
    return sock


async def _cancel_when_left(inbox: Inbox, scope: trio.CancelScope) -> None:
    await inbox.closed.wait()
    scope.cancel()


def _head(status: int, fields: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}", *(f"{k}: {v}" for k, v in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _unknown_model(model: str) -> Refusal:
    message = f"The model `{model}` does not exist or you do not have access to it."
    return Refusal(status=404, code="model_not_found", message=message)
