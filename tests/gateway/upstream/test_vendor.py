"""Any OpenAI-compatible endpoint: what it is asked, what becomes of its answers, and of its failures."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
from structlog.typing import EventDict
from trio.testing import wait_all_tasks_blocked

from stream_gateway.config import ProviderSettings
from stream_gateway.streams.stream import Stream
from stream_gateway.upstream.provider import ProviderFailed
from stream_gateway.upstream.pump import Pump
from stream_gateway.upstream.sink import LINGER
from stream_gateway.upstream.vendor import VendorProvider
from stream_protocols.dialects.openai_chat import parse_request
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
)
from tests.gateway.streams.conftest import MakeRig, make_rig, rig
from tests.gateway.streams.rig import Rig
from tests.gateway.upstream.conftest import Serve
from tests.gateway.upstream.loopback import Handler, Loopback, Peer, answer, chunks
from tests.protocols.dialects.openai_chat.frames import DONE, finish, sse, text

__all__ = ["make_rig", "rig"]

pytestmark = pytest.mark.deadline(1000)

KEY = "sk-very-secret"
REQUEST = parse_request(b'{"model":"public","messages":[{"role":"user","content":"Hi"}],"x":1,"stream":true,"n":2}')


class Endpoint:
    """A provider in front of a loopback server."""

    def __init__(self, server: Loopback, pump: Pump, **settings: Any) -> None:
        base_url = f"http://127.0.0.1:{server.port}/v1/"
        self.server = server
        self.provider = VendorProvider(
            "p", ProviderSettings(dialect="openai_chat", base_url=base_url, **settings), pump
        )

    async def stream(self, rig: Rig) -> Stream:
        """Start a stream."""
        stream = rig.stream(started=False, dialect="openai_chat")
        rig.registry.start(stream, lambda stream: self.provider.stream(REQUEST, "private", stream))
        await wait_all_tasks_blocked()
        return stream

    async def ended(self, rig: Rig) -> list[Event]:
        """The events of a stream that has ended."""
        stream = await self.stream(rig)
        await stream.ended.wait()
        await self.at_rest()
        return [event for event, _ in stream.log.after(0)]

    async def at_rest(self) -> None:
        """Wait until no request is under way: a stream may end before its body does."""
        while self.provider.transport.busy:
            await wait_all_tasks_blocked()


Make = Callable[..., Awaitable[Endpoint]]


@pytest.fixture
async def endpoint(serve: Serve, pump: Pump) -> AsyncIterator[Make]:
    """Makes endpoints; afterwards none may have a request under way."""
    endpoints: list[Endpoint] = []

    async def make(handler: Handler, **settings: Any) -> Endpoint:
        endpoints.append(Endpoint(await serve(handler), pump, **settings))
        return endpoints[-1]

    yield make
    for it in endpoints:
        assert it.provider.transport.busy == 0
        it.provider.transport.close()


def whole(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


ANSWER = chunks(sse(text("Hel")), sse(text("lo")) + sse(finish()), DONE)


# What it is asked


async def test_the_request_that_an_endpoint_gets(endpoint: Make, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P_KEY", f" {KEY}\n")
    requests: list[bytes] = []

    async def handle(peer: Peer) -> None:
        while request := await peer.request():
            requests.append(request)
            await peer.send(*(ANSWER if b"event-stream" in request else [whole("200 OK", b'{"choices":[{}]}')]))

    it = await endpoint(handle, api_key_env="P_KEY")
    await it.ended(rig)
    await it.provider.complete(REQUEST, "private")
    for request, stream in zip(requests, (True, False), strict=True):
        head, _, body = request.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
        assert b"host: 127.0.0.1:%d" % it.server.port in lines
        assert b"authorization: bearer " + KEY.encode() in lines
        assert b"content-type: application/json" in lines
        assert b"accept-encoding: identity" in lines
        fields = json.loads(body)
        assert (fields["model"], fields["x"], fields.get("stream", False)) == ("private", 1, stream)
    assert it.server.accepted == 1


# Streams


async def test_a_streamed_answer(endpoint: Make, rig: Rig) -> None:
    it = await endpoint(answer(b"".join(ANSWER)))
    events = await it.ended(rig)
    assert isinstance(events[0], StreamStarted)
    assert (events[0].model, events[0].choices) == ("demo", 2)  # the public name, and what was asked for
    assert events[1:] == [TextDelta("Hel"), TextDelta("lo"), ChoiceFinished("stop"), StreamFinished("stop")]


async def test_the_endpoints_bytes_stand_beside_the_events(endpoint: Make, rig: Rig) -> None:
    it = await endpoint(answer(b"".join(ANSWER)))
    stream = await it.stream(rig)
    await stream.ended.wait()
    raws = [raw for _, raw in stream.log.after(0)]
    assert raws[0] == b""
    assert b"".join(b"data: %b\n\n" % raw for raw in raws if raw) == sse(text("Hel"), text("lo"), finish()) + DONE


async def test_each_read_is_one_append(endpoint: Make, rig: Rig) -> None:
    heads: list[int] = []

    async def handle(peer: Peer) -> None:
        await peer.request()
        for piece in ANSWER:
            await peer.send(piece)
            await wait_all_tasks_blocked()
            heads.append(stream.log.head)

    it = await endpoint(handle)
    stream = rig.stream(started=False, dialect="openai_chat")
    rig.registry.start(stream, lambda stream: it.provider.stream(REQUEST, "private", stream))
    await stream.ended.wait()
    await it.server.has_open(0)
    assert heads == [1, 2, 4, 5, 5]  # the head alone already opens the stream


async def test_the_connection_is_used_again_although_the_stream_ended_before_the_body(endpoint: Make, rig: Rig) -> None:
    async def handle(peer: Peer) -> None:
        while await peer.request():
            await peer.send(*ANSWER)

    it = await endpoint(handle)
    for _ in range(3):
        await (await it.stream(rig)).ended.wait()
        await it.at_rest()
    assert it.server.accepted == 1


async def test_an_endpoint_that_does_not_end_its_body_is_not_waited_for(
    endpoint: Make, rig: Rig, autojump_clock: trio.testing.MockClock
) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*ANSWER[:-1])
        await peer.left()

    it = await endpoint(handle)
    began = trio.current_time()
    await (await it.stream(rig)).ended.wait()
    await it.server.has_open(0)
    assert trio.current_time() - began == pytest.approx(LINGER)


async def test_a_slow_reader_is_felt_by_the_endpoint(endpoint: Make, make_rig: MakeRig) -> None:
    rig = await make_rig(retain_bytes=20_000)
    sent = 0

    async def handle(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        head, *_ = chunks()
        await peer.send(head)
        for _ in range(400):
            await peer.stream.send_all(b"".join(chunks(sse(text("x" * 50_000)), last=b"")[1:]))
            sent += 1
        await peer.stream.send_all(b"".join(chunks(sse(finish()) + DONE)[1:]))

    it = await endpoint(handle)
    stream = rig.stream(started=False, dialect="openai_chat")
    reader = await rig.reader(stream, room=0)
    rig.registry.start(stream, lambda stream: it.provider.stream(REQUEST, "private", stream))
    await wait_all_tasks_blocked(0.01)
    assert stream.paused
    assert stream.log.size < 400_000
    assert sent < 300
    reader.outlet.allow(float("inf"))
    await reader.left.wait()
    assert sent == 400
    assert len(reader.texts()) == 400


# A whole reply where a stream was asked for


async def test_an_endpoint_that_cannot_stream(endpoint: Make, rig: Rig) -> None:
    body = json.dumps({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}).encode()
    it = await endpoint(answer(whole("200 OK", body, "Content-Type: application/json")))
    events = await it.ended(rig)
    assert events[1:] == [TextDelta("Hello"), ChoiceFinished("stop"), StreamFinished("stop")]


async def test_something_else_altogether(endpoint: Make, rig: Rig) -> None:
    it = await endpoint(answer(whole("200 OK", b"<html>Welcome</html>", "Content-Type: text/html")))
    events = await it.ended(rig)
    assert isinstance(events[-1], StreamFailed)
    assert events[-1].code == "upstream_invalid"


# Failures


async def test_a_refusal_before_the_first_token(endpoint: Make, rig: Rig) -> None:
    error = {"message": "Slow down.", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    body = json.dumps({"error": error}).encode()
    refusal = whole("429 Too Many Requests", body, "Content-Type: application/json", "Retry-After: 7")
    it = await endpoint(answer(refusal, refusal))
    expected = StreamFailed("rate_limit_exceeded", "Slow down.", 429, "rate_limit_error", "7", error)
    assert await it.ended(rig) == [expected]
    with pytest.raises(ProviderFailed) as caught:
        await it.provider.complete(REQUEST, "private")
    assert caught.value.failure == expected


@pytest.mark.parametrize("kind", ["text/event-stream", "text/html"])
async def test_a_refusal_of_any_other_kind(endpoint: Make, rig: Rig, kind: str) -> None:
    it = await endpoint(answer(whole("503 Busy", b"<html>", f"Content-Type: {kind}")))
    (failure,) = await it.ended(rig)
    assert isinstance(failure, StreamFailed)
    assert failure.status == 503


@pytest.mark.parametrize("status", ["204 No Content", "302 Found"])
async def test_what_is_no_answer_is_a_bad_gateway(endpoint: Make, rig: Rig, status: str) -> None:
    reply = f"HTTP/1.1 {status}\r\nLocation: http://elsewhere.test/\r\n".encode()
    it = await endpoint(answer(reply + (b"\r\n" if "204" in status else b"Content-Length: 0\r\n\r\n")))
    (failure,) = await it.ended(rig)
    assert isinstance(failure, StreamFailed)
    assert failure.status == 502


async def test_the_key_is_not_repeated_to_clients(
    endpoint: Make, rig: Rig, monkeypatch: pytest.MonkeyPatch, logged: list[EventDict]
) -> None:
    monkeypatch.setenv("P_KEY", KEY)
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}."}}).encode()
    it = await endpoint(answer(whole("401 Unauthorized", body)), api_key_env="P_KEY")
    (failure,) = await it.ended(rig)
    assert isinstance(failure, StreamFailed)
    assert failure.status == 401
    assert "[redacted]" in failure.message
    assert KEY not in repr(failure) + repr(logged)


async def test_the_key_is_not_repeated_in_a_stream(endpoint: Make, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P_KEY", KEY)
    it = await endpoint(
        answer(b"".join(chunks(sse(text("a")), sse({"error": {"message": f"Key {KEY} has expired."}})))),
        api_key_env="P_KEY",
    )
    stream = await it.stream(rig)
    await stream.ended.wait()
    await it.at_rest()
    assert isinstance(stream.terminal, StreamFailed)
    assert stream.terminal.message == "Key [redacted] has expired."
    assert KEY not in repr(stream.log.after(0))


@pytest.mark.parametrize("size", [1, 5, 40])
async def test_the_key_is_not_repeated_in_pieces(
    endpoint: Make, rig: Rig, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setenv("P_KEY", KEY)
    body = sse(text(f"The key is {KEY}, or sk-very.")) + sse(finish()) + DONE
    pieces = [body[at : at + size] for at in range(0, len(body), size)]

    async def handle(peer: Peer) -> None:
        while await peer.request():
            await peer.send(*chunks(*pieces))

    it = await endpoint(handle, api_key_env="P_KEY")
    stream = await it.stream(rig)
    await stream.ended.wait()
    await it.at_rest()
    assert TextDelta("The key is [redacted], or sk-very.") in [event for event, _ in stream.log.after(0)]
    assert KEY not in repr(stream.log.after(0))


async def test_the_key_is_not_repeated_in_a_whole_answer(endpoint: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P_KEY", KEY)
    body = json.dumps({"choices": [{"message": {"content": KEY}}]}).encode()
    it = await endpoint(answer(whole("200 OK", body), whole("200 OK", body)), api_key_env="P_KEY")
    reply = await it.provider.complete(REQUEST, "private")
    raw = await it.provider.call("/other", b"{}")
    assert reply.body == raw.body == body.replace(KEY.encode(), b"[redacted]")


async def test_an_endpoint_that_breaks_off(endpoint: Make, rig: Rig) -> None:
    it = await endpoint(answer(b"".join(chunks(sse(text("a")), last=b""))))
    events = await it.ended(rig)
    assert events[1] == TextDelta("a")
    assert isinstance(events[2], StreamFailed)
    assert (events[2].code, events[2].status) == ("upstream_error", 502)


async def test_an_endpoint_that_ends_too_early_but_properly(endpoint: Make, rig: Rig) -> None:
    it = await endpoint(answer(b"".join(chunks(sse(text("a"))))))
    events = await it.ended(rig)
    assert isinstance(events[-1], StreamFailed)
    assert events[-1].code == "upstream_truncated"


async def test_an_endpoint_that_fails_in_its_own_words(endpoint: Make, rig: Rig) -> None:
    it = await endpoint(answer(b"".join(chunks(sse(text("a")), sse({"error": {"message": "Oops."}})))))
    assert (await it.ended(rig))[-1] == StreamFailed("upstream_error", "Oops.", error={"message": "Oops."})


async def test_an_endpoint_that_goes_silent(endpoint: Make, rig: Rig, autojump_clock: trio.testing.MockClock) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*chunks(sse(text("a")), last=b""))
        await peer.left()

    it = await endpoint(handle, silence_timeout=40.0)
    (*_, failure) = await it.ended(rig)
    assert isinstance(failure, StreamFailed)
    assert (failure.code, failure.status, failure.error_type) == ("upstream_timeout", 504, "timeout_error")


async def test_nobody_there(endpoint: Make, rig: Rig, pump: Pump) -> None:
    it = await endpoint(answer())
    settings = ProviderSettings(dialect="openai_chat", base_url="http://127.0.0.1:1/v1")
    it.provider = VendorProvider("p", settings, pump)
    (failure,) = await it.ended(rig)
    assert isinstance(failure, StreamFailed)
    assert (failure.code, failure.status) == ("upstream_error", 502)
    assert "127.0.0.1:1" in failure.message


async def test_cancelling_closes_the_connection(endpoint: Make, rig: Rig) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*chunks(sse(text("a")), last=b""))
        await peer.left()

    it = await endpoint(handle)
    stream = await it.stream(rig)
    stream.cancel("client")
    await stream.ended.wait()
    assert stream.terminal == StreamCancelled("client")
    await it.server.has_open(0)
    assert it.provider.transport.busy == 0
