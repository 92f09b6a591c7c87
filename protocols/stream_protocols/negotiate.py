"""Content negotiation: Accept and Accept-Encoding with their weights (RFC 9110 §12.5), and subprotocols.

Two rules for all of it. A malformed element counts as not sent: a weight we cannot read is no wish. Of two
wishes for the same thing the lower weight holds: who says no means it.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple

from stream_protocols.errors import LocalError

MAX_ELEMENTS: Final = 64
"""Elements of one header that are read. Browsers send fewer than ten; each costs a comparison per offer."""

# Possessive, and an unclosed quote runs to the end: hostile input is read once, never backtracked over.
_QUOTED: Final = r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
_COMMAS: Final = re.compile(rf'(?:[^",]++|{_QUOTED})++', re.DOTALL)
_SEMICOLONS: Final = re.compile(rf'(?:[^";]++|{_QUOTED})++', re.DOTALL)

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_CODING: Final = re.compile(_TOKEN)
_ALIASES: Final = {"x-gzip": "gzip", "x-compress": "compress"}  # RFC 9110 §8.4.1
_MEDIA_RANGE: Final = re.compile(rf"{_TOKEN}/{_TOKEN}")
_PARAMETER: Final = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]++|\\.)*+)")', re.DOTALL)
# Java's HttpURLConnection said `*/*; q=.2` for twenty years, hence the leading dot.
_WEIGHT: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?|\.[0-9]{1,3}")


class _Element(NamedTuple):
    """One wish: what, its parameters, and its weight from 0.0 (not that) to 1.0."""

    name: str
    parameters: frozenset[tuple[str, str]]
    weight: float


def choose_media_type(accept: str | None, offers: Sequence[str]) -> str | None:
    """Choose what to send (RFC 9110 §12.5.1).

    The most specific range that matches an offer gives its weight: with parameters, then `type/subtype`,
    `type/*`, `*/*`. The order of `offers` breaks ties. `charset=utf-8` counts as not said, on both sides:
    clients say it of JSON, where it means nothing, and we send nothing else.

    Args:
        accept: The header's value, several header lines joined by commas; None if absent.
        offers: Media types, best first; they may have parameters.

    Returns:
        One of `offers`, as written there; the first one when the client has no wish; None if nothing is
        acceptable (406).
    """
    ranges = [element for element in _elements(accept or "") if _MEDIA_RANGE.fullmatch(element.name)]
    if not ranges:
        return next(iter(offers), None)
    weights = {offer: _media_weight(offer, ranges) for offer in offers}
    return _heaviest(weights)


def _media_weight(offer: str, ranges: list[_Element]) -> float:
    """The weight of the most specific range that includes the offer, 0 if none does."""
    media = _offer(offer)
    main = media.name.partition("/")[0]
    includes = {"*/*": 0, f"{main}/*": 1, media.name: 2}
    matches = (
        (-includes[wish.name], -len(wish.parameters), wish.weight)
        for wish in ranges
        if wish.name in includes and wish.parameters <= media.parameters
    )
    return min(matches, default=(0, 0, 0.0))[2]


@lru_cache(maxsize=64)  # offers are ours and few; what clients send is not kept
def _offer(text: str) -> _Element:
    media = _element(text)
    if media is None or not _MEDIA_RANGE.fullmatch(media.name):
        raise LocalError(f"{text!r} is on offer, but is no media type.")
    return media


def choose_encoding(accept_encoding: str | None, offers: Sequence[str]) -> str | None:
    """Choose a content coding: the first of `rank_encodings`.

    Returns:
        One of `offers`, or `identity`; None if the client refuses even that (406, or send it all the same).
    """
    return next(iter(rank_encodings(accept_encoding, offers)), None)


def rank_encodings(accept_encoding: str | None, offers: Sequence[str]) -> list[str]:
    """All content codings that a client takes, best first (RFC 9110 §12.5.3).

    Without the header any coding would be allowed, but who did not ask for compression does not get it.
    `identity` is always on offer, as the last resort unless `offers` or the client ranks it.

    Args:
        accept_encoding: The header's value, several header lines joined by commas; None if absent.
        offers: Codings, best first.
    """
    wishes: dict[str, float] = {}
    for name, parameters, weight in _elements(accept_encoding or ""):
        if _CODING.fullmatch(name) and not parameters:
            coding = _ALIASES.get(name, name)
            wishes[coding] = min(weight, wishes.get(coding, 1.0))
    others = wishes.get("*", 0.0)
    weights = {offer: wishes.get(offer, others) for offer in offers}
    weights["identity"] = wishes.get("identity", others)
    ranked = sorted((name for name in weights if weights[name] > 0), key=weights.__getitem__, reverse=True)
    if "identity" not in ranked and wishes.get("identity", wishes.get("*", 1.0)) > 0:
        ranked.append("identity")
    return ranked


def choose_subprotocol(requested: Sequence[str], offers: Sequence[str]) -> str | None:
    """Choose a WebSocket subprotocol: the first one requested that we offer (RFC 6455 §4.2.2).

    Here the client's order decides, which the RFC calls its preference. Names are case-sensitive.
    """
    return next((name for name in islice(requested, MAX_ELEMENTS) if name in offers), None)


def _heaviest(weights: dict[str, float]) -> str | None:
    """The name of the largest weight above 0; the first one of several."""
    best = max(weights, key=weights.__getitem__, default=None)
    return best if best is not None and weights[best] > 0 else None


def _elements(header: str) -> Iterator[_Element]:
    for match in islice(_COMMAS.finditer(header), MAX_ELEMENTS):
        if element := _element(match[0]):
            yield element


def _element(text: str) -> _Element | None:
    """Read `name *( OWS ";" OWS parameter )`; None if malformed. `q` may stand anywhere, but once."""
    name, _, rest = text.partition(";")
    parameters: dict[str, str] = {}
    for part in filter(None, (part.strip(" \t") for part in _SEMICOLONS.findall(rest))):
        match = _PARAMETER.fullmatch(part)
        if not match or match[1].lower() in parameters:
            return None
        value = match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[3], flags=re.DOTALL)
        parameters[match[1].lower()] = value.lower()
    weight = parameters.pop("q", "1")
    if not _WEIGHT.fullmatch(weight):
        return None
    if parameters.get("charset") == "utf-8":
        del parameters["charset"]
    return _Element(name.strip(" \t").lower(), frozenset(parameters.items()), float(weight))
