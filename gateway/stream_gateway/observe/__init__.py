"""What can be seen of the gateway while it runs."""
