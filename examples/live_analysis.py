"""A long analysis that is watched as it is written, and whose watcher may go and come back.

    make run                                     # in another terminal
    .venv/bin/python examples/live_analysis.py   # --model ROUTE for a model of your own

Press Ctrl-C in the middle, and start it again: it goes on where it was, without a word lost, and with what was written
meanwhile. The analysis itself never stopped; only its watcher did.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from command_line import run
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from stream_gateway.client import Client, CursorExpired, EventStream, Incomplete, StreamNotFound

WORDS = 400
TASK = [{"role": "user", "content": f"Analyse the trade-offs of server push in about {WORDS} words."}]
NOTES = Path("live_analysis.json")


class Notes(msgspec.Struct, frozen=True):
    """All that a watcher has to remember. Text and cursor are one value, so that they cannot disagree."""

    stream: str
    cursor: str | None = None
    text: str = ""

    def save(self) -> None:
        """Write it whole or not at all."""
        new = NOTES.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(self))
        os.replace(new, NOTES)

    @staticmethod
    def forget() -> None:
        NOTES.unlink(missing_ok=True)

    @staticmethod
    def load() -> Notes | None:
        return msgspec.json.decode(NOTES.read_bytes(), type=Notes) if NOTES.exists() else None


def begin_or_go_on(client: Client, model: str, notes: Notes | None) -> EventStream:
    """The stream of the notes after what they have, or a new one."""
    if notes is not None:
        return client.attach(notes.stream, after=notes.cursor)
    # "finish": it goes on to its end while nobody watches. The gateway then keeps it for a while (streams.retain_for).
    return client.stream(model=model, messages=TASK, lease="finish")


async def watch(stream: EventStream, notes: Notes | None) -> str:
    """Show the analysis as it comes, and how far it is; its text. However this ends, the notes are up to date."""
    progress = Progress(
        TextColumn("analysing"), BarColumn(), MofNCompleteColumn(), TextColumn("words"), TimeElapsedColumn()
    )
    bar = progress.add_task("", total=WORDS)
    text = notes.text if notes is not None else ""
    try:
        with Live(progress, refresh_per_second=10, transient=True) as screen:
            async for piece in stream.texts():
                assert stream.id is not None
                first, text = notes is None, text + piece
                notes = Notes(stream.id, stream.cursor, text)
                if first:
                    notes.save()  # from now on even a crash costs nothing but time
                progress.update(bar, completed=len(text.split()))
                screen.update(Group(Text("…" + text[-600:]), progress))
    except BaseException:
        if notes is not None:
            notes.save()
        raise
    return text


async def main(url: str, model: str) -> None:
    """Begin, or go on where the last one left."""
    notes = Notes.load()
    if notes is not None:
        print(f"Going on after {len(notes.text.split())} words ({NOTES}).")
    try:
        async with Client(url) as client:
            text = await watch(begin_or_go_on(client, model, notes), notes)
    except (CursorExpired, StreamNotFound, Incomplete):
        Notes.forget()  # there is nothing to go on with: the next one begins anew
        raise
    Notes.forget()
    print(text)
    print(f"\n{len(text.split())} words.")


if __name__ == "__main__":
    run(main, model=f"demo-n{WORDS}-gap25")
