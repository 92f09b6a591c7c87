"""The console's pages: where they find the data plane, and what browsers are told about them."""

from __future__ import annotations

import pytest

from stream_gateway.control.console import seen_from


@pytest.mark.parametrize(
    ("url", "host", "seen"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:9090", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080", "localhost:9090", "http://localhost:8080"),
        ("http://127.0.0.1:8080", "localhost", "http://localhost:8080"),
        ("http://[::1]:8080", "[::1]:9090", "http://[::1]:8080"),
        ("https://0.0.0.0:8443", "10.1.2.3:9090", "https://10.1.2.3:8443"),
        ("http://[::]:8080", "gateway.internal:9090", "http://gateway.internal:8080"),
        ("http://10.1.2.3:8080", "localhost:9090", "http://10.1.2.3:8080"),
        ("https://gateway.example/ai/", "localhost:9090", "https://gateway.example/ai/"),
        (None, "localhost:9090", None),
    ],
)
def test_the_data_plane_is_found_where_the_control_plane_was(url: str | None, host: str, seen: str | None) -> None:
    assert seen_from(url, host) == seen


@pytest.mark.parametrize("host", ["", "a; script-src *", "x@y:9090", "[fe80::1%25;x]:9090", "a b", "'self'"])
def test_no_host_writes_the_policy(host: str) -> None:
    """Browsers would not send these; nothing of them may stand in a header of ours all the same."""
    assert seen_from("http://127.0.0.1:8080", host) == "http://127.0.0.1:8080"
