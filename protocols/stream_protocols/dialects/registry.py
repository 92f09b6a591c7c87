"""All dialects, and how a request gets from one to another."""

from typing import Final

from stream_protocols.conversation import Conversation, Untranslatable
from stream_protocols.dialects.anthropic import Anthropic
from stream_protocols.dialects.base import Dialect
from stream_protocols.dialects.gemini import Gemini
from stream_protocols.dialects.openai_chat import OpenAIChat
from stream_protocols.dialects.openai_responses import OpenAIResponses
from stream_protocols.request import Request

DIALECTS: Final[dict[str, Dialect]] = {
    dialect.name: dialect for dialect in (OpenAIChat(), OpenAIResponses(), Anthropic(), Gemini())
}
"""By their names, as they stand in the configuration and in `?dialect=`."""


def conversation(request: Request) -> Conversation:
    """What a request asks, in neutral words (see `Dialect.read`)."""
    return DIALECTS[request.dialect].read(request)


def needs(request: Request) -> frozenset[str]:
    """What a model must be able to do to answer (see `Dialect.needs`)."""
    return DIALECTS[request.dialect].needs(request)


def continued(request: Request, text: str) -> Request:
    """The request for the rest of an answer that began with `text` (see `Dialect.continued`)."""
    return DIALECTS[request.dialect].continued(request, text)


def upstream_body(request: Request, dialect: Dialect, *, model: str, stream: bool) -> bytes:
    """A request for a provider that speaks `dialect`: the client's own body where it speaks the same.

    Args:
        model: the provider's name for the model.
        stream: whether the provider is to stream.

    Raises:
        Untranslatable: the request asks for what one of the two dialects has no words for.
    """
    if request.dialect == dialect.name:
        return dialect.patch(request, model=model, stream=stream)
    asked = conversation(request)
    try:
        return dialect.write(asked, model=model, stream=stream)
    except Untranslatable as error:
        raise _as_asked(error, DIALECTS[request.dialect]) from None


def _as_asked(error: Untranslatable, client: Dialect) -> Untranslatable:
    """An error about a field, under the name by which the client knows the field."""
    name = client.params.get(error.param or "")
    if name is None:
        return error
    return Untranslatable(error.message.replace(f"`{error.param}`", f"`{name}`"), param=name)
