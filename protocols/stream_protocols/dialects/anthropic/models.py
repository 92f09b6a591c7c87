"""What models of Claude take in a request that others refuse, by their names.

The models up to a generation are a closed list, so nothing here needs care as new ones come. Names of resellers
(`anthropic.claude-opus-4-1-20250805-v1:0`, `claude-opus-4@20250514`) have the maker's inside them.
"""

import re
from typing import Final

_NEWER: Final = r"claude-(?![1-3][.-]|[1-3]\b|instant|4-(?:opus|sonnet)|(?:opus|sonnet|haiku)-4(?![-.][%d-9](?!\d)))"

_FROM_4_6: Final = re.compile(_NEWER % 6)
_FROM_4_7: Final = re.compile(_NEWER % 7)


def decides_thinking(model: str) -> bool:
    """Whether it decides for itself how much to think, and refuses budgets (or soon will); no other maker's does."""
    return _FROM_4_6.search(model) is not None


def takes_sampling(model: str) -> bool:
    """Whether it takes `temperature`, `top_p` and `top_k`; Claude since 4.7 does not."""
    return _FROM_4_7.search(model) is None
