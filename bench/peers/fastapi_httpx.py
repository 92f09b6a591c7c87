"""The proxy that most teams write first: FastAPI in front, httpx behind."""
# mypy: ignore-errors

import contextlib
import os

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from starlette.background import BackgroundTask

URL = os.environ["UPSTREAM"] + "/chat/completions"


@contextlib.asynccontextmanager
async def lifespan(app):
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=1000)
    async with httpx.AsyncClient(limits=limits, timeout=None, trust_env=False) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/chat/completions")
async def chat(request: Request):
    client = app.state.client
    outgoing = client.build_request(
        "POST", URL, content=await request.body(), headers={"content-type": "application/json"}
    )
    reply = await client.send(outgoing, stream=True)
    kind = reply.headers["content-type"]
    if kind.startswith("text/event-stream"):
        return StreamingResponse(reply.aiter_raw(), media_type=kind, background=BackgroundTask(reply.aclose))
    body = await reply.aread()
    await reply.aclose()
    return Response(body, reply.status_code, media_type=kind)
