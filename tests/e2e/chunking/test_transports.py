"""Every strategy over every transport: the same text, and no cursor from which something is lost or told twice."""

from __future__ import annotations

import itertools

import pytest

from tests.doubles.gate import Gate
from tests.doubles.openai_script import Script
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.pieces import STRATEGIES, TRANSPORTS, in_order, text
from tests.doubles.sdk import client, text_of, unfinished_generators
from tests.doubles.served_gateway import ServedGateway

pytestmark = unfinished_generators

TEXT = (
    "Dr. Ada said: wait… 今日は。元気？ No. 5 is fine!\n\n```python\nx = [1, 2]\n```\n"
    'Then {"key": "a \\"quoted\\" value", "n": 12.5} ended, e.g. with 👩‍👩‍👧 and é. Bye\n'
)
DELTAS = tuple(TEXT[start : start + 4] for start in range(0, len(TEXT), 4))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_the_text_is_the_same(
    upstream: OpenAIServer, default: ServedGateway, strategy: str, transport: str
) -> None:
    """Read while it is being said, and once more when all of it is there."""
    upstream.scripts["m"] = Script(deltas=DELTAS, gate=(gate := Gate()))
    stream = (await default.create("m", lease="finish"))["id"]
    gate.open()
    for _ in range(2):
        pieces = await TRANSPORTS[transport](default, stream, strategy, None, None)
        assert text(pieces) == TEXT
        assert in_order(pieces)


@pytest.mark.deadline(60)
@pytest.mark.parametrize("first", STRATEGIES)
async def test_cut_anywhere_and_resumed_with_another_strategy_and_transport(
    upstream: OpenAIServer, default: ServedGateway, first: str
) -> None:
    """After each of its first pieces, by every transport in turn, into another one: nothing lost, nothing twice."""
    upstream.scripts["m"] = Script(deltas=DELTAS)
    stream = (await default.create("m", lease="finish"))["id"]
    transports = itertools.cycle(itertools.permutations(TRANSPORTS, 2))
    others = itertools.cycle(STRATEGIES)
    for cut in range(1, 13):
        before, after = next(transports)
        seen = await TRANSPORTS[before](default, stream, first, None, cut)
        if sum(bool(piece) for _, piece in seen) < cut:
            assert text(seen) == TEXT, "it was not cut: there are no more pieces"
            break
        rest = await TRANSPORTS[after](default, stream, next(others), seen[-1][0], None)
        assert text(seen + rest) == TEXT, (cut, before, after)
        assert in_order(seen + rest), (cut, before, after)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_the_sdk_gets_the_text(upstream: OpenAIServer, default: ServedGateway, strategy: str) -> None:
    upstream.scripts["m"] = Script(deltas=DELTAS)
    messages = [{"role": "user", "content": "hello"}]
    async with client(f"{default.base_url}/v1") as sdk:
        stream = await sdk.chat.completions.create(
            model="m", messages=messages, stream=True, extra_headers={"Stream-Chunking": strategy}
        )
        chunks = [chunk async for chunk in stream]
    assert text_of(chunks) == TEXT
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.id for chunk in chunks} == {chunks[0].id}, "said in the vendor's own frames, merged or not"
