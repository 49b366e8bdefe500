"""Duplicate prompts and each user's share, over the whole data set: between the rows of pass 2 and their files.

Both are questions about rows that belong together, wherever they are. So each group of rows gives its keys to
partitions by hash, a task a partition says which rows go, and the groups mark them: one round for equal prompts, one
for each band of the near-duplicate index, one for users. Nothing that grows with the rows passes through the driver.

Per row the object store holds 160 bytes of keys, and while a round lasts 156 more (20 without signatures). A task holds
the keys of one group, or of one partition of about PARTITION_ROWS. Five million rows: 1.6 GB over all nodes, spilled to
disk when it is too much, and about 80 MB in a task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from wildreward import duplicates
from wildreward.progress import Progress
from wildreward.settings.label import LabelSettings

PARTITION_ROWS = 250_000
BATCH_ROWS = 256
"""Rows whose messages are unpacked at once."""

KEPT = 0


@dataclass(frozen=True)
class Round:
    """One question put to all rows that are left. `band` is set where keys are bands of the near-duplicate index."""

    reason: str
    keys: str
    keep: int = 1
    band: int | None = None


@dataclass(frozen=True)
class Keys:
    """What is known of a group's rows, N of them: no texts. A user of 0 is not known and has no share to exceed."""

    ranks: np.ndarray
    conversations: np.ndarray
    prompts: np.ndarray
    users: np.ndarray
    signatures: np.ndarray


@dataclass(frozen=True)
class Piece:
    """Rows of one group that one partition decides about."""

    places: np.ndarray
    keys: np.ndarray
    ranks: np.ndarray
    conversations: np.ndarray | None = None
    signatures: np.ndarray | None = None


def rounds(settings: LabelSettings) -> list[Round]:
    """In their order: near duplicates are looked for among prompts that differ, and users' shares are of distinct ones.

    >>> [r.reason for r in rounds(LabelSettings(drop_duplicate_prompts="exact", max_rows_per_user=5))]
    ['duplicate_prompt', 'user_cap']
    """
    found = []
    if settings.drop_duplicate_prompts != "none":
        found.append(Round("duplicate_prompt", "prompts"))
    if settings.drop_duplicate_prompts == "near":
        count, _ = duplicates.bands(settings.near_duplicate_similarity)
        found += [Round("near_duplicate_prompt", "signatures", band=band) for band in range(count)]
    if settings.max_rows_per_user is not None:
        found.append(Round("user_cap", "users", keep=settings.max_rows_per_user))
    return found


def drop_reasons(groups: Sequence[Any], total: int, settings: LabelSettings) -> list[Any]:
    """For each group (a reference to a mapping with the WILDFB table `rows`) a reference to an array of reasons.

    A reason is 0 where the row stays, else 1 + the place of the round that drops it. `total` rows in all.
    """
    partitions = 1 + total // PARTITION_ROWS
    known: list[Any] = [_keys.options(name="ReadPromptKeys").remote(group, settings) for group in groups]
    reasons: list[Any] = [_undecided.options(name="StartDiversity").remote(keys) for keys in known]
    todo = rounds(settings) if groups else []
    with Progress("label: duplicates and users", total=len(todo)) as progress:
        for number, question in enumerate(todo, start=1):
            reasons = _asked(question, number, known, reasons, partitions=partitions, settings=settings)
            ray.wait(reasons, num_returns=len(reasons), fetch_local=False)  # references of one round at a time
            progress.advance()
    return reasons


def _asked(
    question: Round, number: int, known: list[Any], reasons: list[Any], *, partitions: int, settings: LabelSettings
) -> list[Any]:
    """The reasons after one more round."""
    given = [
        _several("GroupAlikeRows", _give, partitions, keys, marks, question, partitions, settings)
        for keys, marks in zip(known, reasons, strict=True)
    ]
    dropped = [
        _several("ChooseAlikeRows", _decide, len(known), question, settings, *column)
        for column in zip(*given, strict=True)
    ]
    columns = zip(*dropped, strict=True)
    mark = _mark.options(name="MarkAlikeRows")
    return [mark.remote(marks, number, *column) for marks, column in zip(reasons, columns, strict=True)]


def _several(name: str, task: Any, count: int, *args: Any) -> list[Any]:
    """References to the `count` values that a task of this name in the dashboard returns as a tuple."""
    made = task.options(num_returns=count, name=name).remote(*args)
    return made if count > 1 else [made]


@ray.remote
def _keys(group: Mapping[str, pa.Table], settings: LabelSettings) -> Keys:
    rows = group["rows"]
    near = settings.drop_duplicate_prompts == "near"
    batches = rows.select(["messages"]).to_batches(BATCH_ROWS)
    texts = [duplicates.prompt_text(row["messages"]) for batch in batches for row in batch.to_pylist()]
    signatures = [duplicates.signature(text) for text in texts] if near else []
    width = duplicates.PERMUTATIONS if near else 0
    return Keys(
        ranks=_hashes(rows.column("id").to_pylist(), settings.seed),
        conversations=_hashes(rows.column("conversation_hash").to_pylist()),
        prompts=_hashes(texts),
        users=_hashes(rows.column("user").to_pylist()),
        signatures=np.array(signatures, dtype=np.uint8).reshape(len(texts), width),
    )


def _hashes(texts: Sequence[str | None], seed: int = 0) -> np.ndarray:
    return np.array([0 if text is None else duplicates.hash64(text, seed) for text in texts], dtype=np.uint64)


@ray.remote
def _undecided(keys: Keys) -> np.ndarray:
    return np.full(len(keys.ranks), KEPT, dtype=np.uint8)


@ray.remote
def _give(keys: Keys, reasons: np.ndarray, question: Round, partitions: int, settings: LabelSettings) -> Any:
    """The group's rows that are left, by the partition of their key."""
    values = _values(keys, question, settings)
    left = reasons == KEPT
    if question.keys == "users":
        left &= values != 0
    near = question.band is not None
    pieces = []
    for partition in range(partitions):
        places = np.flatnonzero(left & (values % np.uint64(partitions) == partition)).astype(np.uint32)
        compared = (keys.conversations[places], keys.signatures[places]) if near else ()
        pieces.append(Piece(places, values[places], keys.ranks[places], *compared))
    return tuple(pieces) if partitions > 1 else pieces[0]


def _values(keys: Keys, question: Round, settings: LabelSettings) -> np.ndarray:
    if question.band is None:
        return getattr(keys, question.keys)
    _, width = duplicates.bands(settings.near_duplicate_similarity)
    return duplicates.band_keys(keys.signatures, question.band, width)


@ray.remote
def _decide(question: Round, settings: LabelSettings, *pieces: Piece) -> Any:
    """For each group the places of its rows that go."""
    keys, ranks = (_joined(pieces, name) for name in ("keys", "ranks"))
    if question.band is None:
        go = duplicates.beyond(keys, ranks, question.keep)
    else:
        conversations, signatures = (_joined(pieces, name) for name in ("conversations", "signatures"))
        similarity = settings.near_duplicate_similarity
        go = duplicates.near_duplicates(keys, ranks, conversations, signatures, similarity)
    starts = np.cumsum([0, *(len(piece.places) for piece in pieces)])
    owners = np.searchsorted(starts, go, side="right") - 1
    dropped = [piece.places[go[owners == group] - starts[group]] for group, piece in enumerate(pieces)]
    return tuple(dropped) if len(dropped) > 1 else dropped[0]


def _joined(pieces: Sequence[Piece], name: str) -> np.ndarray:
    return np.concatenate([getattr(piece, name) for piece in pieces])


@ray.remote
def _mark(reasons: np.ndarray, number: int, *dropped: np.ndarray) -> np.ndarray:
    marked = reasons.copy()  # what comes out of the object store is read-only
    marked[np.concatenate(dropped)] = number
    return marked
