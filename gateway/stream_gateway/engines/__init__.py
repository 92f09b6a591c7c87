"""Engines: where logs live."""
