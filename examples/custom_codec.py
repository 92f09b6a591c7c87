"""A content coding of your own: deflate with a dictionary that the client was shipped with.

Serve it:

    PYTHONPATH=examples STREAM_GATEWAY_COMPRESSION__CODINGS='["custom_codec:Envelope", "gzip"]' stream-gateway serve

Read a stream with it (this is the client as well):

    python examples/custom_codec.py http://127.0.0.1:8080
"""

import json
import sys
import urllib.request
import zlib
from collections.abc import Iterator

from stream_protocols.encodings import Codec, Compressor

DICTIONARY = b'{"type":"stream.finished","reason":"stop"}\n\nid: \ndata: {"type":"text.delta","text":" "}\n\n'
"""What both sides know beforehand; the most frequent last."""


class Envelope(Codec):
    """`x-envelope`: small, and good from the first event on."""

    name = "x-envelope"
    costs = (14_336,)

    def compressor(self, grade: int) -> Compressor:
        return _Compressor()


class _Compressor:
    def __init__(self) -> None:
        self._zlib = zlib.compressobj(level=6, wbits=-10, memLevel=3, zdict=DICTIONARY)

    def feed(self, data: bytes) -> bytes:
        return self._zlib.compress(data) + self._zlib.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._zlib.flush()


def read(url: str) -> Iterator[str]:
    """A client: the texts of a new stream, as they come."""
    body = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    with urllib.request.urlopen(f"{url}/v1/streams", body) as created:
        events = json.load(created)["links"]["events"]
    request = urllib.request.Request(f"{url}{events}", headers={"Accept-Encoding": Envelope.name})
    decompressor = zlib.decompressobj(wbits=-10, zdict=DICTIONARY)
    with urllib.request.urlopen(request) as response:
        if response.headers["Content-Encoding"] != Envelope.name:
            sys.exit("The gateway does not offer x-envelope; start it as this file's first lines say.")
        lines = b""
        while piece := response.read1():
            *complete, lines = (lines + decompressor.decompress(piece)).split(b"\n")
            for line in complete:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:]).get("text", "")


if __name__ == "__main__":
    for text in read(sys.argv[1]):
        print(text, end="", flush=True)
    print()
