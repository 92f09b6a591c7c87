"""Addresses as people write them."""

import ssl

import pytest

from stream_gateway.client.address import parse_url, socket_address


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "secure"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080, "/v1/connect", False),
        (" http://gateway.example/ ", "gateway.example", 80, "/v1/connect", False),
        ("https://gateway.example", "gateway.example", 443, "/v1/connect", True),
        ("https://gateway.example/ai?x=1#y", "gateway.example", 443, "/ai/v1/connect", True),
        ("ws://[::1]:9000", "::1", 9000, "/v1/connect", False),
        ("wss://gateway.example:8443", "gateway.example", 8443, "/v1/connect", True),
    ],
)
def test_where_sockets_are(url: str, host: str, port: int, path: str, secure: bool) -> None:
    parsed = parse_url(url)
    assert parsed.scheme == ("https" if secure else "http")
    address = socket_address(parsed, {"Authorization": "Bearer t"}, ssl.create_default_context())
    assert (address.host, address.port, address.path, address.context is not None) == (host, port, path, secure)
    assert address.headers == [(b"Authorization", b"Bearer t")]
