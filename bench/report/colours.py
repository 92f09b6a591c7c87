"""A colour for each target: the gateway stands out, references stay back, peers differ from one another."""

from bench.book import Book

GATEWAYS = ("#0b6bcb", "#3d8fe0", "#7db4ec")
REFERENCES = {"direct": "#b9c0c9", "floor": "#6c7683"}
_PEERS = ("#d9822b", "#8f5cc2", "#2f9e77", "#c9485b", "#a08a2c", "#4aa3b5", "#b0628f", "#7a6a58", "#88a848", "#5b6fb5")


def colours(book: Book) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for name in book.targets():
        kind = book.kinds[name]
        taken = sum(book.kinds[other] == kind for other in chosen)
        if kind == "gateway":
            chosen[name] = GATEWAYS[taken % len(GATEWAYS)]
        else:
            chosen[name] = REFERENCES.get(name) or _PEERS[taken % len(_PEERS)]
    return chosen
