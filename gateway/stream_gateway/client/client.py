"""The client of a gateway: streams over whatever comes through, which lost connections do not end."""

from __future__ import annotations

import importlib.metadata
import ssl
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import anyio

from stream_gateway.client.address import parse_url
from stream_gateway.client.connections import Connections, Statistics, Status
from stream_gateway.client.errors import ClientError
from stream_gateway.client.settings import TRANSPORTS, Settings
from stream_gateway.client.stream import RECONNECT_LEASE, Asked, EventStream
from stream_protocols.request import Lease

_FAREWELL: Final = 3.0
"""Seconds that leaving may take: what is not said by then, leases say."""


class Client:
    """Talks to the gateway at `url`. Use it as an async context manager, on Trio or asyncio.

    Args:
        url: such as `https://gateway.example`.
        token: sent as `Authorization: Bearer TOKEN`.
        transports: which may be used, best first; of `websocket`, `sse` and `poll`. WebSocket is used on Trio only;
            where nothing else is allowed on asyncio, long polls are.
        http2: whether SSE and long polls go over HTTP/2. None: over TLS if the server wants it, in the clear not.
        ssl_context: instead of the system's certificates.
        on_status: is called with every change of a stream's connection; must not wait.

    Raises:
        WrongUrl: it is no http(s) or ws(s) address.
        ValueError: there is no such transport.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        transports: Sequence[str] = TRANSPORTS,
        http2: bool | None = None,
        ssl_context: ssl.SSLContext | None = None,
        settings: Settings | None = None,
        on_status: Callable[[Status], None] | None = None,
    ) -> None:
        if not transports or not set(transports) <= set(TRANSPORTS):
            raise ValueError(f"transports must be some of {', '.join(TRANSPORTS)}, not {transports!r}")
        self._url = parse_url(url)
        self._headers = {"User-Agent": f"stream-gateway/{importlib.metadata.version('stream-gateway')}"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._transports = tuple(transports)
        secure = self._url.scheme == "https"
        self._http2 = secure if http2 is None else http2
        if ssl_context is None:
            # Without TLS none is needed, and reading the system's certificates takes a while.
            ssl_context = ssl.create_default_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context = ssl_context
        self._settings = settings or Settings()
        self._on_status = on_status
        self._connections: Connections | None = None
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self._farewells: set[anyio.CancelScope] = set()
        self._quiet: anyio.Event | None = None

    async def __aenter__(self) -> Self:
        connections = Connections(
            self._url,
            self._headers,
            self._transports,
            self._settings,
            self._context,
            http2=self._http2,
            on_status=self._on_status,
        )
        await connections.start()
        self._connections = connections
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave all streams (see `EventStream`), and close all connections."""
        for stream in list(self._streams):
            stream.leave()
        with anyio.move_on_after(_FAREWELL, shield=True):
            while self._farewells:
                self._quiet = anyio.Event()
                await self._quiet.wait()
        for farewell in self._farewells:
            farewell.cancel()
        await self._opened.stop()

    def stream(
        self, *, model: str, messages: Iterable[Mapping[str, Any]], lease: Lease = 0, **fields: Any
    ) -> EventStream:
        """Generate. Returns at once; the request is made when the first event is asked for.

        Args:
            model, messages, fields: as in `POST /v1/chat/completions`.
            lease: how long the generation goes on after this stream was left: 0, seconds, or "finish". When connections
                are lost a generation with a lease of 0 goes on for a minute, in which this client comes back.
        """
        request = {"model": model, "messages": list(messages), **fields, "lease": lease or RECONNECT_LEASE}
        return self._new(
            EventStream(self._opened, asked=Asked(request, str(uuid.uuid4())), forsake=self._forsaker(lease))
        )

    def attach(self, stream: str, *, after: str | None = None, chunking: str | None = None) -> EventStream:
        """Follow a stream that exists, from its beginning or from after a cursor. Leaving it leaves it running.

        Args:
            chunking: how much comes at once, such as `sentences`; None: what the stream's creator chose. Long polls
                bring what there is.
        """
        return self._new(EventStream(self._opened, stream=stream, after=after, chunking=chunking))

    async def cancel(self, stream: str) -> None:
        """End a generation at its provider. What was said stays readable; a stream that has ended stays as it is.

        Raises:
            StreamNotFound: there is none.
            ClientError: the gateway cannot be reached, or refuses.
        """
        await self._opened.cancel(stream)

    def statistics(self) -> Statistics:
        """What has happened so far."""
        return self._opened.statistics()

    @property
    def _opened(self) -> Connections:
        if self._connections is None:
            raise RuntimeError("the client is not open; use `async with Client(…) as client`")
        return self._connections

    def _new(self, stream: EventStream) -> EventStream:
        self._streams.add(stream)
        return stream

    def _forsaker(self, lease: Lease) -> Callable[[str | Asked], None] | None:
        return self._forsake if lease == 0 else None

    def _forsake(self, stream: str | Asked) -> None:
        """Cancel a stream that nobody will read, in the background."""
        # Ctrl-C may hit one of our own tasks, and then all of them are cancelled: all the more is this to be said.
        farewell = anyio.CancelScope(shield=True)

        async def cancel() -> None:
            try:
                with farewell:
                    if isinstance(stream, Asked):
                        await self._opened.cancel_created(stream.request, stream.key)
                    else:
                        await self._opened.cancel(stream)
            except ClientError:
                return  # its lease ends it
            finally:
                self._farewells.discard(farewell)
                if self._quiet is not None:
                    self._quiet.set()

        self._farewells.add(farewell)
        self._opened.spawn(cancel)
