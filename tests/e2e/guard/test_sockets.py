"""Who may do what on a socket: every command, over both versions of HTTP, and whatever somebody may show there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stream_gateway.server.sockets.session import _HANDLERS
from stream_gateway.streams.storage import Storage
from stream_gateway.streams.stream import Stream
from tests.doubles import issuer
from tests.doubles.gateway_client import MESSAGES
from tests.doubles.h2_client import h2_connect
from tests.doubles.issuer import token
from tests.doubles.keyed import HELD, MODEL, Keyed, add_key, bearer, remove_key, stream_token, subprotocol
from tests.doubles.secrets import secret
from tests.doubles.sockets.h2_line import H2Line, h2_shake
from tests.doubles.sockets.raw_socket import JSON, MSGPACK, RawSocket, shake
from tests.doubles.sockets.session_client import SessionClient

VERSIONS = pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
REQUEST = {"model": MODEL, "messages": MESSAGES}
WRONG = "sgk_0123456789ab_wrongwrongwrongwrong"


class Opened:
    """The answer to an opening handshake, and the socket if there is one."""

    def __init__(self, status: int, headers: dict[str, str], line: Any, protocol: str) -> None:
        self.status = status
        self.headers = headers
        self.session = SessionClient(RawSocket(line), binary=MSGPACK in protocol)


class Opener:
    """Opens sockets over one version of HTTP."""

    def __init__(self, keyed: Keyed, version: str, stack: AsyncExitStack) -> None:
        self._keyed = keyed
        self._version = version
        self._stack = stack

    async def __call__(self, headers: dict[str, str] | None = None, protocol: str = JSON) -> Opened:
        gateway = self._keyed.gateway
        if self._version == "HTTP/1.1":
            response = await shake(gateway, protocol=protocol, **(headers or {}))  # type: ignore[arg-type]
            fields = {name.lower(): value for name, value in response.head.fields}
            return Opened(response.status, fields, response.connection, protocol)
        client = await self._stack.enter_async_context(h2_connect(gateway.host, gateway.port))
        stream = await h2_shake(client, headers or {}, protocol)
        status = 101 if stream.status == 200 else stream.status
        return Opened(status, stream.headers, H2Line(client, stream), protocol)

    async def session(self, headers: dict[str, str] | None = None, protocol: str = JSON) -> SessionClient[RawSocket]:
        opened = await self(headers, protocol)
        assert opened.status == 101, opened.headers
        return opened.session


@asynccontextmanager
async def opening(keyed: Keyed, version: str) -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:
        yield Opener(keyed, version, stack)


COMMANDS: dict[str, dict[str, Any]] = {
    "stream.create": {"request": REQUEST},
    "stream.subscribe": {"stream": "{id}"},
    "stream.unsubscribe": {"stream": "{id}"},
    "stream.cancel": {"stream": "{id}"},
    "ping": {},
    "auth": {"token": WRONG},
}


def test_every_command_has_its_line() -> None:
    assert set(COMMANDS) == {command.__struct_config__.tag for command in _HANDLERS}


@VERSIONS
@pytest.mark.parametrize("command", COMMANDS)
async def test_who_may_say_what(keyed: Keyed, command: str, version: str) -> None:
    hasty = add_key(keyed.path, "hasty", requests_per_minute=1)
    busy, spent = add_key(keyed.path, "busy", streams=1), add_key(keyed.path, "spent", tokens_per_minute=1)
    await keyed.start()
    mine, others = await keyed.create(keyed.ann, HELD), await keyed.create(keyed.bob)
    await keyed.create(busy, HELD)
    await keyed.create(spent)
    fields = COMMANDS[command]

    def said(stream: str) -> dict[str, Any]:
        return {name: stream if value == "{id}" else value for name, value in fields.items()}

    async with opening(keyed, version) as open_:
        nobody = await open_.session()
        assert (await nobody.refused(command, **said(mine)))["code"] == "unauthorized"
        if command == "auth":
            assert (await nobody.socket.closed()).code == 4501
            return
        bob = await open_.session(bearer(keyed.bob))
        if "stream" in fields:
            theirs = await bob.refused(command, **said(mine))
            unknown = await bob.refused(command, **said("x" * len(mine)))
            assert theirs["code"] == unknown["code"] == "unknown_stream"
            assert theirs["message"].replace(mine, "") == unknown["message"].replace("x" * len(mine), "")
            other = await open_.session(bearer(stream_token(others, cancel=True)))
            assert (await other.refused(command, **said(mine)))["code"] == "unknown_stream"
        reader = await open_.session(bearer(stream_token(mine)))
        if command == "stream.create":
            assert (await reader.refused(command, **fields))["code"] == "forbidden"
            for key in (hasty, busy, spent):
                session = await open_.session(bearer(key))  # a handshake is a request
                refused = await session.refused(command, **fields)
                assert refused["code"] == "too_many_requests"
                assert refused["retry_after"] >= 1
        elif command == "stream.cancel":
            assert (await reader.refused(command, **said(mine)))["code"] == "forbidden"
            ender = await open_.session(bearer(stream_token(mine, cancel=True)))
            assert (await ender.ask(command, **said(mine)))["type"] == "ok"
        elif command == "stream.subscribe":
            assert (await reader.ask(command, **said(mine)))["type"] == "stream.subscribed"
        ann = await open_.session(bearer(keyed.ann))
        answer = await ann.ask(command, **said(mine))
        assert answer["type"] != "error" or answer["code"] == "invalid_request", answer  # it is not subscribed


@VERSIONS
async def test_what_is_refused_leaves_nothing_behind(
    keyed: Keyed, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of a creation is looked up where streams are stored; neither there nor here may refusals pile up."""
    claimed: list[str] = []
    claim = Storage.claim

    async def noted(self: Storage, key: str, asked: bytes) -> tuple[Stream | None, str]:
        claimed.append(key)
        return await claim(self, key, asked)

    monkeypatch.setattr(Storage, "claim", noted)
    busy = add_key(keyed.path, "busy", streams=1)
    await keyed.start(engine={"kind": "sqlite", "path": str(tmp_path / "streams.db")})
    mine = await keyed.create(busy, HELD)
    async with opening(keyed, version) as open_:
        reader = await open_.session(bearer(stream_token(mine)))
        assert (await reader.refused("stream.create", key="k", request=REQUEST))["code"] == "forbidden"
        assert claimed == []
        owner = await open_.session(bearer(busy))
        for number in range(5):
            refused = await owner.refused("stream.create", key=str(number), request=REQUEST)
            assert refused["code"] == "too_many_requests"
        sessions = keyed.gateway.gateway._sockets._sessions.values()
        assert not any(session._names for session in sessions)


@VERSIONS
async def test_ways_to_say_who_one_is(keyed: Keyed, version: str) -> None:
    await keyed.start()
    stream = await keyed.create(keyed.ann)
    async with opening(keyed, version) as open_:
        for credential in (keyed.ann, secret(token(sub="ann")), stream_token(stream)):
            for protocol in (JSON, MSGPACK):
                shown = await open_(protocol=f"{subprotocol(credential)}, {protocol}")
                assert (shown.status, shown.headers["sec-websocket-protocol"]) == (101, protocol)
                assert (await shown.session.ask("ping"))["type"] == "ok"
                later = await open_.session(protocol=protocol)
                assert await later.ask("auth", token=credential) == {"type": "ok", "ref": 1}
                assert (await later.ask("ping"))["type"] == "ok"
        for header in ("x-api-key", "x-goog-api-key"):
            assert (await (await open_.session({header: keyed.ann})).ask("ping"))["type"] == "ok"


@VERSIONS
async def test_who_is_not_let_in(keyed: Keyed, version: str) -> None:
    await keyed.start(guard={"failed_logins": 1000})
    stream = await keyed.create(keyed.ann)
    wrong = [
        WRONG,
        stream_token(stream, 1),
        secret(issuer.without_signature()),
        secret(issuer.confused()),
        secret(token(exp=1)),
        "rubbish",
    ]
    async with opening(keyed, version) as open_:
        for credential in wrong:
            assert (await open_(bearer(credential))).status == 401
            assert (await open_(protocol=f"{JSON}, {subprotocol(credential)}")).status == 401
            session = await open_.session()
            refused = await session.refused("auth", token=credential)
            assert (refused["code"], credential in str(refused)) == ("unauthorized", False)
            assert (await session.socket.closed()).code == 4501
        assert (await open_(protocol=subprotocol(keyed.ann))).status == 400  # it would have to be echoed
        for headers in ({}, bearer(keyed.ann)):
            assert (await open_({**headers, "Origin": "https://evil.example"})).status == 403


@VERSIONS
async def test_whoever_says_nothing_is_let_go(keyed: Keyed, version: str) -> None:
    await keyed.start(guard={"auth_timeout": 0.05})
    async with opening(keyed, version) as open_:
        silent, known = await open_.session(), await open_.session(bearer(keyed.ann))
        assert (await silent.socket.closed()).code == 4501
        assert (await known.ask("ping"))["type"] == "ok"


@VERSIONS
async def test_guessing(keyed: Keyed, version: str) -> None:
    await keyed.start(guard={"failed_logins": 2})
    async with opening(keyed, version) as open_:
        for code in ("unauthorized", "unauthorized", "too_many_requests", "too_many_requests"):
            session = await open_.session()
            refused = await session.refused("auth", token=WRONG)
            assert refused["code"] == code
            assert ("retry_after" in refused) == (code == "too_many_requests")
            assert (await session.socket.closed()).code == (4501 if code == "unauthorized" else 4529)


@VERSIONS
async def test_somebody_does_not_become_somebody_else(keyed: Keyed, version: str) -> None:
    await keyed.start()
    async with opening(keyed, version) as open_:
        session = await open_.session(bearer(keyed.ann))
        assert (await session.ask("auth", token=keyed.ann))["type"] == "ok"
        assert (await session.refused("auth", token=keyed.bob))["code"] == "forbidden"
        assert (await session.socket.closed()).code == 4503


@VERSIONS
async def test_a_stranger_may_become_somebody(keyed: Keyed, version: str) -> None:
    await keyed.start(guard={"anonymous": True})
    stream = await keyed.create(keyed.ann)
    async with opening(keyed, version) as open_:
        session = await open_.session()
        assert (await session.refused("stream.subscribe", stream=stream))["code"] == "unknown_stream"
        assert (await session.ask("auth", token=keyed.ann))["type"] == "ok"
        assert (await session.ask("stream.subscribe", stream=stream))["type"] == "stream.subscribed"


@VERSIONS
async def test_sockets_at_once(keyed: Keyed, version: str) -> None:
    key = add_key(keyed.path, "two", sockets=2)
    await keyed.start()
    async with opening(keyed, version) as open_:
        first, second = await open_.session(bearer(key)), await open_.session()
        assert (await second.ask("auth", token=key))["type"] == "ok"
        assert (await open_(bearer(key))).status == 429
        third = await open_.session()
        assert (await third.refused("auth", token=key))["code"] == "too_many_requests"
        assert (await third.socket.closed()).code == 4529
        await first.socket.close()
        await open_.session(bearer(key))


@VERSIONS
async def test_a_revoked_key_closes_its_sockets(keyed: Keyed, version: str) -> None:
    await keyed.start()
    async with opening(keyed, version) as open_:
        bob, ann = await open_.session(bearer(keyed.bob)), await open_.session(bearer(keyed.ann))
        remove_key(keyed.path, "bob")
        keyed.gateway.gateway.reload(keyed.gateway.gateway.config)
        assert (await bob.socket.closed()).code == 4501
        assert (await ann.ask("ping"))["type"] == "ok"
