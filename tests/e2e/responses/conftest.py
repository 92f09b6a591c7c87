"""OpenAI's SDK in front of the gateway, and each vendor in turn behind it."""

from tests.doubles.any_vendor import dialect, serve, upstream

__all__ = ["dialect", "serve", "upstream"]
