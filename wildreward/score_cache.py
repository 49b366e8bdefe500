"""Scores kept by what made them and by text, so that no text is scored twice by the same model.

    CACHE/IDENTITY/model.json           what the scorer said of itself
    CACHE/IDENTITY/*.parquet            columns KEPT: the text's content key and its score; every file is whole

The identity is the scorer's own (`ScorerSource.identity`: for a checkpoint a hash of its files), the key that of
`content_key`. Files are only added, so several runs may share a directory. Reading keeps the rows that were asked for,
as Arrow columns (about 150 bytes a text with four classes) and not as Python objects.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wildreward import storage
from wildreward.errors import DataError
from wildreward.score_table import SCORED, score_of
from wildreward.scorer import Unscored

if TYPE_CHECKING:
    from wildreward.reward_model import Score

KEPT = pa.schema([("key", pa.string()), *SCORED])

LASTING_ERRORS = ("nan_score",)
"""What a text has instead of a score and would have again. Other errors are not kept: the text is tried again."""

FLUSH_S = 1.0
"""Blocks that come faster are written together: at most one file a second, and at most a second of work to lose. One
that takes longer is written at once, by the actor that scored it."""

MODEL = "model.json"
_KEY = "S32"


class KeptScores(Sequence["Score | Unscored"]):
    """Results in the order they were asked for, made into objects only when looked at."""

    def __init__(self, table: pa.Table, rows_N: npt.NDArray[np.int64], others: Mapping[int, Unscored]) -> None:
        self._table, self._rows_N, self._others = table, rows_N, others

    @property
    def missing(self) -> list[int]:
        """Positions without any result."""
        return [int(i) for i in np.flatnonzero(self._rows_N < 0) if int(i) not in self._others]

    def __len__(self) -> int:
        return len(self._rows_N)

    @overload
    def __getitem__(self, position: int) -> "Score | Unscored": ...
    @overload
    def __getitem__(self, position: slice) -> "Sequence[Score | Unscored]": ...
    def __getitem__(self, position: int | slice) -> "Score | Unscored | Sequence[Score | Unscored]":
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        row = int(self._rows_N[position])
        if row < 0:
            return self._others[position]
        return score_of(self._table.slice(row, 1).to_pylist()[0])


class ScoreCache:
    """The scores of one scorer in a directory, on any filesystem."""

    def __init__(self, directory: str, identity: str) -> None:
        self.folder = storage.join(directory, identity)
        self._waiting: list[pa.Table] = []
        self._flushed = 0.0

    def read(self, keys: Sequence[str], others: Mapping[int, Unscored] | None = None) -> KeptScores:
        """What is kept of these different texts; `others` are results of this run that are not kept, by position."""
        wanted_N = np.array(keys, dtype=_KEY)
        order_N = np.argsort(wanted_N)
        rows_N = np.full(len(keys), -1, dtype=np.int64)
        tables, rows = [KEPT.empty_table()], 0
        for table in self._parts():
            found_M = _positions(np.array(table.column("key").to_pylist(), dtype=_KEY), wanted_N, order_N)
            hits = np.flatnonzero(found_M >= 0)
            rows_N[found_M[hits]] = rows + np.arange(len(hits))
            rows += len(hits)
            tables.append(table.take(pa.array(hits)))
        return KeptScores(pa.concat_tables(tables).combine_chunks(), rows_N, others or {})

    def _parts(self) -> Iterator[pa.Table]:
        for path in self._files():
            with storage.open_file(path) as handle:
                try:
                    yield pq.read_table(handle, schema=KEPT)
                except pa.ArrowException as error:
                    raise DataError(f"{path}: not a file of scores: {error}; delete it") from error

    def _files(self) -> list[str]:
        fs, inner = storage.filesystem(self.folder)
        names = sorted(fs.glob(f"{inner}/*.parquet"))
        return names if storage.is_local(self.folder) else [fs.unstrip_protocol(name) for name in names]

    def add(self, table: pa.Table) -> None:
        """Keep a finished block (columns KEPT): on disk at once, or with the next ones if the last was just written."""
        lasting = pc.is_in(table.column("error"), value_set=pa.array([None, *LASTING_ERRORS], pa.string()))
        self._waiting.append(table.filter(lasting))
        if time.monotonic() - self._flushed >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        table = pa.concat_tables([KEPT.empty_table(), *self._waiting])
        if table.num_rows:
            name = hashlib.blake2b("".join(table.column("key").to_pylist()).encode(), digest_size=8).hexdigest()
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink)
            storage.write_bytes(storage.join(self.folder, f"{name}.parquet"), bytes(sink.getvalue()))
        self._waiting, self._flushed = [], time.monotonic()

    def describe(self, description: Mapping[str, Any]) -> None:
        """Keep what the scorer says of itself."""
        storage.write_text(storage.join(self.folder, MODEL), json.dumps(description, indent=2) + "\n")

    def description(self) -> dict[str, Any]:
        """What it said; nothing where it was not asked yet."""
        path = storage.join(self.folder, MODEL)
        found: dict[str, Any] = json.loads(storage.read_text(path)) if storage.exists(path) else {}
        return found


def _positions(
    keys_M: npt.NDArray[Any], wanted_N: npt.NDArray[Any], order_N: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """(M,) the position of each key among the wanted ones, -1 where it is not.

    >>> wanted = np.array([b"c", b"a"])
    >>> _positions(np.array([b"a", b"b", b"c"]), wanted, np.argsort(wanted))
    array([ 1, -1,  0])
    """
    if not len(wanted_N):
        return np.full(len(keys_M), -1, dtype=np.int64)
    places_M = np.minimum(np.searchsorted(wanted_N, keys_M, sorter=order_N), len(wanted_N) - 1)
    found_M = order_N[places_M]
    return np.where(wanted_N[found_M] == keys_M, found_M, -1)
