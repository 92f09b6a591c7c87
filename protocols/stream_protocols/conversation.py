"""A conversation in neutral words: what a request asks of a model, whatever vendor's JSON it stood in.

It is made only when a client and a provider speak different dialects; between equals the client's own bytes go
through. Rules that the classes alone do not say:

- Instructions (OpenAI's `system` and `developer` messages, Anthropic's `system`, Gemini's `systemInstruction`) stand in
  `system`, in their order, and not among the messages.
- Messages alternate as the client wrote them; a dialect that insists on strict turns joins neighbours itself.
- A tool's result names the call it answers, and stands in a user's message.
- A field that is None was not said, and is not said to the provider either.
- What a dialect cannot say it refuses (`Untranslatable`) when the answer would be another one without it, and drops
  when it would not; docs/dialects.md has the table.
"""

from typing import Any, Literal, TypeAlias

import msgspec

from stream_protocols.errors import InvalidField


class Untranslatable(InvalidField):
    """A request that the provider's dialect has no words for; `param` is the client's field."""

    code = "untranslatable_field"


class Text(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text of either side."""

    text: str


class Image(msgspec.Struct, frozen=True, tag_field="type", tag="image"):
    """A picture: by `url`, or as base64 `data` of `media_type`. `detail` is OpenAI's: low, high, auto."""

    url: str = ""
    data: str = ""
    media_type: str = ""
    detail: str = ""


class Reasoning(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning"):
    """What a model showed of its reasoning; `signature` is by which its vendor knows it again."""

    text: str
    signature: str = ""


class ToolCall(msgspec.Struct, frozen=True, tag_field="type", tag="tool_call"):
    """The model asks for a tool; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class ToolResult(msgspec.Struct, frozen=True, tag_field="type", tag="tool_result"):
    """What came of tool call `id`; `name` is the tool's, as far as known."""

    id: str
    content: tuple[Text | Image, ...]
    name: str = ""
    failed: bool = False


Part: TypeAlias = Text | Image | Reasoning | ToolCall | ToolResult


class Message(msgspec.Struct, frozen=True):
    """One turn."""

    role: Literal["user", "assistant"]
    parts: tuple[Part, ...]


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedTool(msgspec.Struct, frozen=True):
    """The model has to call this tool."""

    name: str


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | NamedTool


class Format(msgspec.Struct, frozen=True):
    """The answer is to be JSON: any, or of a schema."""

    schema: dict[str, Any] | None = None
    name: str = "answer"
    strict: bool | None = None


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """All that is asked of a model.

    Attributes:
        effort: how much it should reason: "none", "minimal", "low", "medium", "high".
        reasoning_tokens: at most so many tokens of reasoning, where a client counts them.
        user: who asks, as the application calls them.
    """

    system: tuple[str, ...] = ()
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    choices: int = 1
    format: Format | None = None
    effort: str | None = None
    reasoning_tokens: int | None = None
    user: str | None = None
