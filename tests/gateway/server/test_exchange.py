"""Requests as routes see them: path, query and headers, whatever form they came in."""

import email.utils
import time
from collections.abc import Callable
from typing import Any

import pytest

from stream_gateway.server import exchange as module
from stream_gateway.server.exchange import BodyOutlet, Exchange, HeaderList, date
from stream_protocols.errors import BadRequest


class Bare(Exchange):
    """An exchange that keeps what it is answered with."""

    def __init__(self, target: str, *headers: tuple[bytes, bytes], method: str = "GET") -> None:
        super().__init__(method, target, headers, "192.0.2.1")
        self.responses: list[tuple[int, HeaderList, bytes]] = []

    @property
    def answered(self) -> bool:
        return bool(self.responses)

    async def read_body(self) -> bytes:
        return b""

    async def respond(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        self.responses.append((status, headers, body))

    def open(self, status: int, headers: HeaderList, *, unless: Callable[[], bool] = bool) -> BodyOutlet:
        raise NotImplementedError

    async def upgrade(self, headers: HeaderList, serve: Any) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/models", "/v1/models"),
        ("/v1/models?x=1", "/v1/models"),
        ("/v1/models?", "/v1/models"),
        ("/a%20b/%C3%A9", "/a b/é"),
        ("/a%2Fb", "/a/b"),
        ("/%zz", "/%zz"),
        ("/%ff", "/\ufffd"),
        ("http://example.test/v1/models?x=1", "/v1/models"),
        ("HTTPS://example.test:8443/v1/models", "/v1/models"),
        ("http://example.test", ""),
        ("http://example.test?x=1", ""),
        ("*", "*"),
        ("//evil.test/v1", "//evil.test/v1"),
        ("/http://x/y", "/http://x/y"),
    ],
)
async def test_paths(target: str, path: str) -> None:
    assert Bare(target).path == path


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("after=s.e.1", "s.e.1"),
        ("x=1&after=s.e.1&y=2", "s.e.1"),
        ("after=a&after=b", "a"),
        ("after=", ""),
        ("after", ""),
        ("", None),
        ("After=x", None),
        ("after=a%20b%26c", "a b&c"),
        ("after=a+b", "a b"),
        ("after=%ff", "\ufffd"),
        ("after=a;b", "a;b"),
        ("after=a?b", "a?b"),
    ],
)
async def test_queries(query: str, value: str | None) -> None:
    assert Bare(f"/x?{query}").query("after") == value
    assert Bare(f"http://example.test/x?{query}").query("after") == value


async def test_a_flood_of_parameters_is_refused_and_no_bug() -> None:
    assert Bare("/x?" + "&".join(f"p{n}=1" for n in range(90)) + "&after=a").query("after") == "a"
    with pytest.raises(BadRequest, match="query"):
        Bare("/x?" + "&".join(f"p{n}=1" for n in range(1000))).query("after")


async def test_headers_that_come_twice_are_joined() -> None:
    exchange = Bare("/", (b"accept", b"a/b"), (b"x", b"1"), (b"accept", b"c/d"), (b"accept", b"*/*;q=0.1"))
    assert exchange.headers == {"accept": "a/b, c/d, */*;q=0.1", "x": "1"}


async def test_headers_may_have_any_bytes_in_their_values() -> None:
    assert Bare("/", (b"x", b"caf\xe9")).headers == {"x": "café"}


async def test_json_answers() -> None:
    exchange = Bare("/")
    await exchange.respond_json(200, {"a": [1, None, "é"]}, [("X", "y")])
    await exchange.respond_json(201, b'{"already":"json"}')
    assert exchange.responses == [
        (200, [("Content-Type", "application/json"), ("X", "y")], '{"a":[1,null,"é"]}'.encode()),
        (201, [("Content-Type", "application/json")], b'{"already":"json"}'),
    ]


async def test_the_date_of_a_response_is_made_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 1_700_000_000.2

        def time(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    first = date()
    assert first == "Tue, 14 Nov 2023 22:13:20 GMT"
    clock.now += 0.5
    assert date() is first
    clock.now += 0.5
    assert date() == "Tue, 14 Nov 2023 22:13:21 GMT"
    monkeypatch.undo()
    assert abs(email.utils.parsedate_to_datetime(date()).timestamp() - time.time()) < 3
