"""Bad input gets a clear error with the right status, and its neighbours notice nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.doubles.gateway_client import CHAT, MESSAGES, STREAMS, chat_body, error_of, refused
from tests.doubles.served_gateway import ServedGateway

BODY_LIMIT = 20_000
GOOD_BODY = json.dumps(chat_body("demo-n3-gap0")).encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"


# ---- bodies


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"model": "demo"', b"[1,]", b"nonsense", GOOD_BODY + b" x", b"\x00\x01", b"'a'"],
)
@pytest.mark.parametrize("path", [CHAT, STREAMS])
async def test_malformed_json(narrow: ServedGateway, path: str, body: bytes) -> None:
    error = await refused(await narrow.request("POST", path, payload=body), 400)
    assert error["type"] == "invalid_request_error"
    assert error["code"] == "invalid_json"


@pytest.mark.parametrize("text", [b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80", b"\xc0\xaf"])
async def test_not_utf8(narrow: ServedGateway, text: bytes) -> None:
    body = b'{"model": "demo", "messages": [{"role": "user", "content": "%b"}]}' % text
    error = await refused(await narrow.request("POST", CHAT, payload=body), 400)
    assert error["code"] == "invalid_json"


async def test_utf16(narrow: ServedGateway) -> None:
    body = json.dumps(chat_body("demo")).encode("utf-16")
    await refused(await narrow.request("POST", CHAT, payload=body), 400)


async def test_nesting_without_end(narrow: ServedGateway) -> None:
    """A parser that recurses must not take the process with it."""
    body = b'{"model": "demo", "messages": ' + b"[" * 9000 + b"]" * 9000 + b"}"
    error = await refused(await narrow.request("POST", CHAT, payload=body), 400)
    assert error["message"]


@pytest.mark.parametrize("body", ["text", 1, None, True, [], [{"model": "demo"}]])
@pytest.mark.parametrize("path", [CHAT, STREAMS])
async def test_not_an_object(narrow: ServedGateway, path: str, body: Any) -> None:
    payload = json.dumps(body).encode()
    assert (await refused(await narrow.request("POST", path, payload=payload), 400))["type"]


WRONG_TYPES = [
    ("model", 7),
    ("model", None),
    ("model", ""),
    ("messages", "hello"),
    ("messages", {"role": "user"}),
    ("messages", [1]),
    ("stream", "yes"),
    ("stream", 1),
    ("n", "two"),
    ("n", 0),
    ("stream_options", []),
    ("stream_options", {"include_usage": "yes"}),
]


@pytest.mark.parametrize(("field", "value"), WRONG_TYPES, ids=[f"{f}={v!r}" for f, v in WRONG_TYPES])
async def test_wrong_types_name_the_field(narrow: ServedGateway, field: str, value: Any) -> None:
    error = await refused(await narrow.request("POST", CHAT, payload={**chat_body("demo-n3-gap0"), field: value}), 400)
    assert (error["param"] or "").startswith(field), error
    assert field in error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("field", ["model", "messages"])
@pytest.mark.parametrize("path", [CHAT, STREAMS])
async def test_missing_fields_are_named(narrow: ServedGateway, path: str, field: str) -> None:
    body = {key: value for key, value in chat_body("demo-n3-gap0").items() if key != field}
    error = await refused(await narrow.request("POST", path, payload=body), 400)
    assert error["param"] == field
    assert field in error["message"]


@pytest.mark.parametrize("lease", ["forever", -1, True, [], {"seconds": 3}, 1e400])
async def test_wrong_leases(narrow: ServedGateway, lease: Any) -> None:
    body = json.dumps({"model": "demo", "messages": MESSAGES, "lease": lease}).replace("Infinity", "1e400")
    error = await refused(await narrow.request("POST", STREAMS, payload=body.encode()), 400)
    assert error["param"] == "lease" or error["code"] == "invalid_json"


@pytest.mark.parametrize("lease", ["forever", "-1", "nan", "inf", "1e400", "6 0", ""])
async def test_wrong_lease_headers(narrow: ServedGateway, lease: str) -> None:
    response = await narrow.chat("demo-n3-gap0", headers={"Stream-Lease": lease})
    error = await refused(response, 400)
    assert "lease" in (error["param"] or "").lower()


async def test_unknown_dialect(narrow: ServedGateway) -> None:
    stream = (await narrow.create("demo-n3-gap0"))["id"]
    error = await refused(await narrow.subscribe(stream, dialect="klingon"), 400)
    assert error["param"] == "dialect"


async def test_nothing_acceptable(narrow: ServedGateway) -> None:
    stream = (await narrow.create("demo-n3-gap0"))["id"]
    error = await refused(await narrow.subscribe(stream, accept="image/png"), 406)
    assert error["code"] == "not_acceptable"


# ---- sizes


async def test_body_that_says_it_is_too_long(narrow: ServedGateway) -> None:
    """Refused by its header: not a byte of it has to come."""
    connection = await narrow.connect()
    await connection.send(POST + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + 1))
    error = await refused(await connection.response("POST"), 413)
    assert str(BODY_LIMIT) in error["message"].replace(",", "").replace("_", "")
    assert await connection.ended() == b""


async def test_chunked_body_that_grows_too_long(narrow: ServedGateway) -> None:
    connection = await narrow.connect()
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    await connection.offer(head + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 5)
    await refused(await connection.response("POST"), 413)
    assert await connection.ended() == b""


async def test_a_refusal_is_not_destroyed_by_a_reset(narrow: ServedGateway) -> None:
    """Closing on bytes that were not read resets the connection, and a reset may overtake the answer."""
    connection = await narrow.connect()
    await connection.offer(POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 1000)
    response = await connection.response("POST")
    await refused(response, 413)
    # A proper end raises nothing here, and a reset would.
    assert await connection.stream.receive_some() == b""


async def test_body_at_the_limit(narrow: ServedGateway) -> None:
    body = GOOD_BODY + b" " * (BODY_LIMIT - len(GOOD_BODY))
    assert (await narrow.request("POST", CHAT, payload=body)).status == 200


async def test_length_beyond_all_numbers(narrow: ServedGateway) -> None:
    response = await narrow.raw(POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n")
    assert response.status in (400, 413)
    await error_of(response)


@pytest.mark.parametrize(
    "flood",
    [
        b"X-Flood: " + b"a" * 5000 + b"\r\n",
        b"".join(b"X-%d: a\r\n" % number for number in range(1000)),
        b"X-Flood: " + b"a" * 100_000,
    ],
    ids=["one long", "many", "no end"],
)
async def test_header_flood(narrow: ServedGateway, flood: bytes) -> None:
    connection = await narrow.connect()
    await connection.offer(b"GET /v1/models HTTP/1.1\r\nHost: gateway\r\n" + flood + b"\r\n")
    error = await refused(await connection.response(), 431)
    assert error["code"] == "headers_too_large"
    assert await connection.ended() == b""


async def test_endless_request_line(narrow: ServedGateway) -> None:
    response = await narrow.raw(b"GET /" + b"a" * 10_000, "GET")
    assert response.status in (414, 431)
    await error_of(response)


# ---- paths and methods


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/chat", "/v1/chat/completions/x", "/v2/models", "//v1/models"])
async def test_unknown_path(narrow: ServedGateway, path: str) -> None:
    error = await refused(await narrow.get(path), 404)
    assert error["code"] == "not_found"


@pytest.mark.parametrize("target", ["/v1/streams/../models", "/v1/streams/%2e%2e", "/v1/streams/a%00b", "/%", "*"])
async def test_odd_targets(narrow: ServedGateway, target: str) -> None:
    response = await narrow.get(target)
    assert response.status in (400, 404)
    await error_of(response)


METHODS = [
    ("GET", CHAT, {"POST"}),
    ("DELETE", CHAT, {"POST"}),
    ("POST", "/v1/models", {"GET"}),
    ("GET", STREAMS, {"POST"}),
    ("PUT", f"{STREAMS}/x", {"GET", "DELETE"}),
    ("POST", f"{STREAMS}/x/events", {"GET"}),
    ("BREW", CHAT, {"POST"}),
]


@pytest.mark.parametrize(("method", "path", "allowed"), METHODS)
async def test_wrong_method(narrow: ServedGateway, method: str, path: str, allowed: set[str]) -> None:
    response = await narrow.request(method, path)
    error = await refused(response, 405)
    assert error["code"] == "method_not_allowed"
    allow = {name.strip() for name in response.head["allow"].split(",")}
    assert allowed <= allow
    assert method not in allow
