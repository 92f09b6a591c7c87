"""The embedded demo provider: answers without a network, steered by its model names.

`demo` is a pleasant default. `demo-n200-gap20` gives 200 text deltas, 20 ms apart; `-first500` gives the first
after 500 ms; `-fail50` fails after 50 deltas; `-stall50` goes silent after 50. The parts combine. The text is a
function of the request alone, streamed or not.
"""

import hashlib
import itertools
import random
import re
from collections.abc import Iterator
from typing import Final

import msgspec
import trio

from stream_gateway.upstream.provider import Answer, ProviderFailed, Reply
from stream_protocols.conversation import Conversation, Text
from stream_protocols.dialects.registry import conversation
from stream_protocols.errors import UnknownModel
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    Usage,
    last_usage,
)
from stream_protocols.request import Request

NAME: Final = "demo"
MAX_DELTAS: Final = 100_000
"""Of one answer, all choices together: anybody may ask the demo, and it must not keep the gateway busy."""

MAX_SILENCE: Final = 3600.0
"""Seconds for which a stalled answer is silent, and its stream alive, at the longest."""

_BATCH: Final = 1000  # events between two checkpoints

_NAME = re.compile(r"demo(?:-(?:n|gap|first|fail|stall)\d{1,7})*")
_PART = re.compile(r"-(n|gap|first|fail|stall)(\d+)")

_OPENING: Final = "Hello! I am the demo model of Stream Gateway, and these words are coming to you one at a time. "
_SENTENCES: Final = (
    "Every piece of this answer has a number, so a lost connection costs you nothing.",
    "Cut me off in the middle of a word, come back with the last id you saw, and I go on from there.",
    "A stream is a log, and you are a cursor on it.",
    "Somebody else may be reading this very stream at another pace, and neither of you will notice.",
    "When you are slow, I wait for you; when you leave, I stop, so that nobody pays for unread words.",
    "No word is held back to make a larger packet, and no packet is sent twice.",
    "Point me at a real provider in gateway.toml, and your application will not need another line.",
    "Rivers do not buffer either; they simply arrive.",
)


class Steering(msgspec.Struct, frozen=True):
    """What a demo model's name asks for; times in seconds, counts in deltas, None for "not at all"."""

    deltas: int | None = None
    gap: float = 0.03
    first: float = 0.0
    fail: int | None = None
    stall: int | None = None


def is_demo(model: str) -> bool:
    """Whether a model name is one of the demo provider's."""
    return _NAME.fullmatch(model) is not None


def steering(model: str) -> Steering:
    """Read a demo model's name.

    Raises:
        UnknownModel: it has parts that mean nothing.
    """
    if not is_demo(model):
        raise UnknownModel(
            f"The demo provider has no model {model[:64]!r}; try demo or demo-n200-gap20 (also -first, -fail, -stall).",
            param="model",
        )
    parts = {key: int(value) for key, value in _PART.findall(model)}
    deltas = parts.get("n")
    gap = parts["gap"] / 1000 if "gap" in parts else (0.03 if deltas is None else 0.0)
    return Steering(
        deltas=None if deltas is None else min(deltas, MAX_DELTAS),
        gap=gap,
        first=parts.get("first", 0) / 1000,
        fail=parts.get("fail"),
        stall=parts.get("stall"),
    )


class DemoProvider:
    """Answers out of nothing (see `Provider` and the module)."""

    dialect = None

    async def stream(self, request: Request, model: str, answer: Answer) -> None:
        """Append the answer's records, word by word (see `Provider`)."""
        how = steering(model)
        said = events(conversation(request), how)
        answer.extend([(StreamStarted(answer.source.model, answer.source.created, request.choices), None)])
        await trio.sleep(how.first)
        for number, event in enumerate(said):
            if number == how.stall:
                await trio.sleep(MAX_SILENCE)
            await answer.flowing()
            answer.extend([(event, None)])
            await trio.sleep(how.gap if isinstance(event, TextDelta) else 0)

    async def complete(self, request: Request, model: str) -> Reply:
        """The whole answer after the time that its first word would take (see `Provider`)."""
        how = steering(model)
        await trio.sleep(how.first)
        if how.stall is not None:
            await trio.sleep(MAX_SILENCE)
        answer: list[Event] = []
        for event in events(conversation(request), how):
            if isinstance(event, StreamFailed):
                raise ProviderFailed(event)
            answer.append(event)
            if len(answer) % _BATCH == 0:
                await trio.lowlevel.checkpoint()
        return Reply(events=tuple(answer), usage=last_usage(answer))


def events(asked: Conversation, how: Steering) -> Iterator[Event]:
    """The answer after its beginning: text deltas of all choices in turn, then the endings."""
    deltas = None if how.deltas is None else min(how.deltas, MAX_DELTAS // asked.choices)
    texts = [_words(asked, choice, deltas) for choice in range(asked.choices)]
    count = 0
    for row in itertools.zip_longest(*texts):
        for choice, word in enumerate(row):
            if word is None:
                continue
            if count == how.fail:
                yield StreamFailed("demo_failure", f"The demo model failed after {count} deltas, as its name asks.")
                return
            yield TextDelta(word, choice)
            count += 1
    for choice in range(asked.choices):
        yield ChoiceFinished("stop", choice)
    yield Usage(_input_words(asked), count)
    yield StreamFinished("stop")


def _input_words(asked: Conversation) -> int:
    said = [part.text for message in asked.messages for part in message.parts if isinstance(part, Text)]
    return sum(len(text.split()) for text in (*asked.system, *said))


def _words(asked: Conversation, choice: int, deltas: int | None) -> Iterator[str]:
    """Words with their spaces: the opening and four sentences, or exactly `deltas` words."""
    seed = hashlib.sha256(msgspec.json.encode([asked.system, asked.messages, choice])).digest()
    chance = random.Random(seed)
    sentences = list(_SENTENCES)
    chance.shuffle(sentences)
    if deltas is None:
        yield from re.findall(r"\S+\s*", _OPENING + " ".join(sentences[:4]))
        return
    endless = itertools.cycle(re.findall(r"\S+", " ".join(sentences)))
    for number, word in enumerate(itertools.islice(endless, deltas)):
        yield word if number == 0 else " " + word
