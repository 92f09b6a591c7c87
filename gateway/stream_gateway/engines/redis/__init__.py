"""Streams in Redis or Valkey: shared by any number of gateways on any number of machines."""
