"""Streams belong to whoever created them; to others they are as unknown as those that never were."""

import pytest
import trio

from stream_gateway.guard.principal import ANONYMOUS, LOCAL, NOBODY, Grant, Principal
from stream_gateway.streams.stream import Stream
from stream_protocols.errors import Forbidden, UnknownStream
from stream_protocols.events import StreamCancelled, StreamFinished, StreamStarted
from tests.gateway.streams.rig import Rig, settle

pytestmark = pytest.mark.deadline(10_000)

ANN = Principal(id="key:ann", name="Ann")
BOB = Principal(id="key:bob", name="Bob")


def of(rig: Rig, owner: Principal, key: str | None = None) -> Stream:
    return rig.registry.create("demo", owner=owner.id, dialect=None, key=key, asked=b"digest")


def holder(stream: Stream, *, cancel: bool = False) -> Principal:
    return Principal(id=f"token:{stream.id}", name="token", grant=Grant(stream.id, cancel))


async def test_who_finds_a_stream(rig: Rig) -> None:
    stream, other = of(rig, ANN), of(rig, ANN)
    for principal in (ANN, LOCAL, holder(stream)):
        assert rig.registry.get(stream.id, principal) is stream
    for stranger in (BOB, ANONYMOUS, NOBODY, holder(other)):
        with pytest.raises(UnknownStream) as theirs:
            rig.registry.get(stream.id, stranger)
        with pytest.raises(UnknownStream) as unknown:
            rig.registry.get("x" * len(stream.id), stranger)
        assert theirs.value.message == unknown.value.message.replace("x" * len(stream.id), stream.id)


async def test_who_may_end_it(rig: Rig) -> None:
    stream = of(rig, ANN)
    for principal in (ANN, LOCAL, holder(stream, cancel=True)):
        assert rig.registry.get(stream.id, principal, cancel=True) is stream
    with pytest.raises(Forbidden):
        rig.registry.get(stream.id, holder(stream), cancel=True)
    with pytest.raises(UnknownStream):
        rig.registry.get(stream.id, BOB, cancel=True)


async def test_names_are_their_owners_own(rig: Rig) -> None:
    mine, theirs = of(rig, ANN, "key"), of(rig, BOB, "key")
    mine.known_as("resp_1")
    theirs.known_as("resp_1")
    assert rig.registry.find("key", b"digest", ANN) is mine
    assert rig.registry.find("key", b"digest", BOB) is theirs
    assert rig.registry.find("key", b"other", ANONYMOUS) is None
    assert rig.registry.known_as("resp_1", ANN) is mine
    assert rig.registry.known_as("resp_1", BOB) is theirs
    assert rig.registry.known_as("resp_1", ANONYMOUS) is None


async def test_who_is_not_welcome_any_more_leaves_nothing_behind(rig: Rig) -> None:
    running, ended, mine = of(rig, BOB), of(rig, BOB), of(rig, ANN)
    ended.extend([(StreamStarted("demo"), None), (StreamFinished("stop"), None)])

    async def generate(stream: Stream) -> None:
        await trio.sleep_forever()

    rig.registry.start(running, generate)
    await settle()
    rig.registry.banish(lambda owner: owner == ANN.id)
    await settle()
    assert running.terminal == StreamCancelled("revoked")
    assert rig.registry.get(mine.id, ANN).terminal is None
    with pytest.raises(UnknownStream):
        rig.registry.get(ended.id, BOB)
