"""NPCs that talk at once, in a game loop that never waits for the network.

    make run                                    # in another terminal
    .venv/bin/python examples/npc_dialogue.py   # --model ROUTE for a model of your own

Every NPC's words are a stream, and one WebSocket carries them all. What arrives waits in an inbox until the next tick
takes it, so that a tick costs the same whether words come, come in bunches, or do not come. To interrupt an NPC is to
cancel a task: its stream is left, and the provider stops generating.
"""

import itertools
import time
from collections import deque

import trio
from command_line import run
from rich.live import Live
from rich.table import Table

from stream_gateway.client import Client

TICK = 1 / 30  # seconds
RULES = "You are an NPC. Stay in character, and say no more than five sentences."


class Npc:
    """Somebody who talks. The network fills `inbox`, the game empties it into `bubble`."""

    def __init__(self, name: str, character: str) -> None:
        self.name = name
        self.character = character
        self.inbox: deque[str] = deque()
        self.bubble = ""
        self.talking = False
        self._speech = trio.CancelScope()

    def hears(self, said: str, client: Client, model: str, nursery: trio.Nursery) -> None:
        """Begin to answer; the game goes on meanwhile."""
        self.talking, self._speech = True, trio.CancelScope()
        messages = [
            {"role": "system", "content": f"{RULES} You are {self.name}, {self.character}."},
            {"role": "user", "content": said},
        ]
        nursery.start_soon(self._speak, client, model, messages)

    async def _speak(self, client: Client, model: str, messages: list[dict[str, str]]) -> None:
        # Leaving the stream, for whatever reason, ends it at the provider: nobody pays for words nobody will hear.
        with self._speech:
            async with client.stream(model=model, messages=messages) as stream:
                async for piece in stream.texts():
                    self.inbox.append(piece)
        self.talking = False

    def interrupt(self) -> None:
        """Stop, in the middle of a sentence."""
        self._speech.cancel()
        self.inbox.clear()
        self.bubble = self.bubble.rstrip() + "—\n"

    def tick(self) -> None:
        """Show what has arrived since the last tick."""
        while self.inbox:
            self.bubble += self.inbox.popleft()


def draw(npcs: list[Npc]) -> Table:
    """The screen."""
    screen = Table.grid(padding=(0, 2))
    for npc in npcs:
        screen.add_row(f"[bold]{npc.name}[/]", "…" if npc.talking and not npc.bubble else npc.bubble)
    return screen


async def main(url: str, model: str) -> None:
    """The player greets everybody, and soon has a more urgent question for Mira."""
    mira = Npc("Mira", "an innkeeper who knows every rumour")
    npcs = [mira, Npc("Osric", "a guard at the gate, bored"), Npc("Tamsin", "a travelling alchemist")]
    interrupted = False
    longest = 0.0
    async with Client(url) as client, trio.open_nursery() as nursery:
        for npc in npcs:
            npc.hears("Good evening! What is new?", client, model, nursery)
        began = trio.current_time()
        with Live(auto_refresh=False) as screen:
            for number in itertools.count(1):
                tick = time.perf_counter()
                for npc in npcs:
                    npc.tick()
                if not interrupted and len(mira.bubble.split()) >= 12:
                    interrupted = True
                    mira.interrupt()
                    mira.hears("Never mind: where is the dragon?", client, model, nursery)
                screen.update(draw(npcs), refresh=True)
                longest = max(longest, time.perf_counter() - tick)
                if not any(npc.talking or npc.inbox for npc in npcs):
                    break
                # The only thing this loop waits for is its own clock.
                await trio.sleep_until(began + number * TICK)
    print(f"\n{number} ticks of {TICK * 1000:.0f} ms; the longest kept the game busy for {longest * 1000:.1f} ms.")


if __name__ == "__main__":
    run(main, model="demo-n60-gap80")
