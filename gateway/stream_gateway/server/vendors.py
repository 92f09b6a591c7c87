"""Questions that only a vendor itself can answer: which of a model's providers is asked directly."""

from collections.abc import Container
from typing import Final

import trio

from stream_gateway.upstream.routing.router import Router
from stream_gateway.upstream.vendor import VendorProvider
from stream_protocols.conversation import Untranslatable

TOKENS: Final = "tokens can be counted; count them with the vendor's own tool"


def vendor_of(
    router: Router, model: str, dialects: Container[str], whose: str, what: str
) -> tuple[VendorProvider, str]:
    """The best of a model's targets that speaks one of these dialects, and its name for the model.

    That is one that may be asked now, if there is any; of those the one with the lowest priority that stands first.

    Args:
        whose, what: for people: whose dialect that is, and what is to be had only there.

    Raises:
        UnknownModel: there is no route for the model.
        Untranslatable: none of its targets speaks so.
    """
    now = trio.current_time()
    for target in sorted(router.find(model).targets, key=lambda target: (not target.ready(now), target.priority)):
        provider = target.provider
        if isinstance(provider, VendorProvider) and provider.dialect in dialects:
            return provider, target.model(model)
    raise Untranslatable(
        f"Model {model[:128]!r} is not served in {whose} dialect here, and only there {what}.", param="model"
    )
