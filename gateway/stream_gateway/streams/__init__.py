"""The heart: logs, their producers, and the cursors that clients are."""
