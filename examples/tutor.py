"""A tutor who speaks in whole sentences, and can be interrupted in any of them.

    make run                             # in another terminal
    .venv/bin/python examples/tutor.py   # --model ROUTE for a model of your own

Ask something; ask again whenever you like, also while it speaks. The gateway cuts the answer into sentences, so that
each can go to a voice as it is. What the conversation remembers of an answer is what was said aloud, not what was
generated.
"""

import re
import sys

import trio
from command_line import run

from stream_gateway.client import Client

RULES = "You are a patient tutor. Answer in short, plain sentences that can be read aloud, without lists or markup."
PER_WORD = 0.2  # seconds: how fast the voice speaks


class Tutor:
    """One conversation."""

    def __init__(self, client: Client, model: str) -> None:
        self._client = client
        self._model = model
        self._messages = [{"role": "system", "content": RULES}]

    async def answer(self, question: str) -> None:
        """Answer aloud. Cancel it to interrupt: the model stops, too, and the conversation goes on from there."""
        self._messages.append({"role": "user", "content": question})
        said: list[str] = []
        try:
            async with self._client.stream(model=self._model, messages=self._messages, chunking="sentences") as stream:
                async for sentence in stream.texts():
                    await speak(sentence, said)
        finally:
            self._messages.append({"role": "assistant", "content": "".join(said)})


async def speak(sentence: str, said: list[str]) -> None:
    """Here goes your text to speech: it gets a whole sentence, which it can stress as one, and takes its time."""
    for word in re.findall(r"\S+\s*", sentence):
        said.append(word)
        print(word, end="", flush=True)
        await trio.sleep(PER_WORD)
    print(flush=True)


async def listen() -> str:
    """The next question; empty when there will be none."""
    line = "\n"
    while line and not line.strip():
        line = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    return line.strip()


async def main(url: str, model: str) -> None:
    """Listen and speak, both at once."""
    print("What would you like to know? Interrupt me with another question; Ctrl-D when you have none.", flush=True)
    async with Client(url) as client:
        tutor = Tutor(client, model)
        question = await listen()
        while question:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tutor.answer, question)
                question = await listen()
                if question:
                    nursery.cancel_scope.cancel()  # somebody else speaks now


if __name__ == "__main__":
    run(main, model="demo")
