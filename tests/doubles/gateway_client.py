"""A client that knows the gateway's endpoints, on top of raw connections."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import trio

from tests.doubles.raw_client import Connection, Response
from tests.doubles.sse_reader import SseEvent

CHAT = "/v1/chat/completions"
STREAMS = "/v1/streams"
MESSAGES = [{"role": "user", "content": "hello"}]


def chat_body(model: str, **fields: Any) -> dict[str, Any]:
    """The body of a streamed chat completion; `fields` override."""
    return {"model": model, "messages": MESSAGES, "stream": True, **fields}


def native_text(events: list[SseEvent], choice: int = 0) -> str:
    """The text of one choice that native events carry, joined."""
    deltas = [event.json for event in events if event.json["type"] == "text.delta"]
    return "".join(delta["text"] for delta in deltas if delta.get("choice", 0) == choice)


def openai_text(events: list[SseEvent], choice: int = 0) -> str:
    """The text of one choice that chat completion chunks carry, joined."""
    chunks = [event.json for event in events if event.data != "[DONE]"]
    parts = [part for chunk in chunks for part in chunk.get("choices", ()) if part["index"] == choice]
    return "".join(part["delta"].get("content") or "" for part in parts)


def types(events: list[SseEvent]) -> list[str]:
    """The types of native events, in order."""
    return [event.json["type"] for event in events]


def last_id(events: list[SseEvent]) -> str:
    """What a browser would send as `Last-Event-ID` after these events."""
    return [event.id for event in events if event.id is not None][-1]


class GatewayClient:
    """Talks to one gateway. Every exchange gets a connection of its own; leaving the context closes them."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def connect(self, *, receive_buffer: int | None = None) -> Connection:
        """A new connection."""
        with trio.fail_after(10):
            connection = await Connection.open(self.host, self.port, receive_buffer=receive_buffer)
        return await self._open.enter_async_context(connection)

    async def request(
        self,
        method: str,
        target: str,
        *,
        payload: Any = None,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int | None = None,
    ) -> Response:
        """One request on a new connection, up to the head of its response."""
        connection = await self.connect(receive_buffer=receive_buffer)
        with trio.fail_after(10):
            return await connection.request(method, target, payload=payload, headers=headers)

    async def raw(self, data: bytes, method: str = "POST") -> Response:
        """Bytes as they are on a new connection, up to the head of the response."""
        connection = await self.connect()
        await connection.offer(data)
        with trio.fail_after(10):
            return await connection.response(method)

    async def get(self, target: str, **headers: str) -> Response:
        return await self.request("GET", target, headers={k.replace("_", "-"): v for k, v in headers.items()})

    async def chat(self, model: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Response:
        """`POST /v1/chat/completions`, streamed unless the fields say otherwise."""
        return await self.request("POST", CHAT, payload=chat_body(model, **fields), headers=headers)

    async def create(self, model: str, **fields: Any) -> dict[str, Any]:
        """`POST /v1/streams`; the resource that was made."""
        body = {"model": model, "messages": MESSAGES, **fields}
        response = await self.request("POST", STREAMS, payload=body)
        assert response.status == 201, (response.head, await response.read())
        created: dict[str, Any] = await response.json()
        return created

    async def status(self, stream: str) -> dict[str, Any]:
        """`GET /v1/streams/{id}`."""
        response = await self.get(f"{STREAMS}/{stream}")
        assert response.status == 200, response.head
        resource: dict[str, Any] = await response.json()
        return resource

    async def subscribe(
        self,
        stream: str,
        *,
        last: str | None = None,
        accept: str | None = None,
        receive_buffer: int | None = None,
        **query: str,
    ) -> Response:
        """`GET /v1/streams/{id}/events`, after `last` as a browser would say it, or `after=` in the query."""
        target = f"{STREAMS}/{stream}/events" + (f"?{urlencode(query)}" if query else "")
        wanted = {"Last-Event-ID": last, "Accept": accept}
        headers = {name: value for name, value in wanted.items() if value is not None}
        return await self.request("GET", target, headers=headers, receive_buffer=receive_buffer)


async def error_of(response: Response) -> dict[str, Any]:
    """The error object of a refused request, whose shape is checked."""
    assert response.status >= 400, response.head
    assert response.head["content-type"].startswith("application/json"), response.head
    error: dict[str, Any] = (await response.json())["error"]
    assert set(error) == {"type", "code", "message", "param"}, error
    assert error["message"], error
    return error


async def refused(response: Response, status: int) -> dict[str, Any]:
    """The error object of a request that has to be refused with this status."""
    assert response.status == status, (response.head, await response.read())
    return await error_of(response)
