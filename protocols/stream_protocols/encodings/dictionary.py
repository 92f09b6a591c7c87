"""The dictionary that clients may fetch and keep: what surrounds the words of every stream (RFC 9842).

It is part of what we promise: with any change its hash, and so its address, is another one. Most used last, because
what is near is referred to more cheaply. No text is in it, and nothing secret can be.
"""

import binascii
import hashlib
import re
from typing import Final

_BYTE_SEQUENCE: Final = re.compile(r" *:([A-Za-z0-9+/]{43}=): *(?:;.*)?", re.DOTALL)
"""A structured field (RFC 9651 §3.3.5) of 32 bytes, whatever parameters it has."""

_ID: Final = b"id: AAAAAAAAAAAAAAAA.AAAAAAAA."

_REPLY: Final = (
    b'{"id":"chatcmpl-","object":"chat.completion","created":17,"model":"","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":1,'
    b'"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":'
    b'{"reasoning_tokens":0,"audio_tokens":0}},"service_tier":"default","system_fingerprint":"fp_"}'
)

_OPENAI: Final = (
    b'"tool_calls":[{"index":0,"id":"call_","type":"function","function":{"name":"","arguments":""}}]'
    b'"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    b'data: {"id":"chatcmpl-","object":"chat.completion.chunk","created":17,"model":"","choices":[{"index":0,"delta":'
    b'{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}\n\n'
    b'2\ndata: {"id":"chatcmpl-","object":"chat.completion.chunk","created":17,"model":"","system_fingerprint":"fp_",'
    b'"choices":[{"index":0,"delta":{"content":" "},"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
    b'3\ndata: {"id":"chatcmpl-","object":"chat.completion.chunk","created":17,"model":"",'
    b'"choices":[{"index":0,"delta":{"content":" "},"finish_reason":null}]}\n\n'
)

_NATIVE: Final = (
    b'data: {"type":"notice","code":"gap","message":"","data":{"reason":"retention","missed":1,"resumes_after":""}}\n\n'
    b'data: {"type":"stream.failed","code":"","message":"","status":502}\n\n'
    b'data: {"type":"stream.cancelled","reason":"client"}\n\n'
    b'data: {"type":"tool_call.delta","index":0,"id":"call_","name":"","arguments":""}\n\n'
    b'data: {"type":"choice.finished","reason":"stop"}\n\n'
    b'data: {"type":"usage","input_tokens":1,"output_tokens":1,"cached_tokens":1,"reasoning_tokens":1}\n\n'
    b'data: {"type":"stream.finished","reason":"stop"}\n\n'
    + _ID
    + b'1\ndata: {"type":"stream.started","model":"","created":17}\n\n'
    + _ID
    + b'2\ndata: {"type":"reasoning.delta","text":" "}\n\n'
    + _ID
    + b'3\ndata: {"type":"text.delta","text":" "}\n\n'
)

CONTENT: Final = _REPLY + _OPENAI + _NATIVE
DIGEST: Final = hashlib.sha256(CONTENT).digest()
NAME: Final = DIGEST.hex()
"""Stands in its address."""


def available(header: str | None) -> bytes:
    """The SHA-256 of the dictionary that a client has, from Available-Dictionary (RFC 9842 §2.2); empty: none."""
    match = _BYTE_SEQUENCE.fullmatch(header or "")
    return binascii.a2b_base64(match[1]) if match else b""
