"""What looks like a credential does not stay in a text; everything else does."""

import pytest

from stream_protocols.redaction import REDACTED, redact

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("key sgk_a1b2c3d4e5f6_Zm9vYmFyYmF6 was wrong", f"key {REDACTED} was wrong"),
        ("GET /v1/streams/s/events?token=sgt_s.r.1.x&after=c", f"GET /v1/streams/s/events?token={REDACTED}&after=c"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {REDACTED}"),
        ("{'authorization': 'bearer abc'}", f"{{'authorization': 'bearer {REDACTED}'}}"),
        ("{'x-api-key': 'abc', 'a': 'b'}", f"{{'x-api-key': '{REDACTED}', 'a': 'b'}}"),
        (f"bad token {JWT}!", f"bad token {REDACTED}!"),
        ("a, stream-gateway.token.YWJj, b", f"a, {REDACTED}, b"),
        ("Incorrect API key provided: sk-proj-abcdefghijklmnopqrs.", f"Incorrect API key provided: {REDACTED}."),
    ],
)
def test_credentials_go(text: str, left: str) -> None:
    assert redact(text) == left


@pytest.mark.parametrize(
    "text",
    ["", "client_gone", "/v1/streams/abc/events?after=s.e.7", "a monkey = b", "skip_all_of_these", "sk-x", "eye.e.e"],
)
def test_the_rest_stays(text: str) -> None:
    assert redact(text) == text
