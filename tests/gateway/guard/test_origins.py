"""Which pages may call the gateway."""

import pytest

from stream_gateway.config import LOCAL_ORIGINS
from stream_gateway.guard.origins import OriginPolicy


@pytest.mark.parametrize(
    ("allowed", "origin", "answer"),
    [
        # exact
        (["https://app.example"], "https://app.example", True),
        (["https://app.example"], "HTTPS://App.Example", True),
        (["https://app.example"], "http://app.example", False),
        (["https://app.example"], "https://app.example:8443", False),
        (["https://app.example"], "https://app.example.evil.test", False),
        (["https://app.example"], "https://evil.test/https://app.example", False),
        (["https://app.example"], "https://appxexample", False),
        (["https://app.example"], "https://app.example\n", False),
        (["https://app.example"], "", False),
        (["https://app.example"], "null", False),
        (["https://a.example", "https://b.example"], "https://b.example", True),
        # any port
        (["http://localhost:*"], "http://localhost", True),
        (["http://localhost:*"], "http://localhost:3000", True),
        (["http://localhost:*"], "http://localhost:", False),
        (["http://localhost:*"], "http://localhost:x", False),
        (["http://localhost:*"], "http://localhost:3000.evil.test", False),
        (["http://localhost:*"], "http://localhost.evil.test", False),
        (["http://localhost:*"], "https://localhost:3000", False),
        (["http://[::1]:*"], "http://[::1]:5173", True),
        # any at all, and none
        (["*"], "https://anything.test", True),
        (["*"], "null", True),
        (["https://a.example", "*"], "null", True),
        ([], "https://app.example", False),
        ([], "", False),
    ],
)
def test_the_list(allowed: list[str], origin: str, answer: bool) -> None:
    assert OriginPolicy(allowed).allows(origin, "gateway.test:8080") is answer


@pytest.mark.parametrize(
    ("origin", "host", "answer"),
    [
        ("http://192.0.2.1:8080", "192.0.2.1:8080", True),
        ("https://LocalHost", "localhost", True),
        ("http://[2001:db8::1]:8080", "[2001:db8::1]:8080", True),
        ("http://192.0.2.1", "192.0.2.1:8080", False),
        ("http://evil.test", "192.0.2.1", False),
        ("192.0.2.1", "192.0.2.1", False),
        ("http://192.0.2.1", None, False),
        # A name may lead to us without our doing: a page of that name is not one of ours.
        ("http://evil.test:8080", "evil.test:8080", False),
        ("http://192.0.2.1.evil.test", "192.0.2.1.evil.test", False),
        ("http://localhost.evil.test", "localhost.evil.test", False),
        ("null", "", False),
        ("null", "null", False),
    ],
)
def test_pages_of_our_own(origin: str, host: str | None, answer: bool) -> None:
    assert OriginPolicy([]).allows(origin, host) is answer


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1", "http://[::1]:3000"])
def test_by_default_pages_of_this_machine_may(origin: str) -> None:
    assert OriginPolicy(LOCAL_ORIGINS).allows(origin, "gateway.test")
