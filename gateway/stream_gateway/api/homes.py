"""The homes of one gateway, one for each event loop in which it is used."""

import asyncio
import weakref
from collections.abc import Callable

import trio

from stream_gateway.api.home import Home
from stream_gateway.api.thread_home import ThreadHome
from stream_gateway.api.trio_home import TrioHome
from stream_gateway.gateway import Gateway


def loop_key() -> object:
    """What tells the event loop that we are called in from every other.

    Raises:
        RuntimeError: it is neither Trio's nor asyncio's, or there is none.
    """
    if trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_trio_token()
    return asyncio.get_running_loop()


class Homes:
    """The homes of one gateway, by loop: module-level gateways are met in several.

    Args:
        make: see `Home`.
    """

    def __init__(self, make: Callable[[], Gateway]) -> None:
        self._make = make
        self._homes: weakref.WeakValueDictionary[object, Home] = weakref.WeakValueDictionary()

    def here(self) -> Home:
        """The one of the loop that we are called in; made if there is none. The caller has to `enter` it.

        Raises:
            RuntimeError: see `loop_key`.
        """
        key = loop_key()
        home = self._homes.get(key)
        if home is None or home.stopping:
            home = self._homes[key] = (TrioHome if trio.lowlevel.in_trio_run() else ThreadHome)(self._make)
        return home
