"""Long polls: what there is, at once; or, when there is nothing, what comes, as soon as it comes."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from stream_gateway.server.polling import MAX_WAIT, wait_of
from stream_protocols.errors import InvalidField
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import STREAMS, GatewayClient, refused
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until

Answer = dict[str, Any]


async def poll(client: GatewayClient, stream: str, after: str | None = None, wait: float = 10) -> Answer:
    query = f"wait={wait}" + (f"&after={after}" if after else "")
    response = await client.get(f"{STREAMS}/{stream}/events?{query}")
    assert response.status == 200, (response.head, await response.read())
    assert response.head["content-type"] == "application/json"
    assert response.head["stream-id"] == stream
    answer: Answer = await response.json()
    assert set(answer) == {"events", "cursor", "ended", "gap"}
    return answer


def text(*answers: Answer) -> str:
    events = [item["event"] for answer in answers for item in answer["events"]]
    return "".join(event["text"] for event in events if event["type"] == "text.delta")


async def test_a_stream_that_has_ended_is_one_answer(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(20))
    stream = (await gateway.create("m"))["id"]
    await until(lambda: gateway.now.running == 0)
    answer = await poll(gateway, stream)
    assert text(answer) == script.text
    assert answer["ended"] is True
    assert answer["gap"] is None
    assert answer["events"][-1]["event"]["type"] == "stream.finished"
    assert answer["events"][-1]["id"] == answer["cursor"] == (await gateway.status(stream))["cursor"]
    again = await poll(gateway, stream, answer["cursor"])
    assert again == {"events": [], "cursor": answer["cursor"], "ended": True, "gap": None}


async def test_poll_after_poll_gives_the_stream(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=(gate := Gate()))
    stream = (await gateway.create("m"))["id"]
    answers: list[Answer] = []
    while not answers or not answers[-1]["ended"]:
        gate.release(3)
        answers.append(await poll(gateway, stream, answers[-1]["cursor"] if answers else None))
    assert text(*answers) == script.text
    assert len(answers) > 3


async def test_a_poll_waits_for_news_and_no_longer(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate()))
    stream = (await gateway.create("m"))["id"]
    begun = await poll(gateway, stream)
    answers: list[Answer] = []

    async def ask() -> None:
        answers.append(await poll(gateway, stream, begun["cursor"]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await until(lambda: gateway.now.subscriptions == 1)
        assert answers == []
        gate.release()
    assert text(*answers) == "w0 "
    assert answers[0]["ended"] is False


async def test_a_wait_that_brings_nothing_is_an_empty_answer(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(gate=Gate())
    stream = (await gateway.create("m"))["id"]
    cursor = (await poll(gateway, stream))["cursor"]
    for wait in (0, 0.01):
        nothing = await poll(gateway, stream, cursor, wait)
        assert (nothing["events"], nothing["ended"], nothing["gap"]) == ([], False, None)
        cursor = nothing["cursor"]  # a vendor's frame without meaning moves it


async def test_a_poll_that_waits_keeps_the_lease_and_one_that_left_does_not(
    upstream: OpenAIServer, gateway: ServedGateway
) -> None:
    upstream.scripts["m"] = Script(gate=Gate())
    stream = (await gateway.create("m", lease=1))["id"]
    cursor = (await poll(gateway, stream))["cursor"]
    assert (await poll(gateway, stream, cursor, wait=1.5))["ended"] is False
    connection = await gateway.connect()
    target = f"{STREAMS}/{stream}/events?wait=50&after={cursor}"
    await connection.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await until(lambda: gateway.now.subscriptions == 1)
    await connection.aclose()
    await until(lambda: gateway.now.running == 0)
    answer = await poll(gateway, stream, cursor)
    assert answer["events"][-1]["event"] == {"type": "stream.cancelled", "reason": "lease"}


async def test_a_gap_is_told(serve: Serve, upstream: OpenAIServer) -> None:
    gateway = await serve(streams={"retain_bytes": 4000})
    upstream.scripts["m"] = Script(deltas=words(100), gate=(gate := Gate()))
    stream = (await gateway.create("m"))["id"]
    begun = await poll(gateway, stream)
    gate.open()
    await until(lambda: gateway.now.running == 0)
    answer = await poll(gateway, stream, begun["cursor"])
    gap = answer["gap"]
    assert gap["reason"] == "retention"
    first = int(answer["events"][0]["id"].rsplit(".", 1)[1])
    assert first == gap["resume_seq"] + 1
    assert gap["missed"] == gap["resume_seq"] - int(begun["cursor"].rsplit(".", 1)[1])


async def test_a_long_stream_is_several_answers(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=["x" * 5000] * 200)
    stream = (await gateway.create("m"))["id"]
    await until(lambda: gateway.now.running == 0)
    answers = [await poll(gateway, stream)]
    while not answers[-1]["ended"]:
        answers.append(await poll(gateway, stream, answers[-1]["cursor"]))
    assert len(answers) > 2
    assert text(*answers) == script.text


@pytest.mark.parametrize("wait", ["", "x", "-1", "nan", "1s"])
def test_what_is_no_time(wait: str) -> None:
    with pytest.raises(InvalidField, match="`wait` must be a number of seconds"):
        wait_of(wait)


def test_a_wait_is_bounded() -> None:
    assert wait_of("1e9") == wait_of("inf") == MAX_WAIT
    assert wait_of("0") == 0


async def test_bad_polls(gateway: ServedGateway) -> None:
    stream = (await gateway.create("demo-n3-gap0"))["id"]
    at = f"{STREAMS}/{stream}/events"
    assert (await refused(await gateway.get(f"{at}?wait=soon"), 400))["param"] == "wait"
    assert (await refused(await gateway.get(f"{at}?wait=1&dialect=openai_chat"), 400))["param"] == "dialect"
    assert (await refused(await gateway.get(f"{at}?wait=1&after=x"), 400))["code"] == "invalid_cursor"
    await refused(await gateway.get(f"{STREAMS}/none/events?wait=1"), 404)


async def test_head_does_not_wait(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(gate=Gate())
    stream = (await gateway.create("m"))["id"]
    cursor = (await poll(gateway, stream))["cursor"]
    response = await gateway.request("HEAD", f"{STREAMS}/{stream}/events?wait=50&after={cursor}")
    assert response.status == 200


async def test_a_poll_reads_what_a_chunk_was_cut_from(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """A cursor inside an event is good here, too."""
    upstream.scripts["m"] = script = Script(deltas=("abcdef", "ghi"))
    stream = (await gateway.create("m"))["id"]
    await until(lambda: gateway.now.running == 0)
    whole = await poll(gateway, stream)
    first = next(item["id"] for item in whole["events"] if item["event"]["type"] == "text.delta")
    stem, number = first.rsplit(".", 1)
    before = f"{stem}.{int(number) - 1}"
    assert text(await poll(gateway, stream, f"{before}.2")) == script.text[2:]
