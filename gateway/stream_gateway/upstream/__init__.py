"""Providers: how they are reached, read, and chosen."""
