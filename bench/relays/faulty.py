"""Relays with one known fault each: what the harness says of them shows whether it can be believed.

python -m bench.relays.faulty FAULT --port 18080 --upstream 18081
"""

import argparse
import socket
import time
from collections.abc import Callable

from bench.chunks import framed
from bench.loop import IN, Loop
from bench.relays.floor import Side
from bench.response import Response

Fault = Callable[[int, bytes], list[bytes]]
"""Takes the number of an event and the event; returns what is to be sent now."""


def sleep() -> Fault:
    """Sleeps 5 ms before each chunk."""

    def fault(number: int, event: bytes) -> list[bytes]:
        time.sleep(0.005)
        return [event]

    return fault


def drop() -> Fault:
    """Drops each 1,000th chunk."""
    return lambda number, event: [] if number % 1000 == 999 else [event]


def repeat() -> Fault:
    """Sends the tenth chunk twice."""
    return lambda number, event: [event, event] if number == 9 else [event]


def swap() -> Fault:
    """Sends the tenth chunk after the eleventh."""
    held: list[bytes] = []

    def fault(number: int, event: bytes) -> list[bytes]:
        if number == 9:
            held.append(event)
            return []
        return [event, held.pop()] if held else [event]

    return fault


def buffer() -> Fault:
    """Collects ten chunks before it sends them."""
    held: list[bytes] = []

    def fault(number: int, event: bytes) -> list[bytes]:
        held.append(event)
        if len(held) < 10 and b"[DONE]" not in event:
            return []
        ready = [b"".join(held)]
        held.clear()
        return ready

    return fault


def cut() -> Fault:
    """Ends the stream, as if complete, after twenty chunks."""
    return lambda number, event: [event] if number < 20 else []


FAULTS: dict[str, Callable[[], Fault]] = {
    "sleep": sleep,
    "drop": drop,
    "repeat": repeat,
    "swap": swap,
    "buffer": buffer,
    "cut": cut,
}


class Relay:
    """Forwards requests untouched and passes every event of the replies through the fault."""

    def __init__(self, loop: Loop, accepted: socket.socket, upstream: int, make: Callable[[], Fault]) -> None:
        self._make = make
        self._begin()
        self._client = Side(loop, accepted, lambda data: self._upstream.write(data), self._close)
        connection = socket.create_connection(("127.0.0.1", upstream))
        self._upstream = Side(loop, connection, self._heard, self._close)

    def _begin(self) -> None:
        self._response = Response()
        self._head_sent = False
        self._fault = self._make()
        self._events = 0
        self._rest = b""

    def _heard(self, data: bytes) -> None:
        body = self._response.feed(data)
        if self._response.head and not self._head_sent:
            self._head_sent = True
            self._client.write(self._response.head + b"\r\n")
        if b"content-length" in self._response.head:
            self._client.write(body)
        else:
            *events, self._rest = (self._rest + body).split(b"\n\n")
            for event in events:
                for piece in self._fault(self._events, event + b"\n\n"):
                    self._client.write(framed(piece))
                self._events += 1
            if self._response.done:
                self._client.write(b"0\r\n\r\n")
        if self._response.done:
            self._begin()

    def _close(self) -> None:
        self._client.close()
        self._upstream.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fault", choices=FAULTS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True)
    arguments = parser.parse_args()
    loop = Loop()
    listener = socket.create_server(("127.0.0.1", arguments.port), backlog=4096)
    make = FAULTS[arguments.fault]

    def accept(_: int) -> None:
        Relay(loop, listener.accept()[0], arguments.upstream, make)

    loop.watch(listener.fileno(), IN, accept)
    loop.watch(0, IN, lambda _: loop.stop())
    loop.run()


if __name__ == "__main__":
    main()
