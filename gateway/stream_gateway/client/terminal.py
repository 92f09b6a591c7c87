"""`stream-gateway chat` and `stream-gateway tail`: the client at a terminal."""

import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import trio
import typer

from stream_gateway.client.client import Client
from stream_gateway.client.connections import Status
from stream_gateway.client.errors import ClientError, Unauthorized
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

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a model must not say to a terminal, which would obey it."""

DEFAULT_URL: Final = "http://127.0.0.1:8080"


def chat(prompt: Prompt = None, url: Url = DEFAULT_URL, model: Model = "demo", token_file: TokenFile = None) -> None:
    """Talk to a model; its text appears as it comes, through lost connections."""
    partner = f"{model} at {url}"
    _run(url, _token(token_file), lambda client: _chat(client, model, " ".join(prompt or []), partner))


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
    _run(url, _token(token_file), lambda client: _tail(client.attach(stream, after=after), events))


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip() or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        typer.echo(f"stream-gateway: {file}: cannot be read: {error}.", err=True)
        raise typer.Exit(2) from None


def _run(url: str, token: str | None, main: Callable[[Client], Coroutine[Any, Any, bool]]) -> None:
    """Exit with 0 if what came is whole, 1 if it is not, 2 if nothing could come, 130 if somebody interrupted."""
    indicator = _Indicator()

    async def connected() -> bool:
        async with Client(url, token=token, on_status=indicator) as client:
            return await main(client)

    try:
        # Else Ctrl-C ends whichever task runs at that moment, perhaps one of the client's own.
        whole = trio.run(connected, restrict_keyboard_interrupt_to_checkpoints=True)
    except ClientError as error:
        indicator.end_line()
        hint = f" Set {TOKEN_VARIABLE}, or give --token-file." if isinstance(error, Unauthorized) and not token else ""
        typer.echo(f"stream-gateway: {error}{hint}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo(err=True)
        raise typer.Exit(130) from None
    if not whole:
        raise typer.Exit(1)


async def _chat(client: Client, model: str, prompt: str, partner: str) -> bool:
    messages: list[dict[str, str]] = []
    whole = True
    async for said in _turns(prompt, partner):
        messages.append({"role": "user", "content": said})
        text, whole = await _show(client.stream(model=model, messages=messages))
        messages.append({"role": "assistant", "content": text})
    return whole


async def _turns(prompt: str, partner: str) -> AsyncIterator[str]:
    """What is said: the prompt, or else line by line what is typed, until there is no more."""
    if prompt:
        yield prompt
        return
    terminal = sys.stdin.isatty()
    if terminal:
        typer.secho(f"Talking to {partner}. Ctrl-D ends the conversation, Ctrl-C at any time.", err=True, dim=True)
    while True:
        if terminal:
            typer.echo("> ", nl=False, err=True)
        line = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        if not line:
            if terminal:
                typer.echo(err=True)
            return
        if line.strip():
            yield line.strip()


async def _tail(stream: EventStream, events: bool) -> bool:
    if not events:
        return (await _show(stream))[1]
    async for event in stream:
        line = msgspec.json.encode({"id": stream.cursor, "event": event})
        typer.echo(line.decode())
    return True


async def _show(stream: EventStream) -> tuple[str, bool]:
    """Print a stream's text as it comes; return it, and whether it is whole."""
    text, whole, terminal = "", True, sys.stdout.isatty()
    async for event in stream:
        if isinstance(event, TextDelta) and not event.choice:
            text += event.text
            typer.echo(_CONTROL.sub("", event.text) if terminal else event.text, nl=False)
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
        self._reason: str | None = None  # why the connection is lost; None while it is not

    def __call__(self, status: Status) -> None:
        if status.kind == "lost":
            why = "" if status.reason == self._reason else f"{status.reason}; "
            self._reason = status.reason
            typer.secho(f" [{why}trying again in {status.wait:.1f} s] ", nl=False, err=True, dim=True)
        elif self._reason is not None:
            self._reason = None
            typer.secho(f"[back by {status.transport}] ", nl=False, err=True, dim=True)

    def end_line(self) -> None:
        """Something else will be said."""
        if self._reason is not None:
            typer.echo(err=True)
