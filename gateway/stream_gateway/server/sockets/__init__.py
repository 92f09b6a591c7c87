"""WebSocket: sockets, and the session of commands and streams on each."""
