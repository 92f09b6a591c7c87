"""The data plane's paths: what is answered, by whom, and in which dialect its errors are told."""

from stream_gateway.guard.guard import Guard
from stream_gateway.server import dictionaries
from stream_gateway.server.gemini import GeminiRoutes
from stream_gateway.server.generations import GenerationRoutes
from stream_gateway.server.grants import GrantRoutes
from stream_gateway.server.keepalive import Keepalive
from stream_gateway.server.models import ModelRoutes
from stream_gateway.server.pages import Pages
from stream_gateway.server.passing import PATHS, PassingRoutes
from stream_gateway.server.responses import ResponseRoutes
from stream_gateway.server.routes import Admits, Row
from stream_gateway.server.sockets.service import SocketService
from stream_gateway.server.streams import StreamRoutes
from stream_gateway.server.tokens import TokenRoutes
from stream_gateway.streams.generations import Generations
from stream_gateway.streams.registry import Registry
from stream_gateway.upstream.routing.router import Router
from stream_protocols.dialects import anthropic, gemini, openai_chat, openai_responses
from stream_protocols.dialects.registry import DIALECTS


def table(
    registry: Registry,
    generations: Generations,
    router: Router,
    sockets: SocketService,
    keepalive: Keepalive,
    guard: Guard,
) -> list[Row]:
    """Every path, the more special ones first."""
    shared = registry, generations, keepalive
    chat = GenerationRoutes(DIALECTS[openai_chat.NAME], *shared)
    messages = GenerationRoutes(DIALECTS[anthropic.NAME], *shared)
    passing = PassingRoutes(router, guard.quotas)
    return [
        Row("/v1/chat/completions", {"POST": chat.create}, openai_chat.NAME),
        *_responses(ResponseRoutes(DIALECTS[openai_responses.NAME], *shared)),
        Row("/v1/messages", {"POST": messages.create}, anthropic.NAME),
        Row("/v1/messages/count_tokens", {"POST": TokenRoutes(router).count}, anthropic.NAME),
        Row(
            "/v1(?:beta|alpha)?/models/(.+):([A-Za-z]+)",
            {"POST": GeminiRoutes(registry, generations, router, keepalive).call},
            gemini.NAME,
        ),
        *(Row(path, {"POST": passing.call}, openai_chat.NAME) for path in PATHS),
        Row("/v1/models", {"GET": ModelRoutes(generations).list}),
        Row("/v1/connect", {"GET": sockets.connect}, admits=Admits.LATER),
        *_streams(StreamRoutes(*shared), GrantRoutes(registry, guard)),
        Row("/v1/dictionaries/current", {"GET": dictionaries.current}, admits=Admits.EVERYBODY),
        Row("/v1/dictionaries/([^/]+)", {"GET": dictionaries.show}, admits=Admits.EVERYBODY),
    ]


def demo_page() -> list[Row]:
    """The chat page for trying things out."""
    pages = Pages("demo.html")
    return [
        Row("/demo", {"GET": pages.page}, admits=Admits.EVERYBODY),
        Row("/demo/([^/]+)", {"GET": pages.file}, admits=Admits.EVERYBODY),
    ]


def _responses(responses: ResponseRoutes) -> list[Row]:
    one = "/v1/responses/([^/]+)"
    return [
        Row("/v1/responses", {"POST": responses.create}, openai_responses.NAME),
        Row(one, {"GET": responses.retrieve, "DELETE": responses.delete}, openai_responses.NAME),
        Row(one + "/cancel", {"POST": responses.cancel}, openai_responses.NAME),
    ]


def _streams(streams: StreamRoutes, grants: GrantRoutes) -> list[Row]:
    one = "/v1/streams/([^/]+)"
    return [
        Row("/v1/streams", {"POST": streams.create}),
        Row(one, {"GET": streams.show, "DELETE": streams.cancel}, admits=Admits.HOLDERS),
        Row(one + "/events", {"GET": streams.events}, admits=Admits.HOLDERS_BY_URL),
        Row(one + "/tokens", {"POST": grants.create}),
    ]
