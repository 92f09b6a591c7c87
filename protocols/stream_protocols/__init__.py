"""Sans-I/O protocols of Stream Gateway: bytes ⇄ events, without sockets, tasks or clocks."""
