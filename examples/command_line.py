"""What the examples share: where the gateway is and which model to ask, and one line instead of a traceback."""

import argparse
import sys
from collections.abc import Awaitable, Callable

import trio

from stream_gateway.client import ClientError


def run(main: Callable[[str, str], Awaitable[None]], *, model: str) -> None:
    """Run `main(url, model)`; `model` is the one that is asked without `--model`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the gateway (default: %(default)s)")
    parser.add_argument("--model", default=model, help="any model of the gateway (default: %(default)s)")
    options = parser.parse_args()
    end: int | str = 0
    try:
        # Ctrl-C reaches `main` where it waits, not whichever task runs at that moment.
        trio.run(main, options.url, options.model, restrict_keyboard_interrupt_to_checkpoints=True)
    except* KeyboardInterrupt:
        print()
        end = 130
    except* ClientError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        end = str(error)
    sys.exit(end)
