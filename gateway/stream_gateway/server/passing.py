"""Calls of OpenAI's API that are no chat: handed to the model's provider, and its answer handed back.

Nothing is translated here, and nothing streamed. Of the body only `model` is changed: it becomes the provider's name.
"""

from typing import Final

import msgspec

from stream_gateway.guard.quotas import Quotas
from stream_gateway.server.exchange import Exchange
from stream_gateway.server.generations import respond_failure
from stream_gateway.server.vendors import vendor_of
from stream_gateway.upstream.provider import ProviderFailed, RawReply
from stream_gateway.upstream.routing.router import Router
from stream_protocols.dialects import openai_chat
from stream_protocols.dialects.registry import DIALECTS
from stream_protocols.errors import InvalidField, UnsupportedBody
from stream_protocols.request import decode_fields, decode_members, raw

PATHS: Final = (
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/images/edits",
    "/v1/images/generations",
    "/v1/moderations",
    "/v1/rerank",
)
"""What is passed. Some of them OpenAI itself takes as forms only; others that speak its dialect take JSON there."""

SPEAKERS: Final = frozenset({"openai_chat", "openai_responses"})
"""The dialects whose providers have these paths."""


class _Fields(msgspec.Struct):
    model: str
    stream: bool | None = None


class _Usage(msgspec.Struct):
    total_tokens: int


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


class PassingRoutes:
    """A handler for all of `PATHS`."""

    def __init__(self, router: Router, quotas: Quotas) -> None:
        self._router = router
        self._quotas = quotas
        self._dialect = DIALECTS[openai_chat.NAME]

    async def call(self, exchange: Exchange) -> None:
        """Pass one call. A client that leaves ends it at the provider too.

        Raises:
            UnsupportedBody: it is a form.
            InvalidJson, InvalidField: it is no JSON object with a model, or wants a stream.
            UnknownModel: there is no route for the model.
            Untranslatable: no provider of the model speaks OpenAI's dialect.
            TooManyRequests: the principal has used up what they may have.
        """
        kind = exchange.headers.get("content-type", "").lower()
        if kind.startswith(("multipart/", "application/x-www-form-urlencoded")):
            raise UnsupportedBody(
                f"{exchange.path} takes JSON here, not a form; send forms to the provider directly.",
                param="Content-Type",
            )
        body = await exchange.read_body()
        fields = decode_fields(body, _Fields)
        if fields.stream:
            raise InvalidField(
                f"{exchange.path} is not streamed here; leave out `stream`, or use /v1/chat/completions.",
                param="stream",
            )
        provider, model = vendor_of(self._router, fields.model, SPEAKERS, "OpenAI's", "this can be asked")
        members = decode_members(body)
        members["model"] = raw(model)
        bill = self._quotas.generation(exchange.principal, len(body))
        tokens: int | None = 0
        try:
            answer = await provider.call(exchange.path.removeprefix("/v1"), msgspec.json.encode(members))
            tokens = _tokens(answer)
        except ProviderFailed as error:
            await respond_failure(exchange, self._dialect, error.failure)
            return
        finally:
            bill.settle(tokens, 1)
        headers = [] if answer.content_type is None else [("Content-Type", answer.content_type)]
        await exchange.respond(answer.status, headers, answer.body)


def _tokens(answer: RawReply) -> int | None:
    """What it has cost, if the answer says so."""
    if answer.status >= 400:
        return 0
    try:
        usage = msgspec.json.decode(answer.body, type=_Answer).usage
    except msgspec.DecodeError:
        return None
    return None if usage is None else usage.total_tokens
