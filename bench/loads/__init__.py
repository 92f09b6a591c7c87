"""What the load generator can do, one kind of load a file; `LOADS` finds them by name."""
