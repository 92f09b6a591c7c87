"""What an answer has said so far, as this dialect shows it: output items, their parts, and the response around them."""

from typing import Any, Final, Literal

import msgspec

from stream_protocols.dialects.base import Source
from stream_protocols.dialects.openai_responses.shapes import INCOMPLETE, usage_json
from stream_protocols.events import Usage

PIECE_COST: Final = 64
"""What a piece of text counts for beside its characters; it is the log's own string, or costs about that."""

ITEM_COST: Final = 1024
"""What an item or a part counts for beside what it says."""

Kind = Literal["output_text", "refusal", "summary_text", "reasoning_text"]

_TEMPLATE: Final[dict[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""A request's settings where they are not known: clients rely on the members."""


class Part:
    """A text inside an item. `number` counts among the item's parts of its kind's list."""

    __slots__ = ("kind", "number", "open", "pieces")

    def __init__(self, kind: Kind, number: int) -> None:
        self.kind = kind
        self.number = number
        self.open = True
        self.pieces: list[str] = []

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces)

    def json(self, text: str | None = None) -> dict[str, Any]:
        """As it stands in an item; with `text` instead of its own, if given."""
        said = self.text if text is None else text
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": said}
        if self.kind == "output_text":
            return {"type": "output_text", "annotations": [], "logprobs": [], "text": said}
        return {"type": self.kind, "text": said}


class Item:
    """A message, a reasoning item or a function call; of others, `told` is all that is known.

    Attributes:
        parts: by their lists (whether it is the summary) and their numbers in them.
        last: the newest part; `newest`: the highest number in each list.
        told: the vendor's own JSON of it, once it has said it whole.
    """

    __slots__ = ("arguments", "call_id", "id", "index", "kind", "last", "name", "newest", "open", "parts", "told")

    def __init__(self, index: int, kind: str, id: str, call_id: str = "", name: str = "") -> None:
        self.index = index
        self.kind = kind
        self.id = id
        self.call_id = call_id
        self.name = name
        self.open = True
        self.parts: dict[tuple[bool, int], Part] = {}
        self.last: Part | None = None
        self.newest = {True: -1, False: -1}
        self.arguments: list[str] = []
        self.told: msgspec.Raw | None = None

    @property
    def current(self) -> Part | None:
        """The part that is being told."""
        return self.last if self.last is not None and self.last.open else None

    def json(self, *, ended: bool = True, empty: bool = False) -> Any:
        """As it stands in `output`. `ended`: what is open now was cut off; `empty`: as it begins."""
        if self.told is not None:
            return self.told
        status = "in_progress" if empty or (self.open and not ended) else "incomplete" if self.open else "completed"
        parts = [] if empty else list(self.parts.values())
        if self.kind == "function_call":
            arguments = "" if empty else "".join(self.arguments)
            call = {"call_id": self.call_id, "name": self.name, "arguments": arguments}
            return {"id": self.id, "type": "function_call", "status": status, **call}
        if self.kind == "message":
            content = [part.json() for part in parts]
            return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}
        if self.kind != "reasoning":
            return {"id": self.id, "type": self.kind, "status": status}
        reasoning = {"id": self.id, "type": "reasoning", "summary": [p.json() for p in parts if is_summary(p.kind)]}
        content = [part.json() for part in parts if not is_summary(part.kind)]
        return {**reasoning, "content": content} if content else reasoning


class Answer:
    """An answer as it grows.

    Attributes:
        head: the vendor's own response, as it began, where the vendor speaks this dialect.
        whole: the vendor's own response, as it ended.
        begun: whether its beginning was told.
        status, reason, error: how it stands: the status, why it is incomplete, what went wrong.
        current: the message or reasoning item that is being told.
        calls: the function calls, by their number among the calls.
        kept: what all this counts for in memory.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._items: dict[int, Item] = {}
        self._newest = -1
        self.head: dict[str, msgspec.Raw] | None = None
        self.whole: msgspec.Raw | None = None
        self.begun = False
        self.status = "in_progress"
        self.reason = "stop"
        self.error: dict[str, Any] | None = None
        self.usage: Usage | None = None
        self.current: Item | None = None
        self.calls: dict[int, Item] = {}
        self.kept = 0

    @property
    def open_items(self) -> list[Item]:
        """The items that were not told whole yet, in their order."""
        return [item for _, item in sorted(self._items.items()) if item.open]

    def item(self, index: int) -> Item | None:
        """The item at a place in the output."""
        return self._items.get(index)

    def add(self, kind: str, *, index: int | None = None, id: str = "", call_id: str = "", name: str = "") -> Item:
        """A new item; after all others and with an id made for it, unless a vendor gave it its own."""
        if index is None:
            index = self._newest + 1
        self._newest = max(self._newest, index)
        prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc"}.get(kind, "item")
        item = Item(index, kind, id or f"{prefix}_{self._source.stream}_{index}", call_id, name)
        if kind == "function_call" and not call_id:
            item.call_id = f"call_{self._source.stream}_{index}"
        self._items[index] = item
        self.kept += ITEM_COST
        if kind in ("message", "reasoning"):
            self.current = item
        return item

    def add_part(self, item: Item, kind: Kind, number: int | None = None) -> Part:
        """A new part of an item; the next one of its list, unless it has a number."""
        summary = is_summary(kind)
        if number is None:
            number = item.newest[summary] + 1
        item.newest[summary] = max(item.newest[summary], number)
        item.last = item.parts[summary, number] = Part(kind, number)
        self.kept += ITEM_COST
        return item.last

    def keep(self, pieces: list[str], text: str) -> None:
        """Add to a text of an item."""
        pieces.append(text)
        self.kept += len(text) + PIECE_COST

    def forget(self) -> None:
        """Drop all that was kept; nothing can be told from it any more."""
        self._items.clear()
        self.calls.clear()
        self.current = None
        self.kept = 0

    def response(self) -> Any:
        """The response as it is now."""
        if self.whole is not None:
            return self.whole
        ended = self.status != "in_progress"
        reason = INCOMPLETE.get(self.reason, INCOMPLETE["length"])
        return {
            **(self._own_head() if self.head is None else self.head),
            "status": self.status if self.begun or ended else "queued",
            "error": self.error,
            "incomplete_details": {"reason": reason} if self.status == "incomplete" else None,
            "output": [item.json(ended=ended) for _, item in sorted(self._items.items())],
            "usage": usage_json(self.usage),
        }

    def _own_head(self) -> dict[str, Any]:
        source = self._source
        settings: dict[str, Any] = msgspec.json.decode(source.echo, type=dict[str, msgspec.Raw]) if source.echo else {}
        return {
            "id": response_id(source.stream),
            "object": "response",
            "created_at": source.created,
            "model": source.model,
            **_TEMPLATE,
            **settings,
        }


def response_id(stream: str) -> str:
    """The id of a response that the gateway makes up: the stream's, marked as OpenAI marks them."""
    return f"resp_{stream}"


def is_summary(kind: Kind) -> bool:
    """Whether a part stands in its item's `summary`; all others stand in `content`."""
    return kind == "summary_text"
