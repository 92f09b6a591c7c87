"""What does a scrape cost? `python -m bench.scrape [STREAMS]`: its CPU, with so many live streams and their clients."""

import sys
import time

import trio

from stream_gateway.config import config_from_toml
from stream_gateway.gateway import Gateway
from stream_gateway.observe.exposition import Exposition
from stream_gateway.streams.subscription import Subscription
from stream_protocols.chunking import Conditions
from stream_protocols.dialects.native import NativeEncoder
from stream_protocols.dialects.openai_chat import parse_request
from stream_protocols.framing import Framing, identity
from stream_protocols.render import SseRenderer

ROUTES = 20
REPEATS = 30
CONFIG = "[server]\nport = 0\n" + "".join(
    f'[routes.r{number}]\ntargets = [{{ provider = "demo", model = "demo-n100000-gap100" }}]\n'
    for number in range(ROUTES)
)
_BODY = b'{"model":"r%d","messages":[{"role":"user","content":"Hi"}]}'


class Nowhere:
    """A client that takes everything."""

    framing: Framing = staticmethod(identity)

    def conditions(self) -> Conditions:
        return Conditions()

    def clear(self) -> bool:
        return True

    def write_now(self, data: bytes) -> bool:
        return True

    async def flush(self) -> None:
        """There is nothing."""


async def main(count: int) -> None:
    gateway = Gateway(config_from_toml(CONFIG, environ={}))
    async with trio.open_nursery() as nursery:
        await nursery.start(gateway.run)
        for number in range(count):
            request = parse_request(_BODY % (number % ROUTES), native=True)
            stream, produce = gateway.generations.create(request, gateway.guard.local, lease="finish")
            produce()
            renderer = SseRenderer(stream.id, stream.log.epoch, NativeEncoder(), None)
            nursery.start_soon(_follow, Subscription(stream, renderer, Nowhere()))
        await trio.sleep(2)
        took, longest, size = [], [], 0
        for _ in range(REPEATS):
            pieces, size = [], 0
            last = time.process_time()
            for piece in Exposition(gateway.scene).render("")[1]:
                size += len(piece)
                now = time.process_time()
                pieces.append((now - last) * 1000)
                last = now
            took.append(sum(pieces))
            longest.append(max(pieces))
            await trio.sleep(0.05)
        took.sort()
        longest.sort()
        assert gateway.statistics().running == count
        print(
            f"{count} live streams on {ROUTES} routes: {size / 1024:.0f} KiB, "
            f"{took[REPEATS // 2]:.1f} ms of CPU a scrape (median of {REPEATS}; {took[0]:.1f} to {took[-1]:.1f}), "
            f"of which {longest[REPEATS // 2]:.1f} ms in one piece"
        )
        nursery.cancel_scope.cancel()


async def _follow(subscription: Subscription) -> None:
    with subscription:
        await subscription.run()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
