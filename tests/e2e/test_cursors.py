"""Every cursor that cannot be resumed from has its own clear answer, and none of them is silence."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import STREAMS, error_of, last_id, native_text, types
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Response
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sse_reader import SseEvent
from tests.doubles.waiting import until

MALFORMED = [
    "nonsense",
    "a.b",
    "a.b.c",
    "a.b.-1",
    "a.b.1.2.3",
    "a.b.01",
    "a.b.1.0",
    "a.b.9999999999999999999999",
    "a.b.1 ",
    "..",
    "a.b.1/../x",
    "a.b.1\xff",
    "x" * 200,
    "a" * 10_000,
]


def shifted(cursor: str, seq: int) -> str:
    """The same cursor at another number."""
    stream, epoch, *_ = cursor.split(".")
    return f"{stream}.{epoch}.{seq}"


def of_another_epoch(cursor: str) -> str:
    stream, epoch, *rest = cursor.split(".")
    return ".".join([stream, epoch[:-1] + ("0" if epoch[-1] != "0" else "1"), *rest])


@pytest.fixture
async def finished(gateway: ServedGateway) -> str:
    """The last cursor of a complete stream."""
    stream = (await gateway.create("demo-n20-gap0", lease="finish"))["id"]
    return last_id(await (await gateway.subscribe(stream)).events().rest())


Ask = Callable[[ServedGateway, str, str], Awaitable[Response]]


async def by_header(gateway: ServedGateway, stream: str, cursor: str) -> Response:
    return await gateway.subscribe(stream, last=cursor)


async def by_query(gateway: ServedGateway, stream: str, cursor: str) -> Response:
    return await gateway.subscribe(stream, after=cursor)


async def by_vendor_dialect(gateway: ServedGateway, stream: str, cursor: str) -> Response:
    return await gateway.subscribe(stream, last=cursor, dialect="openai_chat")


async def by_ndjson(gateway: ServedGateway, stream: str, cursor: str) -> Response:
    return await gateway.subscribe(stream, last=cursor, accept="application/x-ndjson")


async def by_chat(gateway: ServedGateway, stream: str, cursor: str) -> Response:
    return await gateway.chat("demo-n20-gap0", headers={"Last-Event-ID": cursor})


ways = pytest.mark.parametrize("ask", [by_header, by_query, by_vendor_dialect, by_ndjson])
all_ways = pytest.mark.parametrize("ask", [by_header, by_query, by_vendor_dialect, by_ndjson, by_chat])


@ways
async def test_of_another_stream(gateway: ServedGateway, finished: str, ask: Ask) -> None:
    other = (await gateway.create("demo-n3-gap0"))["id"]
    response = await ask(gateway, other, finished)
    assert response.status == 400
    assert (await error_of(response))["code"] == "cursor_of_another_stream"


@all_ways
@pytest.mark.parametrize("cursor", MALFORMED, ids=range(len(MALFORMED)))
async def test_malformed(gateway: ServedGateway, finished: str, ask: Ask, cursor: str) -> None:
    if ask is not by_query:
        # Around a header's value blanks mean nothing (RFC 9110, section 5.5).
        cursor = cursor.replace(" ", "~")
    response = await ask(gateway, finished.split(".")[0], cursor)
    assert response.status == 400
    assert (await error_of(response))["code"] == "invalid_cursor"


@all_ways
async def test_from_the_future(gateway: ServedGateway, finished: str, ask: Ask) -> None:
    head = int(finished.split(".")[2])
    for seq in (head + 1, head + 1000, 2**53):
        response = await ask(gateway, finished.split(".")[0], shifted(finished, seq))
        assert response.status == 400
        assert (await error_of(response))["code"] == "cursor_from_future"


@all_ways
async def test_of_a_stream_that_is_not_here(gateway: ServedGateway, finished: str, ask: Ask) -> None:
    response = await ask(gateway, "nowhere", "nowhere.e.1")
    assert response.status == 404
    assert (await error_of(response))["code"] == "unknown_stream"


@pytest.mark.parametrize("ask", [by_vendor_dialect, by_chat])
async def test_of_another_epoch_for_a_vendors_client(gateway: ServedGateway, finished: str, ask: Ask) -> None:
    """A vendor's client has no words for a gap: gluing what is left to what it has would be a silent loss."""
    response = await ask(gateway, finished.split(".")[0], of_another_epoch(finished))
    assert response.status == 410
    assert (await error_of(response))["code"] == "cursor_epoch_mismatch"


async def test_of_another_epoch_for_a_native_client(gateway: ServedGateway, finished: str) -> None:
    stream = finished.split(".")[0]
    whole = await (await gateway.subscribe(stream)).events().rest()
    answer = await (await gateway.subscribe(stream, last=of_another_epoch(whole[7].id or ""))).events().rest()
    assert_gap(answer[0].json, "epoch")
    assert [event.raw for event in answer[1:]] == [event.raw for event in whole]


# ---- older than retention


@pytest.fixture
async def trimmed(serve: Serve, upstream: OpenAIServer) -> tuple[ServedGateway, str]:
    """A stream that has outgrown its log, and the cursor before its first event."""
    gateway = await serve(streams={"retain_bytes": 8192})
    upstream.scripts["m"] = Script(deltas=words(200), gate=(gate := Gate()))
    created = await gateway.create("m", lease="finish")
    gate.release(150)
    while (await gateway.status(created["id"]))["events"] < 150:
        await trio.lowlevel.checkpoint()
    gate.open()
    await until(lambda: gateway.now.running == 0)
    return gateway, created["cursor"]


async def test_older_than_retention(trimmed: tuple[ServedGateway, str]) -> None:
    gateway, cursor = trimmed
    for old in (cursor, shifted(cursor, 3)):
        answer = await (await gateway.subscribe(cursor.split(".")[0], last=old)).events().rest()
        assert_gap(answer[0].json, "retention")
        assert types(answer)[-1] == "stream.finished"
        kept = native_text(answer[1:])
        assert kept
        assert "".join(words(200)).endswith(kept)
        seqs = [int((event.id or "").split(".")[2]) for event in answer[1:]]
        assert seqs == list(range(seqs[0], seqs[-1] + 1)), "the gap is at the beginning and nowhere else"


async def test_older_than_retention_for_a_vendors_client(trimmed: tuple[ServedGateway, str]) -> None:
    gateway, cursor = trimmed
    for ask in (by_vendor_dialect, by_chat):
        response = await ask(gateway, cursor.split(".")[0], cursor)
        assert response.status == 410
        assert (await error_of(response))["code"] == "cursor_expired"


async def test_subscribing_while_the_log_is_trimmed(serve: Serve, upstream: OpenAIServer) -> None:
    """Between the look at the cursor and the first event sent, what it points at may go: still no silence."""
    gateway = await serve(streams={"retain_bytes": 4096})
    upstream.scripts["m"] = Script(deltas=words(2000), gate=(gate := Gate()))
    created = await gateway.create("m", lease="finish")
    answers: list[list[SseEvent]] = []

    async def subscribe() -> None:
        events = (await gateway.subscribe(created["id"], last=created["cursor"])).events()
        answers.append(await events.rest())

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(subscribe)
            gate.release(20)
            await trio.lowlevel.checkpoint()
        gate.open()
    assert len(answers) == 100
    for answer in answers:
        if types(answer)[0] == "notice":
            assert_gap(answer[0].json, "retention")
            assert "".join(words(2000)).endswith(native_text(answer))
        else:
            assert native_text(answer) == "".join(words(2000))


async def test_without_a_cursor_a_trimmed_stream_says_so_too(trimmed: tuple[ServedGateway, str]) -> None:
    """Who asks for a stream from its beginning must not get its middle unawares."""
    gateway, cursor = trimmed
    stream = cursor.split(".")[0]
    answer = await (await gateway.subscribe(stream)).events().rest()
    assert_gap(answer[0].json, "retention")
    assert (await by_ndjson(gateway, stream, cursor)).status == 200


def assert_gap(event: dict[str, object], reason: str) -> None:
    assert event["type"] == "notice"
    assert event["code"] == "gap"
    assert event["message"]
    assert re.search(rf"'reason': '{reason}'", str(event)), event


# ---- streams that are gone


async def test_forgotten_after_retention(serve: Serve) -> None:
    gateway = await serve(streams={"retain_for": 0.05})
    stream = (await gateway.create("demo-n3-gap0", lease="finish"))["id"]
    response = await gateway.get(f"{STREAMS}/{stream}")
    while response.status == 200:
        response = await gateway.get(f"{STREAMS}/{stream}")
    assert response.status == 404
    assert (await error_of(response))["code"] == "unknown_stream"
    assert gateway.now.log_bytes == 0
    assert gateway.now.streams == 0


async def test_an_empty_last_event_id_is_none(gateway: ServedGateway, finished: str) -> None:
    events = await (await gateway.subscribe(finished.split(".")[0], last="")).events().rest()
    assert types(events)[0] == "stream.started"


async def test_header_and_query_together(gateway: ServedGateway, finished: str) -> None:
    """A browser that reconnects repeats the URL it began with; what it saw since is in the header."""
    stream, early = finished.split(".")[0], shifted(finished, 2)
    rest = await (await gateway.subscribe(stream, last=shifted(finished, 9), after=early)).events().rest()
    assert (rest[0].id or "").split(".")[2] == "10"
