"""Live captions: one transcript, several viewers, each with its own idea of a caption, some of them late.

    make run                                     # in another terminal
    .venv/bin/python examples/live_captions.py   # --model ROUTE for a model of your own

The talk is a stream that a model speaks, or whatever else answers behind a route, such as a speech recognition. Each
viewer decides how its words are cut: by sentences, where a caption leaves after a second even if its sentence has not
ended, or whatever has been said every 700 ms. The talk is generated once.
"""

import trio
from command_line import run

from stream_gateway.client import Client

TALK = [{"role": "user", "content": "Give a short talk, in plain sentences, about how rivers find the sea."}]


async def watch(url: str, stream: str, viewer: str, chunking: str, after: str | None, clock: float) -> None:
    """A viewer: somebody with a browser of their own, and so with a connection of their own."""
    async with Client(url) as client:
        async for caption in client.attach(stream, after=after, chunking=chunking).texts():
            print(f"{trio.current_time() - clock:5.1f} s  {viewer:<15} {caption.strip()}", flush=True)


async def main(url: str, model: str) -> None:
    """Two watch from the beginning. Two come later: one wants to have missed nothing, the other what is said now."""
    clock = trio.current_time()
    async with Client(url) as client, trio.open_nursery() as viewers:
        # A talk does not end because nobody listens; without the lease it would.
        talk = client.stream(model=model, messages=TALK, lease="finish")
        await anext(talk)  # it has begun, and has an id that others can be given
        assert talk.id is not None
        viewers.start_soon(watch, url, talk.id, "sentences", "sentences", None, clock)
        viewers.start_soon(watch, url, talk.id, "every 700 ms", "interval:700", None, clock)
        words = 0
        async for piece in talk.texts():
            before, words = words, words + len(piece.split())
            if before < 40 <= words:
                # From the beginning: the log has it all, and gives it at once, up to now. From now: after this cursor.
                viewers.start_soon(watch, url, talk.id, "late, all", "sentences", None, clock)
                viewers.start_soon(watch, url, talk.id, "late, from now", "sentences", talk.cursor, clock)


if __name__ == "__main__":
    run(main, model="demo-n110-gap60")
