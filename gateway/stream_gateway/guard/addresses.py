"""Addresses as limits see them, how many connections each has, and which of them only this machine can reach."""

import collections
import ipaddress


def network_of(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that whoever has one IPv6 address usually has all of."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


def is_loopback(host: str) -> bool:
    """Whether a server bound to this address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Connections:
    """Counts connections by network; as large as there are connections.

    Args:
        limit: of one network.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._counts: collections.Counter[str] = collections.Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def full(self, address: str) -> bool:
        """Whether there can be no more. A Unix socket has no address, and no limit."""
        return bool(address) and self._counts[network_of(address)] >= self.limit

    def enter(self, address: str) -> None:
        """One has come; `leave` has to follow."""
        self._counts[network_of(address)] += 1

    def leave(self, address: str) -> None:
        """One has gone."""
        network = network_of(address)
        self._counts[network] -= 1
        if not self._counts[network]:
            del self._counts[network]
