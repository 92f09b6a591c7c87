"""HTTP/2 with clients (RFC 9113): h2 on a transport, many exchanges on one connection."""
