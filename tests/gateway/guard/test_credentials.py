"""What a request shows, wherever its client could put it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_gateway.guard.credentials import MAX_CREDENTIAL, SUBPROTOCOL, credential_of, spoken
from stream_protocols.errors import Unauthorized


def offered(token: str, *beside: str) -> str:
    return ", ".join([*beside, SUBPROTOCOL + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")])


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer abc"},
        {"authorization": "bearer  abc "},
        {"x-api-key": "abc"},
        {"x-goog-api-key": "abc"},
        {"x-api-key": "abc", "authorization": "Bearer abc"},
        {"sec-websocket-protocol": offered("abc", "stream-gateway.v1+json")},
        {"sec-websocket-protocol": offered("abc"), "authorization": "Bearer abc"},
    ],
)
def test_every_place(headers: dict[str, str]) -> None:
    assert credential_of(headers) == "abc"


@pytest.mark.parametrize("headers", [{}, {"sec-websocket-protocol": "stream-gateway.v1+json"}, {"cookie": "token=abc"}])
def test_nothing_shown(headers: dict[str, str]) -> None:
    assert credential_of(headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Basic YTpi"},
        {"authorization": "abc"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer a\x00b"},
        {"authorization": "Bearer é"},
        {"authorization": "Bearer " + "a" * (MAX_CREDENTIAL + 1)},
        {"authorization": "Bearer abc", "x-api-key": "other"},
        {"x-api-key": ""},
        {"sec-websocket-protocol": SUBPROTOCOL},
        {"sec-websocket-protocol": SUBPROTOCOL + "a"},
        {"sec-websocket-protocol": SUBPROTOCOL + "/w=="},
        {"sec-websocket-protocol": SUBPROTOCOL + "_w"},
        {"sec-websocket-protocol": f"{offered('abc')}, {offered('other')}"},
    ],
)
def test_what_cannot_be_looked_at(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized) as caught:
        credential_of(headers)
    assert not any(value and value in caught.value.message for value in headers.values())


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=200))
def test_any_text_goes_through_a_subprotocol(token: str) -> None:
    assert credential_of({"sec-websocket-protocol": offered(token, "x")}) == token
    assert spoken(offered(token, "x", "y")) == ["x", "y"]


@given(st.dictionaries(st.sampled_from(["authorization", "x-api-key", "sec-websocket-protocol"]), st.text()))
def test_whatever_comes_is_read_or_refused(headers: dict[str, str]) -> None:
    try:
        found = credential_of(headers)
    except Unauthorized:
        return
    assert found is None or found.isascii()
