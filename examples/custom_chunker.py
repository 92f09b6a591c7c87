"""A chunking strategy of your own: clauses, for a voice that should begin before the sentence has ended.

Serve it, with this in `gateway.toml`:

    [chunking.clauses]
    class = "custom_chunker:Clauses"
    shortest = 12

    PYTHONPATH=examples stream-gateway serve --config gateway.toml

Read a stream with it:

    python examples/custom_chunker.py http://127.0.0.1:8080
"""

import json
import re
import sys
import urllib.request
from collections.abc import Iterator

from stream_protocols.chunking import Chunker, Waiting

END = re.compile(r"[,;:.!?…]+\s+|\n+")


class Clauses(Chunker):
    """Text up to a comma or a stop; `shortest` characters at the least, so that no chunk is a single "Well,"."""

    patience = 0.8  # seconds; a clause that has not ended by then leaves as it is

    def __init__(self, shortest: int = 20) -> None:
        self.shortest = shortest

    def cut(self, waiting: Waiting) -> int:
        for end in END.finditer(waiting.text):
            if end.end() >= self.shortest:
                return end.end()
        return 0  # hold it; at the end of the text, 0 gives all of it


def read(url: str) -> Iterator[str]:
    """A client: the chunks of a new stream, as they come."""
    body = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    with urllib.request.urlopen(f"{url}/v1/streams", body) as created:
        events = json.load(created)["links"]["events"]
    with urllib.request.urlopen(f"{url}{events}?chunking=clauses") as response:
        for line in response:
            if line.startswith(b"data: ") and (text := json.loads(line[6:]).get("text")):
                yield text


if __name__ == "__main__":
    for chunk in read(sys.argv[1]):
        print(repr(chunk))
