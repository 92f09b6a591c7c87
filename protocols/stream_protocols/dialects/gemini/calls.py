"""Function calls in a conversation, whose ids Gemini's clients may leave out: then results are told by their names."""


class Calls:
    """The calls of a conversation so far. An id that is made depends on what came before only, so it stays the same."""

    def __init__(self) -> None:
        self._count = 0
        self._open: list[tuple[str, str]] = []  # the ids and names of calls without a result

    def begin(self, name: str, identity: str | None) -> str:
        """A call; its id."""
        self._count += 1
        identity = identity or f"call_{self._count}"
        self._open.append((identity, name))
        return identity

    def answer(self, name: str, identity: str | None) -> str:
        """A result; the id of the call that it is for: the oldest one of that name that has no result yet."""
        for index, (known, called) in enumerate(self._open):
            if known == identity if identity else called == name:
                del self._open[index]
                return known
        return identity or f"call_{name}"
