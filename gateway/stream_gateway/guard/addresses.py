"""Addresses as limits see them, and which of them only this machine can reach."""

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
