"""Compression of responses: who gets which coding, what is left as it is, and what becomes of a codec that fails."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from structlog.testing import capture_logs

from stream_gateway.config import CompressionSettings, ConfigError
from stream_gateway.server.compressed import INLINE_BYTES
from stream_gateway.server.compression import REMEMBERED, Compression, load_codecs
from stream_gateway.server.exchange import Exchange, HeaderList, never
from stream_protocols.encodings import Codec, Compressor
from stream_protocols.encodings.dictionary import DIGEST
from stream_protocols.errors import CodecError
from stream_protocols.framing import chunked
from tests.doubles.decoders import decoder
from tests.gateway.streams.outlet import SlowOutlet

SSE = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")]
JSON = [("Content-Type", "application/json")]
BODY = b'{"text":"' + b"many words " * 500 + b'"}'
OURS = f":{base64.b64encode(DIGEST).decode()}:"


class Body(SlowOutlet):
    """A streamed response, kept."""

    welcome = None

    def __init__(self, exchange: Plain, headers: HeaderList, unless: Callable[[], bool]) -> None:
        super().__init__(framing=chunked)
        self.headers = dict(headers)
        self.ended = False
        self._exchange = exchange
        self._unless = unless

    def write_now(self, data: bytes) -> bool:
        if not self._exchange.answered and self._unless():
            return False
        self.begin()
        return super().write_now(data)

    def begin(self) -> None:
        self._exchange.began_with = self._exchange.began_with or self

    async def finish(self) -> None:
        self.begin()
        self.ended = True

    @property
    def coding(self) -> str | None:
        return self.headers.get("Content-Encoding")

    def text(self) -> bytes:
        """What a client makes of it; chunks come as they were written."""
        decode = decoder(self.coding)
        return b"".join(decode.feed(data.partition(b"\r\n")[2].removesuffix(b"\r\n")) for data in self.writes)


class Plain(Exchange):
    """An exchange that keeps what it is answered with."""

    def __init__(self, accept: str | None = None, method: str = "GET", **more: str) -> None:
        fields = {"accept-encoding": accept, **{name.replace("_", "-"): value for name, value in more.items()}}
        headers = [(name.encode(), value.encode("latin-1")) for name, value in fields.items() if value is not None]
        super().__init__(method, "/x?a=1", headers, "192.0.2.1")
        self.response: tuple[int, dict[str, str], bytes] | None = None
        self.began_with: Body | None = None

    @property
    def answered(self) -> bool:
        return self.response is not None or self.began_with is not None

    async def read_body(self) -> bytes:
        return b"asked"

    async def respond(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        self.response = status, dict(headers), body

    def open(self, status: int, headers: HeaderList, *, unless: Callable[[], bool] = never) -> Body:
        return Body(self, headers, unless)

    async def upgrade(self, headers: HeaderList, serve: Any) -> None:
        await serve(self)


class Fragile(Codec):
    """A codec that breaks where the test says: after so many pieces, or at the end."""

    name = "fragile"
    costs = (5000,)

    def __init__(self, pieces: int, result: Any = b"", end: Any = b"") -> None:
        self._results: list[Any] = [b"piece"] * pieces + [result]
        self._end = end

    def compressor(self, grade: int) -> Compressor:
        return self  # type: ignore[return-value]

    def feed(self, data: bytes) -> bytes:
        return self._say(self._results.pop(0) if len(self._results) > 1 else self._results[0])

    def finish(self) -> bytes:
        return self._say(self._end)

    def _say(self, result: Any) -> bytes:
        if isinstance(result, Exception):
            raise result
        said: bytes = result
        return said


async def serve(
    exchange: Plain,
    handler: Callable[[Exchange], Any],
    *,
    codecs: Iterable[Codec] | None = None,
    **settings: Any,
) -> Compression:
    """Have an exchange answered by a handler."""
    config = CompressionSettings(**settings)
    chosen = load_codecs(config) if codecs is None else list(codecs)
    compression = Compression(config, chosen, handler)
    await compression.handle(exchange)
    return compression


async def replied(
    exchange: Plain, headers: HeaderList = JSON, body: bytes = BODY, status: int = 200, **more: Any
) -> str:
    """Answer with a whole reply; its coding, after it was decoded."""

    async def handler(inner: Exchange) -> None:
        await inner.respond(status, headers, body)

    await serve(exchange, handler, **more)
    assert exchange.response is not None
    coding = exchange.response[1].get("Content-Encoding")
    assert exchange.response[0] == status
    assert decoder(coding).feed(exchange.response[2]) == body
    return coding or "identity"


async def streamed(exchange: Plain, headers: HeaderList = SSE, **more: Any) -> Body:
    """Answer with a streamed body of three pieces."""

    async def handler(inner: Exchange) -> None:
        outlet = inner.open(200, headers)
        outlet.begin()
        for piece in (b"data: 1\n\n", b":\n", b"data: 2\n\n"):
            outlet.write_now(outlet.framing(piece))
        await outlet.finish()

    compression = await serve(exchange, handler, **more)
    assert compression.budget.used == 0
    body = exchange.began_with
    assert body is not None
    return body


# Which coding


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("deflate", "deflate"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("deflate, gzip", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("br, zstd", "zstd"),
        ("gzip, deflate, br, zstd, dcb, dcz", "gzip"),
        ("dcz", "identity"),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "br"),
        ("gzip;q=0.5, br", "br"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0, *", "zstd"),
        ("*", "gzip"),
        ("*;q=0, identity", "identity"),
        ("identity", "identity"),
        ("identity, gzip", "gzip"),
        ("identity, gzip;q=0.5", "identity"),
        ("identity;q=0, gzip", "gzip"),
        ("identity;q=0, *", "gzip"),
        ("compress, pack200-gzip", "identity"),
        ("gzip;level=9", "identity"),
        ("gzip;q=7", "identity"),
        ("é\x01\xff,,;;q=", "identity"),
        ("gzip" * 3000, "identity"),
        ("," * 9000 + "gzip", "gzip"),
        ("x" * REMEMBERED + ", br", "br"),
    ],
)
async def test_the_table(accept: str | None, expected: str) -> None:
    assert await replied(Plain(accept)) == expected
    assert ((await streamed(Plain(accept))).coding or "identity") == expected


async def test_the_servers_order_is_configured() -> None:
    everything = "gzip, deflate, br, zstd"
    for codings in (("zstd", "gzip"), ("br",), ("deflate", "gzip")):
        assert await replied(Plain(everything), codings=codings) == codings[0]
    assert await replied(Plain(everything), codings=()) == "identity"


@pytest.mark.parametrize("accept", ["identity;q=0", "*;q=0", "identity;q=0, compress", "gzip;q=0, *;q=0"])
async def test_nothing_is_acceptable(accept: str) -> None:
    exchange = Plain(accept)
    await serve(exchange, lambda inner: pytest.fail("nobody should have been asked"))
    assert exchange.response is not None
    assert exchange.response[0] == 406
    assert b"allow identity, or dcz, gzip, zstd, br, deflate" in exchange.response[2]


async def test_a_dictionary_is_used_by_those_who_have_it() -> None:
    asked = "gzip, br, zstd, dcb, dcz"
    assert (await streamed(Plain(asked, available_dictionary=OURS))).coding == "dcz"
    other = ":" + base64.b64encode(bytes(32)).decode() + ":"
    for unusable in (other, "junk", OURS[1:]):
        assert (await streamed(Plain(asked, available_dictionary=unusable))).coding == "gzip"
    assert (await streamed(Plain("gzip", available_dictionary=OURS))).coding == "gzip"


async def test_responses_vary_even_where_they_are_not_compressed() -> None:
    for accept in (None, "gzip"):
        body = await streamed(Plain(accept))
        assert body.headers["Vary"] == "Accept-Encoding, Available-Dictionary"
    body = await streamed(Plain("gzip"), codings=("gzip",))
    assert body.headers["Vary"] == "Accept-Encoding"


# What is compressed


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("text/event-stream", "gzip"),
        ("text/event-stream; charset=utf-8", "gzip"),
        ("application/x-ndjson", "gzip"),
        ("application/json", "gzip"),
        ("Application/JSON;charset=utf-8", "gzip"),
        ("application/problem+json", "gzip"),
        ("text/plain", "gzip"),
        ("application/octet-stream", "identity"),
        ("application/jsonp-of-sorts", "identity"),
        ("audio/mpeg", "identity"),
        ("image/png", "identity"),
        ("", "identity"),
    ],
)
async def test_content_types(kind: str, expected: str) -> None:
    headers = [("content-type", kind)]
    assert await replied(Plain("gzip"), headers) == expected
    assert ((await streamed(Plain("gzip"), headers)).coding or "identity") == expected
    assert await replied(Plain("gzip, identity;q=0"), headers) == "gzip"


async def test_small_replies_are_not_worth_it() -> None:
    assert await replied(Plain("gzip"), body=b"x" * 1023) == "identity"
    assert await replied(Plain("gzip"), body=b"x" * 1024) == "gzip"
    assert await replied(Plain("gzip"), body=b"x" * 100, minimum_bytes=100) == "gzip"
    assert await replied(Plain("gzip, identity;q=0"), body=b"x") == "gzip"
    assert await replied(Plain("gzip, identity;q=0"), body=b"") == "gzip"


async def test_what_would_grow_is_left_as_it_is() -> None:
    noise = base64.b85encode(bytes(range(256)) * 2)[:300]
    assert await replied(Plain("zstd"), body=bytes(range(256)), minimum_bytes=1) == "identity"
    assert await replied(Plain("zstd, identity;q=0"), body=noise, minimum_bytes=1) == "zstd"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_large_replies_are_compressed_beside_the_loop(coding: str) -> None:
    assert await replied(Plain(coding), body=b"many words " * INLINE_BYTES) == coding


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_have_no_coding(status: int) -> None:
    assert await replied(Plain("gzip, identity;q=0"), body=b"", status=status) == "identity"


async def test_errors_are_compressed_like_anything_else() -> None:
    assert await replied(Plain("gzip"), status=404) == "gzip"


async def test_nobody_transforms_what_must_not_be_transformed() -> None:
    for wish in ("no-transform", "no-cache, no-transform", "No-Transform,max-age=0"):
        assert await replied(Plain("gzip", cache_control=wish)) == "identity"
        assert await replied(Plain("gzip"), [*JSON, ("Cache-Control", wish)]) == "identity"
        assert (await streamed(Plain("gzip"), [*SSE[:1], ("cache-control", wish)])).coding is None
    assert await replied(Plain("gzip", cache_control="no-transformation")) == "gzip"


async def test_what_is_encoded_is_not_encoded_again() -> None:
    exchange = Plain("gzip")

    async def handler(inner: Exchange) -> None:
        await inner.respond(200, [*JSON, ("content-encoding", "br")], BODY)

    await serve(exchange, handler)
    assert exchange.response == (200, {**dict(JSON), "content-encoding": "br"}, BODY)


@pytest.mark.parametrize(("tag", "expected"), [('"a"', 'W/"a"'), ('W/"a"', 'W/"a"')])
async def test_a_strong_validator_is_of_the_bytes_so_it_becomes_weak(tag: str, expected: str) -> None:
    for accept, there in (("gzip", expected), ("identity", tag)):
        exchange = Plain(accept)
        await replied(exchange, [*JSON, ("ETag", tag)])
        assert exchange.response is not None
        assert exchange.response[1]["ETag"] == there


async def test_head_names_the_coding_and_has_no_body() -> None:
    exchange = Plain("gzip", method="HEAD")

    async def handler(inner: Exchange) -> None:
        await inner.open(200, SSE).finish()

    compression = await serve(exchange, handler)
    body = exchange.began_with
    assert body is not None
    assert (body.coding, body.writes, body.ended, compression.budget.used) == ("gzip", [], True, 0)
    assert await replied(Plain("gzip", method="HEAD")) == "gzip"


async def test_the_handler_sees_an_exchange_like_any_other() -> None:
    exchange = Plain("gzip")

    async def handler(inner: Exchange) -> None:
        assert (inner.method, inner.path, inner.peer, inner.query("a")) == ("GET", "/x", "192.0.2.1", "1")
        assert (inner.headers, inner.began, inner.answered) == (exchange.headers, exchange.began, False)
        assert await inner.read_body() == b"asked"
        inner.common += [("X", "y")]

        async def serve(wire: Any) -> None:
            assert wire is exchange

        await inner.upgrade([], serve)

    await serve(exchange, handler)
    assert exchange.common == [("X", "y")]


# Streamed bodies


@pytest.mark.parametrize("accept", ["gzip", "deflate", "br", "zstd", "identity"])
async def test_each_piece_is_there_when_it_is_written(accept: str) -> None:
    body = await streamed(Plain(accept))
    assert body.text() == b"data: 1\n\n:\ndata: 2\n\n"
    assert body.ended
    assert len(body.writes) == 3 + (accept != "identity")


async def test_the_head_leaves_with_the_first_piece() -> None:
    exchange = Plain("gzip")

    async def handler(inner: Exchange) -> None:
        outlet = inner.open(200, SSE)
        data = outlet.framing(b"data: 1\n\n")
        assert not inner.answered
        assert outlet.write_now(data)
        assert inner.answered
        await outlet.finish()

    await serve(exchange, handler)
    assert exchange.began_with is not None
    assert exchange.began_with.text() == b"data: 1\n\n"


async def test_a_piece_may_be_refused_and_a_whole_reply_sent_instead() -> None:
    exchange = Plain("gzip")

    async def handler(inner: Exchange) -> None:
        outlet = inner.open(200, SSE, unless=lambda: True)
        assert not outlet.write_now(outlet.framing(b"data: 1\n\n"))
        assert not inner.answered
        await inner.respond(503, JSON, BODY)

    compression = await serve(exchange, handler)
    assert exchange.response is not None
    assert decoder("gzip").feed(exchange.response[2]) == BODY
    assert compression.budget.used == 0


async def test_memory_is_counted_while_a_body_is_streamed_and_no_longer() -> None:
    seen = []

    async def handler(inner: Exchange) -> None:
        outlet = inner.open(200, SSE)
        seen.append(compression.budget.used)
        outlet.begin()
        raise OSError("the client has left")

    config = CompressionSettings()
    compression = Compression(config, load_codecs(config), handler)
    with pytest.raises(OSError, match="left"):
        await compression.handle(Plain("gzip"))
    assert seen == [12_288]
    assert compression.budget.used == 0


async def test_with_many_streams_codings_get_cheaper_and_at_last_there_is_none() -> None:
    used = []

    async def handler(inner: Exchange) -> None:
        body = inner.open(200, SSE)
        used.append((compression.budget.used, getattr(body, "grant", None)))
        if len(used) < 8:
            await compression.handle(Plain("br, gzip;q=0.5"))  # while this one is open
        await body.finish()

    config = CompressionSettings(budget_bytes=700_000)
    compression = Compression(config, load_codecs(config), handler)
    await compression.handle(Plain("br, gzip;q=0.5"))
    codings = [grant and grant.codec.name for _, grant in used]
    assert codings == ["br", "br", "gzip", "gzip", "gzip", "gzip", None, None]
    assert max(taken for taken, _ in used) <= 700_000
    assert compression.budget.used == 0


async def test_a_body_that_is_opened_anew_gives_back_what_the_first_one_took() -> None:
    used = []

    async def handler(inner: Exchange) -> None:
        for _ in range(3):
            outlet = inner.open(200, SSE)
            used.append(compression.budget.used)
        await outlet.finish()

    config = CompressionSettings()
    compression = Compression(config, load_codecs(config), handler)
    await compression.handle(Plain("gzip"))
    assert (used, compression.budget.used) == ([12_288] * 3, 0)


async def test_a_codec_that_has_failed_is_not_asked_again() -> None:
    exchange = Plain("fragile")
    codec = Fragile(1, ValueError("no luck"))

    async def handler(inner: Exchange) -> None:
        outlet = inner.open(200, SSE)
        outlet.write_now(outlet.framing(b"data: 1\n\n"))
        with pytest.raises(CodecError):
            outlet.framing(b"data: 2\n\n")
        codec._results = [b"out of order"]
        with pytest.raises(CodecError):
            outlet.framing(b"data: 3\n\n")

    with capture_logs():
        await serve(exchange, handler, codecs=[codec])


# Codecs that fail


@pytest.mark.parametrize("result", [ValueError("no luck"), b"", "text", None])
async def test_a_codec_that_fails_at_first_is_not_used(result: Any) -> None:
    exchange = Plain("fragile")

    async def handler(inner: Exchange) -> None:
        outlet = inner.open(200, SSE)
        for piece in (b"data: 1\n\n", b"data: 2\n\n"):
            assert outlet.write_now(outlet.framing(piece))
        await outlet.finish()

    with capture_logs() as logs:
        compression = await serve(exchange, handler, codecs=[Fragile(0, result)])
    body = exchange.began_with
    assert body is not None
    assert body.coding is None
    assert body.ended
    assert body.text() == b"data: 1\n\ndata: 2\n\n"
    assert [(entry["event"], entry["coding"], entry["log_level"]) for entry in logs] == [
        ("codec_failed", "fragile", "error")
    ]
    assert compression.budget.used == 0
    again = Plain("fragile")
    await compression.handle(again)
    assert again.began_with is not None
    assert again.began_with.coding is None


@pytest.mark.parametrize("result", [ValueError("no luck"), b"", "text"])
async def test_a_codec_that_fails_later_ends_the_response_before_anything_wrong_is_sent(result: Any) -> None:
    exchange = Plain("fragile")

    async def handler(inner: Exchange) -> None:
        outlet = inner.open(200, SSE)
        for piece in (b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"):
            outlet.write_now(outlet.framing(piece))

    with pytest.raises(CodecError, match="fragile"), capture_logs() as logs:
        await serve(exchange, handler, codecs=[Fragile(2, result)])
    assert "text" not in str(logs)  # what clients are told is not for the log
    assert exchange.began_with is not None
    assert exchange.began_with.writes == [chunked(b"piece")] * 2
    assert not exchange.began_with.ended


@pytest.mark.parametrize("end", [KeyError("x"), "text", None])
async def test_a_codec_that_fails_at_the_end_ends_nothing(end: Any) -> None:
    exchange = Plain("fragile")

    async def handler(inner: Exchange) -> None:
        outlet = inner.open(200, SSE)
        outlet.write_now(outlet.framing(b"data: 1\n\n"))
        await outlet.finish()

    with pytest.raises(CodecError), capture_logs():
        await serve(exchange, handler, codecs=[Fragile(1, end=end)])
    assert exchange.began_with is not None
    assert not exchange.began_with.ended


async def test_a_codec_that_fails_on_a_whole_reply() -> None:
    with capture_logs() as logs:
        assert await replied(Plain("fragile, gzip;q=0.5"), codecs=[Fragile(0)]) == "identity"
        assert await replied(Plain("fragile"), body=BODY * 20, codecs=[Fragile(0)]) == "identity"
    assert [entry["event"] for entry in logs] == ["codec_failed"] * 2


# Configuration


@pytest.mark.parametrize(
    ("codings", "sentence"),
    [
        (("gzip", "snappy"), "key `compression.codings[1]`: there is no coding `snappy`; known: gzip"),
        (("gzip", "br", "gzip"), "key `compression.codings[2]`: the coding `gzip` is there already."),
        (("nowhere:X",), "key `compression.codings[0]`: `nowhere:X` cannot be imported"),
    ],
)
def test_codings_that_cannot_be_used(codings: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_codecs(CompressionSettings(codings=codings))
    assert str(caught.value).startswith(sentence)
    assert load_codecs(CompressionSettings(enabled=False, codings=codings)) == []
