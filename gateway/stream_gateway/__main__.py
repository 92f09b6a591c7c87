"""`python -m stream_gateway`, and the command `stream-gateway`."""

import sys


def main() -> None:
    """The console script. Ctrl-C while all of the gateway is being imported ends it as quietly as later."""
    try:
        from stream_gateway.cli import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
