"""What nchan needs in order to spread a generation: nginx beside it, and someone who publishes each event.

    python -m bench.relays.nchan --port 18082 --nchan 18080 --upstream 18081 -- NGINX-COMMAND…

nginx listens on the port of --nchan and hands `POST /v1/streams` to this program. The cost of both is the
cost of the target.
"""

import argparse
import json
import re
import socket
import subprocess

from bench.chunks import json_response
from bench.loop import IN, Loop
from bench.relays.floor import Side
from bench.response import Response

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Publisher:
    """Takes requests for streams; publishes what the upstream says on a channel of nchan."""

    def __init__(self, loop: Loop, nginx: int, upstream: int) -> None:
        self._loop = loop
        self._nginx = nginx
        self._upstream = upstream
        self._streams = 0

    def accept(self, listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        inbox = bytearray()

        def heard(data: bytes) -> None:
            inbox.extend(data)
            head, separator, body = bytes(inbox).partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if separator and length is not None and len(body) >= int(length[1]):
                inbox.clear()
                client.write(json_response(json.dumps({"id": self._create(body)}).encode(), b"201 Created"))

        client = Side(self._loop, accepted, heard, lambda: client.close())

    def _create(self, body: bytes) -> str:
        self._streams += 1
        name = str(self._streams)
        response = Response()
        rest = b""
        nginx = self._connect(self._nginx)

        def heard(data: bytes) -> None:
            nonlocal rest
            *events, rest = (rest + response.feed(data)).split(b"\n\n")
            for event in events:
                text = event.removeprefix(b"data: ")
                nginx.write(
                    b"POST /publish/%b HTTP/1.1\r\nhost: nchan\r\ncontent-type: text/plain\r\n"
                    b"content-length: %d\r\n\r\n%b" % (name.encode(), len(text), text)
                )

        upstream = self._connect(self._upstream, heard)
        upstream.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: nchan\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        return name

    def _connect(self, port: int, heard: object = None) -> Side:
        def nothing(data: bytes) -> None:
            return

        take = heard if callable(heard) else nothing
        side = Side(self._loop, socket.create_connection(("127.0.0.1", port)), take, lambda: side.close())
        return side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--nchan", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True)
    parser.add_argument("nginx", nargs="+")
    arguments = parser.parse_args()
    loop = Loop()
    publisher = Publisher(loop, arguments.nchan, arguments.upstream)
    listener = socket.create_server(("127.0.0.1", arguments.port))
    loop.watch(listener.fileno(), IN, lambda _: publisher.accept(listener))
    loop.watch(0, IN, lambda _: loop.stop())
    # In this program's process group, which ends as a whole.
    subprocess.Popen(arguments.nginx, stdin=subprocess.DEVNULL)
    loop.run()


if __name__ == "__main__":
    main()
