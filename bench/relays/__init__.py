"""Programs of our own that stand between clients and the upstream: the floor, and relays with a known fault."""
