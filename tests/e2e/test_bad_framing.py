"""Requests whose bytes are wrong: refused, answered, and never taken for something else."""

from __future__ import annotations

import contextlib
import json

import pytest
import trio

from tests.doubles.gateway_client import CHAT, chat_body, error_of, refused
from tests.doubles.http_reader import Truncated
from tests.doubles.raw_client import Connection
from tests.doubles.served_gateway import Serve, ServedGateway

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
GOOD_BODY = json.dumps(chat_body("demo-n3-gap0")).encode()
SIZED = b"Content-Length: %d\r\n" % len(GOOD_BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
GOOD_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD_BODY), GOOD_BODY)


# ---- senders that take their time


@pytest.mark.parametrize("start", [b"P", b"POST /v1", POST, POST + SIZED])
async def test_slow_header(narrow: ServedGateway, start: bytes) -> None:
    connection = await narrow.connect()
    await connection.send(start)
    error = await refused(await connection.response("POST"), 408)
    assert error["code"] == "request_timeout"
    assert await connection.ended() == b""


@pytest.mark.parametrize("start", [SIZED + b"\r\n", SIZED + b"\r\n{", CHUNKED + b"\r\n", CHUNKED + b"\r\n5\r\n{"])
async def test_slow_body(narrow: ServedGateway, start: bytes) -> None:
    connection = await narrow.connect()
    await connection.send(POST + start)
    error = await refused(await connection.response("POST"), 408)
    assert error["code"] == "request_timeout"
    assert await connection.ended() == b""


async def test_dripping_header(narrow: ServedGateway) -> None:
    """A byte now and then does not extend the deadline (the slow loris)."""
    connection = await narrow.connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip, connection)
        response = await connection.response("POST")
        nursery.cancel_scope.cancel()
    await refused(response, 408)


async def drip(connection: Connection) -> None:
    """One byte at a time, so often that no timeout between two bytes would notice."""
    await connection.send(POST + b"X-Slow: ")
    while True:
        await connection.offer(b"a")
        await trio.sleep(0.04)


async def test_a_connection_that_never_asks_is_closed(serve: Serve) -> None:
    """Without a request there is nobody to answer to: it just ends."""
    gateway = await serve(limits={"idle_timeout": 0.2, "header_timeout": 0.2})
    connection = await gateway.connect()
    ending = await connection.ended()
    assert not ending or ending.startswith(b"HTTP/1.1 408")
    await gateway.idle()


# ---- framing, and the shapes by which requests are smuggled through


BAD_CHUNKS = [
    b"zz\r\nabc\r\n0\r\n\r\n",
    b"-1\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabcdef\r\n0\r\n\r\n",
    b"\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"3 \n\nabc\r\n0\r\n\r\n",
    b"fffffffffffffffffffff\r\nabc\r\n",
    b"3\r\nabc\n0\r\n\r\n",
    b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    b"0\r\nGET /v1/models HTTP/1.1\r\n\r\n",
    b"0\r\nX : y\r\n\r\n",
]


@pytest.mark.parametrize("chunks", BAD_CHUNKS)
async def test_bad_chunk_framing(narrow: ServedGateway, chunks: bytes) -> None:
    connection = await narrow.connect()
    await connection.offer(POST + CHUNKED + b"\r\n" + chunks)
    response = await connection.response("POST")
    assert response.status in (400, 413), response.head
    await error_of(response)
    assert await connection.ended() == b""


SMUGGLED = b"GET /v1/models HTTP/1.1\r\nHost: gateway\r\n\r\n"
AMBIGUOUS = {
    "both": SIZED + CHUNKED,
    "both, other order": CHUNKED + SIZED,
    "two lengths": SIZED + b"Content-Length: 3\r\n",
    "list of lengths": b"Content-Length: 3, 4\r\n",
    "signed length": b"Content-Length: +3\r\n",
    "length in hex": b"Content-Length: 0x3\r\n",
    "empty length": b"Content-Length: \r\n",
    "the same length twice": SIZED + SIZED,
    "list of the same length": b"Content-Length: 3, 3\r\n",
    "blank before colon": b"Content-Length : 3\r\n",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "two codings": b"Transfer-Encoding: chunked, identity\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n",
    "two encodings": CHUNKED + b"Transfer-Encoding: identity\r\n",
    "nothing, chunked": b"Transfer-Encoding: , chunked\r\n",
    "vertical tab before chunked": b"Transfer-Encoding: \x0bchunked\r\n",
    "chunked folded": b"Transfer-Encoding:\r\n chunked\r\n",
    "LF before chunked": b"X: a\nTransfer-Encoding: chunked\r\n",
    "CR before chunked": b"X: a\rTransfer-Encoding: chunked\r\n",
    "LF before the body": SIZED + b"\n",
    "tab in name": b"Transfer\tEncoding: chunked\r\n",
    "folded": b"X-A: b\r\n Transfer-Encoding: chunked\r\n" + SIZED + b"Content-Length: 0\r\n",
}


@pytest.mark.parametrize("fields", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
async def test_smuggling_shapes(narrow: ServedGateway, fields: bytes) -> None:
    connection = await narrow.connect()
    await connection.offer(POST + fields + b"\r\n" + GOOD_CHUNKS + SMUGGLED)
    response = await connection.response("POST")
    assert response.status in (400, 501), response.head
    await error_of(response)
    assert await connection.ended() == b"", "what followed was taken for a request"


BROKEN_HEADS = {
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "nonsense": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n",
    "no version": b"GET /v1/models\r\n\r\n",
    "bad name": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n",
    "nul in value": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    "bare cr in value": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n\r\n",
    "no colon": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    "blank in target": b"GET /v1/ models HTTP/1.1\r\nHost: a\r\n\r\n",
    "two blanks": b"GET  /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "another protocol": b"GET /v1/models RTSP/1.0\r\nHost: a\r\n\r\n",
    "empty line first": b"\r\nGET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "lines that end in LF": b"GET /v1/models HTTP/1.1\nHost: a\n\n",
    "chunked in HTTP/1.0": b"POST /v1/models HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("head", BROKEN_HEADS.values(), ids=BROKEN_HEADS.keys())
async def test_broken_heads(narrow: ServedGateway, head: bytes) -> None:
    connection = await narrow.connect()
    await connection.offer(head)
    await refused(await connection.response(), 400)
    assert await connection.ended() == b""


async def test_version_of_the_future(narrow: ServedGateway) -> None:
    response = await narrow.raw(b"GET /v1/models HTTP/3.0\r\nHost: a\r\n\r\n", "GET")
    assert response.status in (400, 505)
    await error_of(response)


# ---- what comes after an error


async def test_the_connection_serves_on_after_an_error_it_could_delimit(narrow: ServedGateway) -> None:
    connection = await narrow.connect()
    await refused(await connection.request("POST", CHAT, payload=b"{"), 400)
    await refused(await connection.request("GET", "/nowhere"), 404)
    await refused(await connection.request("PUT", CHAT, payload=GOOD_BODY), 405)
    assert (await connection.request("GET", "/v1/models")).status == 200


async def test_clients_that_vanish_anywhere_in_a_request(narrow: ServedGateway) -> None:
    request = POST + SIZED + b"\r\n" + GOOD_BODY
    for at in range(0, len(request), 9):
        connection = await narrow.connect()
        await connection.send(request[:at])
        await connection.reset()
    assert (await narrow.get("/v1/models")).status == 200


async def test_garbage_after_a_response(narrow: ServedGateway) -> None:
    connection = await narrow.connect()
    assert (await (await connection.request("GET", "/v1/models")).json())["object"] == "list"
    await connection.send(b"\x00\x01garbage\r\n\r\n")
    with contextlib.suppress(Truncated):
        await refused(await connection.response(), 400)
    assert await connection.ended() == b""
