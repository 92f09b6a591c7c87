"""The gateway inside a FastAPI application: an endpoint of your own, and all of the gateway's below a prefix.

    python examples/fastapi_mount.py          # then open http://127.0.0.1:8000/ask?prompt=Hello

It asks the demo provider. With OPENAI_API_KEY set, say provider="openai" and model="gpt-4o-mini" instead.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import hypercorn.config
import hypercorn.trio
import trio
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from stream_gateway import StreamingGateway
from stream_gateway.asgi import GatewayApp

gateway = StreamingGateway(provider="demo", compression="gzip")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """The gateway runs for as long as the application: connections to the provider are kept between requests."""
    async with gateway:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/ask")
async def ask(request: Request, prompt: str = "Hello") -> StreamingResponse:
    """An answer as server-sent events, in OpenAI's format."""
    stream = gateway.stream(model="demo", messages=[{"role": "user", "content": prompt}])
    stream.accepting(request.headers.get("accept-encoding"))
    await stream.begin()
    return StreamingResponse(stream.bytes(), headers=stream.headers)


app.mount("/ai", GatewayApp.of(gateway))  # /ai/v1/chat/completions, /ai/v1/streams, /ai/v1/connect, …


def main() -> None:
    """Serve until interrupted."""
    config = hypercorn.config.Config()
    config.bind = [sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000"]
    trio.run(hypercorn.trio.serve, app, config)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
