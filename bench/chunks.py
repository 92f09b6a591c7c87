"""What the upstream says: OpenAI chat completions, built once and stamped when sent."""

import functools
import json

from bench.wire import STAMP

HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
_MARK_TEXT = "[00000000:" + STAMP.decode() + "]"


def _event(delta: dict[str, str], finish: str | None) -> bytes:
    chunk = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "bench",
        "system_fingerprint": "fp_bench",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def framed(data: bytes) -> bytes:
    """One chunk of HTTP/1.1's chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST = framed(_event({}, "stop"))
USAGE = framed(
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench",'
    b'"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":8,"total_tokens":16}}\n\n'
)


@functools.lru_cache(maxsize=16)
def _event_parts(size: int, role: bool) -> tuple[bytes, bytes]:
    """What is before the sequence number and after the stamp in an event of `size` bytes."""
    delta = {"role": "assistant"} if role else {}
    bare = len(_event(delta | {"content": _MARK_TEXT}, None))
    text = _MARK_TEXT + " word".ljust(max(0, size - bare), "s")[: max(0, size - bare)]
    before, after = _event(delta | {"content": text}, None).split(_MARK_TEXT.encode()[1:], 1)
    return before, b"]" + after


@functools.lru_cache(maxsize=16)
def parts(size: int, role: bool = False) -> tuple[bytes, bytes]:
    """The same with the framing of a chunk of its own around it: `before + SEQ + b":" + NS + after`."""
    before, after = _event_parts(size, role)
    whole = framed(before + b"00000000:" + STAMP + after)
    middle = whole.index(b"00000000:" + STAMP)
    return whole[:middle], whole[middle + 28 :]


@functools.lru_cache(maxsize=4096)
def block(size: int, start: int, stop: int) -> bytes:
    """Chunks start..stop-1 as one piece, each with `STAMP` where the time goes."""
    pieces = []
    for sequence in range(start, stop):
        before, after = _event_parts(size, sequence == 0)
        pieces.append(b"%b%08d:%b%b" % (before, sequence, STAMP, after))
    return framed(b"".join(pieces))


SEQUENCES = [b"%08d:" % number for number in range(20_000)]
"""Formatting a number for each chunk would be a tenth of the upstream's work."""


def sequence_text(number: int) -> bytes:
    return SEQUENCES[number] if number < len(SEQUENCES) else b"%08d:" % number


def reply(size: int) -> bytes:
    """A whole completion that is not streamed."""
    body = json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "bench",
            "system_fingerprint": "fp_bench",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "words " * (size // 6), "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 8, "completion_tokens": 8, "total_tokens": 16},
        },
        separators=(",", ":"),
    ).encode()
    return json_response(body)


def json_response(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


MODELS = json_response(b'{"object":"list","data":[{"id":"bench","object":"model","created":0,"owned_by":"bench"}]}')
