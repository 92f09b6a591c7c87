"""The quickest relay that is usual in Python: aiohttp on both sides, on uvloop."""
# mypy: ignore-errors

import asyncio
import os

import aiohttp
import uvloop
from aiohttp import web

URL = os.environ["UPSTREAM"] + "/chat/completions"


async def client_context(app):
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as client:
        app["client"] = client
        yield


async def chat(request):
    body = await request.read()
    headers = {"content-type": "application/json"}
    async with request.app["client"].post(URL, data=body, headers=headers) as reply:
        if not reply.content_type.startswith("text/event-stream"):
            return web.Response(body=await reply.read(), status=reply.status, content_type=reply.content_type)
        response = web.StreamResponse(status=reply.status, headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        async for chunk in reply.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


def main():
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    # Without handler_cancellation aiohttp lets the provider go on after the client has left.
    app = web.Application(handler_args={"handler_cancellation": True})
    app.cleanup_ctx.append(client_context)
    app.router.add_post("/v1/chat/completions", chat)
    port = int(os.environ["PORT"])
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, handler_cancellation=True)


main()
