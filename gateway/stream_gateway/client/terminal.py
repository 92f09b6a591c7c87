"""`stream-gateway chat` and `stream-gateway tail`: the client at a terminal."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import trio
import typer

from stream_gateway.client.client import Client
from stream_gateway.client.connections import Status
from stream_gateway.client.errors import ClientError
from stream_gateway.client.stream import EventStream
from stream_protocols.events import Notice, StreamCancelled, StreamFailed, TextDelta

TOKEN_VARIABLE: Final = "STREAM_GATEWAY_TOKEN"
"""There is no option for the token itself: anybody on the machine can read command lines."""

Url = Annotated[str, typer.Option("--url", "-u", envvar="STREAM_GATEWAY_URL", help="The gateway's address.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help=f"A file with the key or token to show. Without it, the environment variable {TOKEN_VARIABLE}.",
    ),
]
Model = Annotated[str, typer.Option("--model", "-m", help="The model's name.")]
Prompt = Annotated[list[str] | None, typer.Argument(help="What to say; without it, a conversation.")]
After = Annotated[str | None, typer.Option("--after", help="A cursor: only what comes after it.")]

DEFAULT_URL = "http://127.0.0.1:8080"


def chat(prompt: Prompt = None, url: Url = DEFAULT_URL, model: Model = "demo", token_file: TokenFile = None) -> None:
    """Talk to a model; its text appears as it comes, through lost connections."""
    token = _token(token_file)
    _run(lambda: _chat(url, token, model, " ".join(prompt or [])))


def tail(
    stream: Annotated[str, typer.Argument(help="The stream's id.")],
    url: Url = DEFAULT_URL,
    after: After = None,
    events: Annotated[
        bool, typer.Option("--events", help="Every event as a line of JSON, instead of the text.")
    ] = False,
    token_file: TokenFile = None,
) -> None:
    """Follow a stream, from its beginning or from after a cursor, until it ends."""
    token = _token(token_file)
    _run(lambda: _tail(url, token, stream, after, events))


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip() or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        typer.echo(f"stream-gateway: {file}: cannot be read: {error}.", err=True)
        raise typer.Exit(2) from None


def _run(main: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    try:
        whole = trio.run(main)
    except ClientError as error:
        typer.echo(f"stream-gateway: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo(err=True)
        raise typer.Exit(130) from None
    if not whole:
        raise typer.Exit(1)


async def _chat(url: str, token: str | None, model: str, prompt: str) -> bool:
    messages: list[dict[str, str]] = []
    whole = True
    async with Client(url, token=token, on_status=_Indicator()) as client:
        async for said in _turns(prompt):
            messages.append({"role": "user", "content": said})
            text, whole = await _show(client.stream(model=model, messages=messages))
            messages.append({"role": "assistant", "content": text})
    return whole


async def _turns(prompt: str) -> AsyncIterator[str]:
    """What is said: the prompt, or else line by line what is typed, until there is no more."""
    if prompt:
        yield prompt
        return
    while True:
        if sys.stdin.isatty():
            typer.echo("> ", nl=False, err=True)
        line = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        if not line:
            return
        if line.strip():
            yield line.strip()


async def _tail(url: str, token: str | None, name: str, after: str | None, events: bool) -> bool:
    async with Client(url, token=token, on_status=_Indicator()) as client:
        stream = client.attach(name, after=after)
        if not events:
            return (await _show(stream))[1]
        async for event in stream:
            line = msgspec.json.encode({"id": stream.cursor, "event": event})
            typer.echo(line.decode())
    return True


async def _show(stream: EventStream) -> tuple[str, bool]:
    """Print a stream's text as it comes; return it, and whether it is whole."""
    text, whole = "", True
    async for event in stream:
        if isinstance(event, TextDelta) and not event.choice:
            text += event.text
            typer.echo(event.text, nl=False)
            sys.stdout.flush()
        elif isinstance(event, StreamFailed | StreamCancelled):
            whole = False
            said = event.message if isinstance(event, StreamFailed) else f"cancelled ({event.reason})"
            typer.echo(f"\n[{said}]", nl=False, err=True)
        elif isinstance(event, Notice):
            whole = whole and event.code != "gap"
            typer.echo(f"\n[{event.message}]", err=True)
    typer.echo()
    return text, whole


class _Indicator:
    """Says on standard error what becomes of connections, but not that all is well from the start."""

    def __init__(self) -> None:
        self._lost = False

    def __call__(self, status: Status) -> None:
        if status.kind == "lost":
            self._lost = True
            typer.secho(f" [{status.reason}; trying again in {status.wait:.1f} s] ", nl=False, err=True, dim=True)
        elif self._lost:
            self._lost = False
            typer.secho(f"[back by {status.transport}] ", nl=False, err=True, dim=True)
