"""Set conversations apart: whole ones, the same ones for the same seed, whatever the order of the rows."""

import hashlib
from collections import Counter
from collections.abc import Sequence


def held_out(conversations: Sequence[str], frac: float, seed: int) -> frozenset[str]:
    """Conversations that hold about `frac` of the rows; `conversations` names the conversation of each row.

    They are taken in the order of their hashes until the share is reached; never all of them.

    >>> sorted(held_out(["a", "a", "b", "c", "d", "e"], frac=0.3, seed=0))
    ['a', 'd']
    >>> held_out(["a", "b"], frac=0.0, seed=0)
    frozenset()
    """
    counts = Counter(conversations)
    chosen: set[str] = set()
    rows = 0
    for name in sorted(counts, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())[:-1]:
        if rows >= frac * len(conversations):
            break
        chosen.add(name)
        rows += counts[name]
    return frozenset(chosen)
