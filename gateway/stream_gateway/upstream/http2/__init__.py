"""HTTP/2 to providers: many requests on one connection (RFC 9113)."""
