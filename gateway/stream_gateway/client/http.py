"""HTTP exchanges with a gateway, and what its refusals mean."""

import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import anyio
import httpx
import msgspec

from stream_gateway.client.carrier import Lost
from stream_gateway.client.errors import (
    ClientError,
    CursorExpired,
    NotAGateway,
    Refused,
    StreamNotFound,
    Unauthorized,
    Untrusted,
    WrongUrl,
)
from stream_gateway.client.settings import Settings
from stream_protocols.reconnect import Blame, on_status

MAX_ERROR_BYTES: Final = 65_536
"""Of the body of a refusal: a proxy's page may be longer, and says nothing more."""

_CLOSE_TIMEOUT: Final = 2.0

_EXPIRED: Final = frozenset({"cursor_expired", "cursor_epoch_mismatch"})
_DENIED: Final = frozenset({"unauthorized", "forbidden"})
_TRANSIENT: Final = frozenset({"overloaded", "internal_error"})


class _Error(msgspec.Struct):
    code: str
    message: str
    param: str | None = None


class _Refusal(msgspec.Struct):
    error: _Error


class Link:
    """One HTTP connection of one stream's own, which is thrown away when anything goes wrong on it.

    httpx's pools do not survive cancellation, and its HTTP/2 makes one stream wait for another's bytes; a connection
    that nobody shares knows neither.
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient], settings: Settings) -> None:
        self._client = make()
        self._settings = settings

    async def open(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request; return its response as soon as there is its head.

        Raises:
            Lost: there was none in time.
        """
        return await self._send(self._client.build_request(method, path, **options), stream=True)

    async def ask(self, method: str, path: str, *, wait: float = 0.0, **options: Any) -> httpx.Response:
        """Send a request; return its whole response, for which the server may take `wait` seconds.

        Raises:
            Lost: there was none in time.
        """
        return await self._send(self._client.build_request(method, path, **options), stream=False, wait=wait)

    async def _send(self, request: httpx.Request, *, stream: bool, wait: float = 0.0) -> httpx.Response:
        limit = self._settings.connect_timeout + wait
        try:
            with anyio.fail_after(limit):
                return await self._client.send(request, stream=stream)
        except TimeoutError:
            raise Lost(f"no answer within {limit:.0f} s", Blame.EARLY) from None
        except (httpx.ConnectError, httpx.ProxyError) as error:
            if (refused := untrusted(error, request.url.netloc.decode("ascii"))) is not None:
                raise refused from None
            raise Lost(f"cannot connect: {told(error)}", Blame.NETWORK) from None
        except httpx.HTTPError as error:
            raise Lost(told(error), Blame.EARLY) from None

    async def aclose(self) -> None:
        """Close the connection, whatever state it is in."""
        with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            try:
                await self._client.aclose()
            except (httpx.HTTPError, OSError, anyio.ClosedResourceError, anyio.BrokenResourceError):
                return


class Http:
    """Makes links to one gateway.

    Args:
        base: the gateway's address.
        headers: of every request.
        http2: whether to ask for HTTP/2: over TLS by ALPN, in the clear by prior knowledge.
    """

    def __init__(
        self, base: httpx.URL, headers: dict[str, str], settings: Settings, context: ssl.SSLContext, *, http2: bool
    ) -> None:
        self._base = base
        self._headers = headers
        self._settings = settings
        self._context = context
        self._http2 = http2

    def link(self) -> Link:
        """A new connection, which is made when it is first used."""
        return Link(self._make, self._settings)

    def _make(self) -> httpx.AsyncClient:
        secure = self._base.scheme == "https"
        return httpx.AsyncClient(
            base_url=self._base,
            headers=self._headers,
            http1=secure or not self._http2,
            http2=self._http2,
            verify=self._context,
            timeout=None,  # each wait has a deadline of its own
        )


def told(error: BaseException) -> str:
    """An error's own words, or those of what caused it, or at least its name."""
    cause: BaseException | None = error
    while cause is not None and not str(cause):
        cause = cause.__cause__ or cause.__context__
    return str(cause) if cause is not None else type(error).__name__


def untrusted(error: BaseException, server: str) -> Untrusted | None:
    """What it means if this was caused by a certificate; None if it was not."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    return Untrusted(
        f"The certificate of {server} is not trusted: {cause.verify_message}. If it is the right one, SSL_CERT_FILE or "
        "the client's ssl_context has to name its authority."
    )


async def refuse(response: httpx.Response, cursor: str | None = None) -> ClientError | Lost:
    """What a response means that is not the one that was asked for.

    Args:
        cursor: what was asked to go on after.
    """
    body = await _read(response)
    try:
        ours: _Error | None = msgspec.json.decode(body, type=_Refusal).error
    except msgspec.DecodeError:
        ours = None
    status, headers = response.status_code, response.headers
    verdict = on_status(status, retry_after=headers.get("retry-after"), date=headers.get("date"))
    said = ours.message if ours is not None else f"{status} {response.reason_phrase}".strip()
    if verdict.come_back:
        return Lost(f"the gateway answered: {said}", Blame.NETWORK, after=verdict.after)
    if response.is_redirect:
        return WrongUrl(f"{response.url} leads to {headers.get('location')}; give the client that address.")
    if status in (401, 403, 407):
        return Unauthorized(f"The gateway does not let this client in ({status}): {said}")
    if ours is None:
        return NotAGateway(f"{response.url} answered {status}, and not as a Stream Gateway does; check the address.")
    if ours.code == "not_found":
        return WrongUrl(f"The gateway has nothing at {response.url}; give the client its address without a path.")
    return refusal(ours.code, ours.message, cursor, status)


def refusal(code: str, message: str, cursor: str | None, status: int | None = None) -> ClientError | Lost:
    """What the gateway's own error means."""
    if code in _TRANSIENT:
        return Lost(f"the gateway answered: {message}", Blame.NETWORK)
    if code in _EXPIRED or (code == "unknown_stream" and cursor is not None):
        return CursorExpired(f"The stream cannot go on after {cursor}: {message}", code=code, status=status)
    if code == "unknown_stream":
        return StreamNotFound(message, code=code, status=status)
    if code in _DENIED:
        return Unauthorized(f"The gateway does not let this client in: {message}")
    return Refused(message, code=code, status=status)


async def finish(body: AsyncIterator[bytes]) -> None:
    """End a response's body wherever it is.

    A read that is cancelled ends every generator between us and the socket, in order. Closing the outermost one would
    leave the others to the garbage collector, which cannot wait.
    """
    with anyio.CancelScope(shield=True) as scope:
        scope.cancel()
        try:
            async for _ in body:
                pass
        except httpx.HTTPError:
            return


async def _read(response: httpx.Response) -> bytes:
    """The body of a refusal, as far as it matters; it may be read already."""
    if response.is_stream_consumed or response.is_closed:
        return response.content[:MAX_ERROR_BYTES]
    body, pieces = b"", response.aiter_bytes()
    with anyio.move_on_after(_CLOSE_TIMEOUT):
        try:
            async for piece in pieces:
                body += piece
                if len(body) >= MAX_ERROR_BYTES:
                    break
        except httpx.HTTPError:
            return body
    await finish(pieces)
    return body[:MAX_ERROR_BYTES]
