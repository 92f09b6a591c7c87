"""HTTP/1.1 to providers: one request at a time on a connection (RFC 9112)."""
