"""Who may do what: every path of the server's table, over both versions of HTTP, and whatever somebody may show there.

A path without a line here is a failure.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from stream_gateway.server.passing import PATHS
from stream_protocols.dialects.openai_responses.output import response_id
from tests.doubles import issuer
from tests.doubles.gateway_client import CHAT, MESSAGES, STREAMS
from tests.doubles.h2_client import h2_connect
from tests.doubles.issuer import token
from tests.doubles.keyed import HELD, MODEL, Keyed, add_key, bearer, remove_key, stream_token
from tests.doubles.secrets import secret
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.waiting import until

PRINCIPALS, HOLDERS, BY_URL, LATER, EVERYBODY = "principals", "holders", "holders by url", "later", "everybody"


class Line(NamedTuple):
    """One way to use a path.

    `{id}` in `target` and `{cursor}` in a header stand for Ann's stream. `whom` is admitted. `generates`: it takes a
    place among the streams at once.
    """

    pattern: str
    method: str
    target: str
    whom: str = PRINCIPALS
    payload: Any = None
    headers: Mapping[str, str] = {}
    generates: bool = False
    cancels: bool = False
    how: str = ""

    @property
    def name(self) -> str:
        return f"{self.method} {self.target} {self.how}".strip()

    @property
    def of_a_stream(self) -> bool:
        return "{id}" in self.target or "{cursor}" in str(self.headers)


_STREAM, _RESPONSE, _GEMINI = (
    "/v1/streams/([^/]+)",
    "/v1/responses/([^/]+)",
    "/v1(?:beta|alpha)?/models/(.+):([A-Za-z]+)",
)
_CHAT = {"model": MODEL, "messages": MESSAGES}
_MESSAGES = {**_CHAT, "max_tokens": 100}
_RESPONSES = {"model": MODEL, "input": "hello"}
_CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
_STREAMED = {"stream": True}
_EVENTS = f"{STREAMS}/{{id}}/events"


def _generations(pattern: str, target: str, payload: dict[str, Any]) -> list[Line]:
    return [
        Line(pattern, "POST", target, payload=payload, generates=True),
        Line(pattern, "POST", target, payload=payload | _STREAMED, generates=True, how="streamed"),
        Line(pattern, "POST", target, payload=payload, headers={"Last-Event-ID": "{cursor}"}, how="resumed"),
    ]


LINES = [
    *_generations(CHAT, CHAT, _CHAT),
    *_generations("/v1/messages", "/v1/messages", _MESSAGES),
    *_generations("/v1/responses", "/v1/responses", _RESPONSES),
    Line(
        "/v1/responses", "POST", "/v1/responses", payload=_RESPONSES | {"background": True}, generates=True, how="later"
    ),
    Line("/v1/messages/count_tokens", "POST", "/v1/messages/count_tokens", payload=_CHAT),
    *_generations(_GEMINI, f"/v1beta/models/{MODEL}:generateContent", _CONTENTS)[:1],
    Line(_GEMINI, "POST", f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse", payload=_CONTENTS, generates=True),
    Line(_GEMINI, "POST", f"/v1beta/models/{MODEL}:streamGenerateContent", payload=_CONTENTS, generates=True),
    Line(_GEMINI, "POST", f"/v1beta/models/{MODEL}:countTokens", payload=_CONTENTS),
    *(Line(path, "POST", path, payload={"model": "mock", "input": "x"}, generates=True) for path in PATHS),
    Line("/v1/models", "GET", "/v1/models"),
    Line("/v1/models", "HEAD", "/v1/models"),
    Line("/v1/connect", "GET", "/v1/connect", LATER),
    Line(STREAMS, "POST", STREAMS, payload=_CHAT, generates=True),
    Line(_STREAM, "GET", f"{STREAMS}/{{id}}", HOLDERS),
    Line(_STREAM, "DELETE", f"{STREAMS}/{{id}}", HOLDERS, cancels=True),
    Line(f"{_STREAM}/events", "GET", _EVENTS, BY_URL, how="as SSE"),
    Line(f"{_STREAM}/events", "GET", _EVENTS, BY_URL, headers={"Accept": "application/x-ndjson"}, how="as NDJSON"),
    Line(f"{_STREAM}/events", "GET", f"{_EVENTS}?wait=1", BY_URL, how="by polling"),
    Line(f"{_STREAM}/events", "GET", f"{_EVENTS}?dialect=openai_chat", BY_URL),
    Line(f"{_STREAM}/events", "GET", f"{_EVENTS}?dialect=anthropic", BY_URL),
    Line(f"{_STREAM}/events", "HEAD", _EVENTS, BY_URL),
    Line(f"{_STREAM}/tokens", "POST", f"{STREAMS}/{{id}}/tokens", payload={}),
    Line(_RESPONSE, "GET", f"/v1/responses/{response_id('{id}')}"),
    Line(_RESPONSE, "GET", f"/v1/responses/{response_id('{id}')}?stream=true"),
    Line(_RESPONSE, "DELETE", f"/v1/responses/{response_id('{id}')}"),
    Line(f"{_RESPONSE}/cancel", "POST", f"/v1/responses/{response_id('{id}')}/cancel"),
    Line("/demo", "GET", "/demo", EVERYBODY),
    Line("/demo/([^/]+)", "GET", "/demo/none", EVERYBODY),
    Line("/v1/dictionaries/current", "GET", "/v1/dictionaries/current", EVERYBODY),
    Line("/v1/dictionaries/([^/]+)", "GET", "/v1/dictionaries/none", EVERYBODY),
]


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


Ask = Callable[[str, str, Any, Mapping[str, str]], Awaitable[Answer]]


@asynccontextmanager
async def asking(keyed: Keyed, version: str) -> AsyncIterator[Ask]:
    """Requests over one version of HTTP; the body of one that is let in is of no interest."""
    gateway = keyed.gateway
    if version == "HTTP/1.1":

        async def ask(method: str, target: str, payload: Any, headers: Mapping[str, str]) -> Answer:
            response = await gateway.request(method, target, payload=payload, headers=headers)
            body = await response.read() if response.status >= 400 else b""
            return Answer(response.status, {name.lower(): value for name, value in response.head.fields}, body)

        yield ask
        return
    async with h2_connect(gateway.host, gateway.port) as client:

        async def ask2(method: str, target: str, payload: Any, headers: Mapping[str, str]) -> Answer:
            fields = {name.lower(): value for name, value in headers.items()}
            stream = await client.request(method, target, payload=payload, headers=fields)
            body = await stream.read() if stream.status >= 400 else b""
            return Answer(stream.status, stream.headers, body)

        yield ask2


async def people(keyed: Keyed) -> dict[str, str]:
    """Whoever may come, and what they show."""
    path = keyed.path
    shown = {
        "revoked": add_key(path, "revoked"),
        "hasty": add_key(path, "hasty", requests_per_minute=1),
        "busy": add_key(path, "busy", streams=1),
        "spent": add_key(path, "spent", tokens_per_minute=1),
    }
    await keyed.start(guard={"failed_logins": 10_000}, cors={"origins": ["https://good.example"]})
    remove_key(path, "revoked")
    keyed.gateway.gateway.reload(keyed.gateway.gateway.config)
    await keyed.create(shown["busy"], HELD)
    await keyed.create(shown["spent"], MODEL)
    return shown


def refused() -> dict[str, dict[str, str]]:
    """Whatever gets nobody in anywhere."""
    return {
        "a wrong key": bearer("sgk_0123456789ab_wrongwrongwrongwrong"),
        "somebody else's key": bearer("sk-proj-0123456789"),
        "an expired JWT": bearer(secret(token(exp=int(time.time()) - 3600))),
        "a stranger's JWT": bearer(secret(token(key=issuer.STRANGER))),
        "alg: none": bearer(secret(issuer.without_signature())),
        "RS256 taken for HS256": bearer(secret(issuer.confused())),
        "another audience": bearer(secret(token(aud="other"))),
        "a forged stream token": bearer("sgt_stream.c.4000000000.c2lnbmF0dXJl"),
        "Basic": {"Authorization": "Basic YTpi"},
        "two that differ": {**bearer("abc"), "x-api-key": "def"},
    }


def shape_of(dialect: str | None, answer: Answer) -> str:
    """The message of an error, whose shape is its vendor's."""
    body = json.loads(answer.body)
    match dialect:
        case "anthropic":
            assert body["type"] == "error"
            assert set(body["error"]) == {"type", "message"}
        case "gemini":
            assert (body["error"]["code"], isinstance(body["error"]["status"], str)) == (answer.status, True)
        case _:
            assert set(body["error"]) == {"type", "code", "message", "param"}
    return str(body["error"]["message"])


class Cells:
    """One line of the table, asked over one version of HTTP."""

    def __init__(self, line: Line, ask: Ask, dialect: str | None, stream: str) -> None:
        self.line = line
        self.stream = stream
        self._ask = ask
        self._dialect = dialect

    async def send(self, headers: Mapping[str, str], stream: str | None = None, query: str = "") -> Answer:
        line, name = self.line, stream or self.stream
        fields = {key: value.replace("{cursor}", f"{name}.e.0") for key, value in line.headers.items()}
        target = line.target.replace("{id}", name)
        if query:
            target += ("&" if "?" in target else "?") + query
        return await self._ask(line.method, target, line.payload, {**fields, **headers})

    async def expect(self, status: int, why: str, headers: Mapping[str, str], **more: Any) -> Answer:
        answer = await self.send(headers, **more)
        assert answer.status == status, (why, answer)
        if self.line.method != "HEAD":
            shape_of(self._dialect, answer)
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer", why
        return answer

    async def let_in(self, why: str, headers: Mapping[str, str], **more: Any) -> None:
        answer = await self.send(headers, **more)
        # What comes of it is not the guard's: the paths' own tests see to that. But a stream has to be found.
        assert answer.status not in (401, 403, 429, 500), (why, answer)
        assert answer.status != 404 or not self.line.of_a_stream, (why, answer)


async def test_every_path_has_its_lines(gateway: ServedGateway) -> None:
    rows = gateway.gateway.routes.table
    served = {(row.pattern.pattern, method) for row in rows for method in row.handlers}
    assert {(line.pattern, line.method) for line in LINES if line.method != "HEAD"} == served


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
async def test_who_is_let_in(keyed: Keyed, line: Line, version: str) -> None:
    shown = await people(keyed)
    dialect = next(row.dialect for row in keyed.gateway.gateway.routes.table if row.pattern.pattern == line.pattern)
    mine, others = await keyed.create(keyed.ann), await keyed.create(keyed.bob)
    async with asking(keyed, version) as ask:
        cells = Cells(line, ask, dialect, mine)
        await _foreign_pages(cells, keyed)
        if line.whom == EVERYBODY:
            for headers in ({}, bearer(keyed.ann), *refused().values()):
                await cells.let_in("everybody", headers)
            return
        await _strangers(cells, shown)
        await _over_limits(cells, shown)
        await _holders(cells, others)
        if line.of_a_stream:
            await _not_theirs(cells, keyed)
        await cells.let_in("the owner's key", bearer(keyed.ann))
        if not line.of_a_stream:
            for headers in (bearer(token()), {"x-api-key": keyed.bob}, {"x-goog-api-key": keyed.bob}):
                await cells.let_in("others with good credentials", headers)


async def _foreign_pages(cells: Cells, keyed: Keyed) -> None:
    for headers in ({}, bearer(keyed.ann)):
        answer = await cells.expect(403, "a foreign page", {**headers, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers


async def _strangers(cells: Cells, shown: dict[str, str]) -> None:
    if cells.line.whom != LATER:
        await cells.expect(401, "nothing", {})
        page = {"Origin": "https://good.example"}
        assert (await cells.expect(401, "a page", page)).headers["access-control-allow-origin"] == page["Origin"]
    for why, headers in refused().items():
        await cells.expect(401, why, headers)
    for where in ("x-api-key", "x-goog-api-key"):
        await cells.expect(401, where, {where: "sgk_0123456789ab_wrongwrongwrongwrong"})
    await cells.expect(401, "a revoked key", bearer(shown["revoked"]))


async def _over_limits(cells: Cells, shown: dict[str, str]) -> None:
    await cells.send(bearer(shown["hasty"]))
    answer = await cells.expect(429, "too many requests", bearer(shown["hasty"]))
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["ratelimit-policy"] == '"requests";q=1;w=60'
    assert answer.headers["ratelimit"].startswith('"requests";r=0;t=')
    if cells.line.generates:
        assert "retry-after" in (await cells.expect(429, "too many streams", bearer(shown["busy"]))).headers
        assert "retry-after" in (await cells.expect(429, "too many tokens", bearer(shown["spent"]))).headers


async def _holders(cells: Cells, others: str) -> None:
    line, mine = cells.line, cells.stream
    await cells.expect(401, "an expired token", bearer(stream_token(mine, 1)))
    if line.whom == PRINCIPALS:
        await cells.expect(403, "a token", bearer(stream_token(mine, cancel=True)))
        await cells.expect(401, "a token in the URL", {}, query=f"token={stream_token(mine)}")
        return
    if line.whom == LATER:
        return
    await cells.expect(404, "a token for another stream", bearer(stream_token(others, cancel=True)))
    if line.cancels:
        await cells.expect(403, "a token for reading", bearer(stream_token(mine)))
    else:
        await cells.let_in("a token for reading", bearer(stream_token(mine)))
    if line.whom == BY_URL:
        await cells.let_in("a token in the URL", {}, query=f"token={stream_token(mine)}")
        await cells.expect(404, "another stream's", {}, query=f"token={stream_token(others)}")
        await cells.expect(401, "an expired one", {}, query=f"token={stream_token(mine, 1)}")
    else:
        await cells.expect(401, "a token in the URL", {}, query=f"token={stream_token(mine)}")


async def _not_theirs(cells: Cells, keyed: Keyed) -> None:
    """Another's stream is as unknown as one that never was, word for word."""
    never = "x" * len(cells.stream)
    for headers in (bearer(keyed.bob), bearer(secret(token(sub="bob")))):
        theirs = await cells.expect(404, "another's stream", headers)
        unknown = await cells.expect(404, "no stream", headers, stream=never)
        assert theirs.body == unknown.body.replace(never.encode(), cells.stream.encode())
    if cells.line.whom == BY_URL:
        await cells.expect(401, "a key in the URL", {}, query=f"token={keyed.ann}")


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_unknown_paths_and_methods_are_nobodys(keyed: Keyed, version: str) -> None:
    await keyed.start()
    async with asking(keyed, version) as ask:
        for method, target, status in (("GET", "/nowhere", 404), ("PUT", "/v1/models", 405)):
            assert (await ask(method, target, None, {})).status == 401
            assert (await ask(method, target, None, bearer(keyed.ann))).status == status
        preflight = {"Origin": "http://localhost", "Access-Control-Request-Method": "GET"}
        assert (await ask("OPTIONS", "/v1/models", None, preflight)).status == 204


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_guessing(keyed: Keyed, version: str) -> None:
    late = add_key(keyed.path, "late")
    await keyed.start(guard={"failed_logins": 3})
    async with asking(keyed, version) as ask:
        assert (await ask("GET", "/v1/models", None, bearer(keyed.ann))).status == 200
        wrong = bearer("sgk_0123456789ab_wrongwrongwrongwrong")
        answers = [(await ask("GET", "/v1/models", None, wrong)).status for _ in range(6)]
        assert answers == [401, 401, 401, 429, 429, 429]
        held_up = await ask("POST", "/v1/messages", _MESSAGES, bearer(late))
        assert (held_up.status, "retry-after" in held_up.headers) == (429, True)
        shape_of("anthropic", held_up)
        assert (await ask("GET", "/v1/models", None, bearer(keyed.ann))).status == 200


async def test_a_revoked_key_ends_what_it_has_begun(keyed: Keyed) -> None:
    await keyed.start()
    stream = await keyed.create(keyed.bob, HELD)
    events = (await keyed.gateway.request("GET", f"{STREAMS}/{stream}/events", headers=bearer(keyed.bob))).events()
    await events.take(2)
    remove_key(keyed.path, "bob")
    keyed.gateway.gateway.reload(keyed.gateway.gateway.config)
    last = (await events.rest())[-1].json
    assert (last["type"], last["reason"]) == ("stream.cancelled", "revoked")
    for target in ("/v1/models", f"{STREAMS}/{stream}"):
        assert (await keyed.gateway.request("GET", target, headers=bearer(keyed.bob))).status == 401
    assert (await keyed.gateway.request("GET", "/v1/models", headers=bearer(keyed.ann))).status == 200


async def test_a_revoked_key_begins_nothing_more(keyed: Keyed) -> None:
    """Who was recognised before, and takes time for a body, has come too late all the same."""
    gateway = await keyed.start()
    rows: list[tuple[str, dict[str, Any]]] = [
        (STREAMS, {"lease": "finish"}),
        (CHAT, {"stream": True}),
        (CHAT, {}),
        ("/v1/embeddings", {}),
    ]
    begun = []
    for target, more in rows:
        body = json.dumps({"model": MODEL, "messages": MESSAGES, "input": "x", **more}).encode()
        connection = await gateway.connect()
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keyed.bob}\r\n"
        await connection.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:1])
        begun.append((connection, body[1:]))
    door = gateway.gateway._listener and gateway.gateway._listener._door
    await until(lambda: door is not None and door._exchanges == len(rows))
    remove_key(keyed.path, "bob")
    gateway.gateway.reload(gateway.gateway.config)
    for connection, rest in begun:
        await connection.send(rest)
        assert (await connection.response("POST")).status == 401
    assert not gateway.now.streams


async def test_a_token_is_given_by_the_owner_and_good_for_what_it_says(keyed: Keyed) -> None:
    gateway = await keyed.start(guard={"token_lifetime": 100, "max_token_lifetime": 200})
    stream = await keyed.create(keyed.ann, HELD)
    target = f"{STREAMS}/{stream}/tokens"
    for payload, lifetime in ((None, 100), ({"lifetime": 150}, 150), ({"lifetime": 200, "scope": "read+cancel"}, 200)):
        before = time.time()
        response = await gateway.request("POST", target, payload=payload, headers=bearer(keyed.ann))
        assert response.status == 201
        assert response.head["cache-control"] == "no-store"
        given = await response.json()
        assert set(given) == {"token", "expires"}
        assert lifetime <= given["expires"] - before <= lifetime + 2
        shown = bearer(secret(given["token"]))
        assert (await gateway.request("GET", f"{STREAMS}/{stream}", headers=shown)).status == 200
    assert (await gateway.request("DELETE", f"{STREAMS}/{stream}", headers=shown)).status == 200
    for wrong in ({"lifetime": 201}, {"lifetime": 0}, {"lifetime": "x"}, {"scope": "write"}, []):
        assert (await gateway.request("POST", target, payload=wrong, headers=bearer(keyed.ann))).status == 400
