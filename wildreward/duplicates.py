"""Which rows repeat another row's prompt, exactly or nearly, and which are beyond a user's share.

A row's prompt here is all the user said up to the reply, without regard to case and spacing. What the assistant said in
between does not count: the same questions put to two models are the same prompt. Near duplicates are found by MinHash
(Broder 1997) over character 5-grams, in the signature's lowest 8 bits (b-bit minwise hashing, Li and König 2010,
doi 10.1145/1772690.1772759), with the usual banding: signatures that agree in a whole band are compared in full.

Of rows that belong together the one with the lowest rank stays, a hash of the seed and its id: neither the order of the
input nor how it is cut has a say. N rows, P = 128 permutations.
"""

import functools
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PERMUTATIONS = 128
"""An estimate of a similarity of 0.8 is off by 0.035 (one standard deviation)."""

SHINGLE_CHARS = 5
BATCH_SHINGLES = 4096
"""Hashed at once: bounds the memory a long prompt takes."""

BAND_RECALL = 0.9
"""Least chance that two prompts exactly as similar as asked for agree in a band; the more similar, the higher."""

MAX_REPRESENTATIVES = 2000
"""Rows of one band bucket that others are compared with. More of them would be dissimilar and yet agree in the band."""


def prompt_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the user said before the last message, in lower case, a line a message.

    >>> chat = [("user", "Hi  there"), ("assistant", "Yes?"), ("user", "A Poem,\\nplease"), ("assistant", "Roses")]
    >>> prompt_text([{"role": role, "content": content} for role, content in chat])
    'hi there\\na poem, please'
    """
    said = (message["content"] for message in messages[:-1] if message["role"] == "user")
    return "\n".join(" ".join(text.lower().split()) for text in said)


def hash64(text: str, seed: int = 0) -> int:
    """64 bits that tell texts apart: among five million the chance of one collision is one in a million."""
    data = f"{seed}/{text}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


def signature(text: str) -> np.ndarray:
    """uint8 array of shape (P,): the share of places where two texts agree estimates their similarity."""
    data = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    grams = list({data[start : start + SHINGLE_CHARS] for start in range(max(1, len(data) - SHINGLE_CHARS + 1))})
    hashed = _empty_sketch().copy()
    for start in range(0, len(grams), BATCH_SHINGLES):
        hashed.update_batch([gram.encode() for gram in grams[start : start + BATCH_SHINGLES]])
    return (hashed.hashvalues & 0xFF).astype(np.uint8)


@functools.cache
def _empty_sketch() -> Any:
    from datasketch import MinHash

    return MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)


def bands(similarity: float) -> tuple[int, int]:
    """(bands, signature places in a band): as wide as they can be with BAND_RECALL.

    >>> bands(0.8), bands(0.5), bands(1.0)
    ((16, 8), (42, 3), (1, 128))
    """
    for width in range(PERMUTATIONS, 0, -1):
        count = PERMUTATIONS // width
        if 1 - (1 - similarity**width) ** count >= BAND_RECALL:
            return count, width
    return PERMUTATIONS, 1


def band_keys(signatures_NP: np.ndarray, band: int, width: int) -> np.ndarray:
    """uint64 array of shape (N,): equal where signatures agree in the whole band."""
    keys_N = np.zeros(len(signatures_NP), dtype=np.uint64)
    for place in range(band * width, (band + 1) * width):
        keys_N = (keys_N ^ signatures_NP[:, place]) * np.uint64(0x9E3779B97F4A7C15)
        keys_N ^= keys_N >> np.uint64(29)
    return keys_N


def beyond(keys_N: np.ndarray, ranks_N: np.ndarray, keep: int) -> np.ndarray:
    """Places of the rows that are not among the `keep` lowest ranks of their key.

    >>> beyond(np.array([7, 8, 7, 7]), np.array([30, 5, 10, 20]), keep=1)
    array([0, 3])
    """
    order = np.lexsort((ranks_N, keys_N))
    nth = np.arange(len(order)) - np.repeat(*_runs(keys_N[order]))
    return np.sort(order[nth >= keep])


def near_duplicates(
    keys_N: np.ndarray,
    ranks_N: np.ndarray,
    conversations_N: np.ndarray,
    signatures_NP: np.ndarray,
    similarity: float,
) -> np.ndarray:
    """Places of the rows that are at least so similar to a row of lower rank, same key and another conversation.

    A row that goes is compared with no other any more: of a chain of similar prompts every second may stay, and no two
    rows of a key that stay are similar. Turns of one conversation are no duplicates, though each prompt holds the one
    before.
    """
    order = np.lexsort((ranks_N, keys_N))
    starts, lengths = _runs(keys_N[order])
    least = PERMUTATIONS * (similarity + (1 - similarity) / 256)
    found: list[int] = []
    for start, length in zip(starts[lengths > 1], lengths[lengths > 1], strict=True):
        stay: list[int] = []
        for place in order[start : start + length]:
            others = stay[:MAX_REPRESENTATIVES]
            agreeing = (signatures_NP[others] == signatures_NP[place]).sum(1)
            if np.any((agreeing >= least) & (conversations_N[others] != conversations_N[place])):
                found.append(int(place))
            else:
                stay.append(int(place))
    return np.sort(np.array(found, dtype=np.int64))


def _runs(sorted_keys_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(starts, lengths) of the runs of equal keys."""
    starts = np.flatnonzero(np.concatenate([[True], sorted_keys_N[1:] != sorted_keys_N[:-1]])[: len(sorted_keys_N)])
    return starts, np.diff([*starts, len(sorted_keys_N)])
