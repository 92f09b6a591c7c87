"""A web server that is no gateway: it gives the same answer to every request."""

from __future__ import annotations

import json
from typing import Any

import trio

from tests.doubles.http_requests import Inbox, read_request


def answer(status: str, body: bytes, **headers: str) -> bytes:
    """A whole response."""
    fields = {"content-length": str(len(body)), **{name.replace("_", "-"): text for name, text in headers.items()}}
    head = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def error(status: str, code: str, message: str, **headers: str) -> bytes:
    """A refusal in the gateway's shape."""
    fields: dict[str, Any] = {"type": "x", "code": code, "message": message, "param": None}
    return answer(status, json.dumps({"error": fields}).encode(), content_type="application/json", **headers)


class WebServer:
    """Serves on a free loopback port.

    Attributes:
        answers: the answers to the first requests; the last one to all others.
        requests: what was asked, as `METHOD /path`.
        headers: of the requests.
    """

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        inbox = Inbox(stream)
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(inbox.pump)
            while (request := await read_request(inbox)) is not None:
                self.requests.append(f"{request.method} {request.target}")
                self.headers.append(dict(request.headers))
                await stream.send_all(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
            nursery.cancel_scope.cancel()
