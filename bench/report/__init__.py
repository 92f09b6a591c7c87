"""The same book in three forms: a table in the terminal, JSON, and a page with plots."""
