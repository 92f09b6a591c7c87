"""Streams in a SQLite file: one machine, one process or several, nothing to install."""
