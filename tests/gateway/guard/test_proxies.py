"""Whose word is taken about who asks."""

import pytest

from stream_gateway.config import ConfigError, config_from_toml
from stream_gateway.guard.proxies import TrustedProxies, plain


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.1.2.3", "203.0.113.7", "203.0.113.7"),
        ("10.1.2.3", "1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("10.1.2.3", "1.1.1.1, 203.0.113.7, 10.9.9.9", "203.0.113.7"),
        ("10.1.2.3", "10.5.5.5", "10.5.5.5"),
        ("10.1.2.3", None, "10.1.2.3"),
        ("10.1.2.3", "unknown", "10.1.2.3"),
        ("10.1.2.3", "203.0.113.7:1234", "203.0.113.7"),
        ("10.1.2.3", "[2001:db8::1]:1234", "2001:db8::1"),
        ("203.0.113.9", "1.1.1.1", "203.0.113.9"),
        ("2001:db8::5", "1.1.1.1", "1.1.1.1"),
        ("", "1.1.1.1", "1.1.1.1"),
        ("10.1.2.3", "203.0.113.7, ::ffff:10.9.9.9", "203.0.113.7"),
        ("10.1.2.3", "::ffff:203.0.113.7", "203.0.113.7"),
    ],
)
def test_the_client(peer: str, forwarded: str | None, client: str) -> None:
    proxies = TrustedProxies(["10.0.0.0/8", "2001:db8::5", "unix"])
    assert proxies.client(peer, forwarded) == client


def test_ipv4_over_a_socket_for_ipv6_is_ipv4() -> None:
    assert plain("::ffff:10.1.2.3") == plain(bytes(10) + b"\xff\xff\x0a\x01\x02\x03") == plain("10.1.2.3") == "10.1.2.3"
    assert plain("2001:DB8::1") == "2001:db8::1"


def test_a_unix_peer_is_trusted_only_by_name() -> None:
    assert TrustedProxies(["10.0.0.0/8"]).client("", "1.1.1.1") == ""


def test_what_is_no_network_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"server.trusted_proxies\[1\]"):
        config_from_toml('[server]\ntrusted_proxies = ["10.0.0.0/8", "ten"]')
    with pytest.raises(ConfigError, match=r"server.tls_key"):
        config_from_toml('[server]\ntls_key = "a"')
