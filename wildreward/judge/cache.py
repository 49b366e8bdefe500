"""The judge cache: answers that were paid for, kept as parquet on any filesystem, so that they are not paid for again.

    cache = JudgeCache("s3://team/judge-cache")
    cache.put(key, answer)          # waits in memory
    cache.flush()                   # a new segment: from now on safe from a kill -9
    cache.get_many([key])           # {key: answer}

In memory there are 12 bytes an answer, what was not flushed yet, and the row groups read last. Any number of processes
may share a directory: files are only added whole, and deleted only once a larger file holds their answers. A reader
that finds a file gone lists the directory again.
"""

import hashlib
import itertools
import json
import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from wildreward import storage
from wildreward.errors import DataError, UsageError
from wildreward.judge import cache_segments as segments
from wildreward.judge.cache_segments import GROUP_ROWS, KEY_BYTES, SEGMENT, BadSegmentError, GoneError, Segment
from wildreward.judge.prompts import FEEDBACK_ALPHABET, REFUSAL_ALPHABET

MERGE_FILES = 16
"""So many segments of like size become one: flushing every two seconds leaves dozens of files, not thousands."""

FULL_ROWS, FULL_BYTES = 2**16, 2**26
"""A segment of so many rows, or so many bytes, is not merged further."""

READ_BYTES = 2**26
"""Row groups kept in memory, together."""

REFRESH_S = 10.0
"""How often, at most, the directory is listed for what other processes have added."""

OPEN_AT_ONCE = 16

ALPHABETS: Mapping[str, Sequence[int]] = {"feedback": FEEDBACK_ALPHABET, "refusal": REFUSAL_ALPHABET}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedAnswer:
    """An answer with its evidence, as the judge gave it. `asker`: on whose account its requests and tokens are."""

    question: str
    value: int
    probs: tuple[float, ...] | None
    raw: str | None
    judge: str
    prompt_version: str
    attempts: int
    prompt_tokens: int | None
    completion_tokens: int | None
    asker: bytes


def digest(what: Any) -> bytes:
    """A key: hash of anything JSON can hold, independent of the order of mappings.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}), digest([1]) == digest(["1"]), len(digest(None))
    (True, False, 16)
    """
    text = json.dumps(what, sort_keys=True)  # ASCII: a lone surrogate is escaped and not an error
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()


class JudgeCache:
    """Answers by key. `put` never blocks; the other methods read and write files, and may be called from any thread."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.ignored: dict[str, str] = {}
        """Files that are not used -> why."""
        self._pending: dict[bytes, CachedAnswer] = {}
        self._segments: dict[str, Segment] = {}
        self._mine: list[str] = []
        self._groups: OrderedDict[tuple[str, int], pa.Table] = OrderedDict()
        self._listed_at = 0.0
        self._reading, self._writing = threading.RLock(), threading.Lock()
        self.refresh()

    @property
    def pending(self) -> int:
        """Answers that a kill -9 would lose."""
        return len(self._pending)

    def __len__(self) -> int:
        """Answers in the files; one that several files hold counts in each."""
        return sum(segment.rows for segment in list(self._segments.values()))

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, CachedAnswer]:
        """The answers that are there. Raises DataError when the cache cannot be read."""
        with self._reading:
            waiting = ((key, self._pending.get(key)) for key in keys)  # before the files: a flush moves them there
            found = {key: answer for key, answer in waiting if answer is not None}
            found |= self._search([key for key in keys if key not in found])
            missing = [key for key in keys if key not in found]
            if missing and time.monotonic() - self._listed_at > REFRESH_S:
                self.refresh()
                found |= self._search(missing)
            return found

    def put(self, key: bytes, answer: CachedAnswer) -> None:
        """Keep an answer in memory until `flush`."""
        self._pending[key] = answer

    def flush(self) -> None:
        """Write what is pending as one new segment, and merge own segments where there are many of like size."""
        with self._writing:
            written = dict(self._pending)
            if not written:
                return
            self._mine.append(self._write(_table(written.items())).path)
            for key in written:
                del self._pending[key]
            self._merge(self._mine)

    def tidy(self) -> None:
        """Before a run: make sure that the directory can be written, and merge small segments, whoever left them.

        Raises UsageError for a directory that cannot be written.
        """
        probe = storage.join(self.directory, f"{uuid.uuid4().hex}.probe")
        try:
            storage.write_bytes(probe, b"")
            storage.remove(probe)
        except OSError as error:
            raise UsageError(f"--judge-cache {self.directory}: cannot be written: {error}") from error
        with self._writing:
            self._merge(sorted(self._segments))

    def refresh(self) -> None:
        """Bring the list of segments up to date with the directory."""
        with self._reading:
            try:
                gone: set[str] = set()
                while missed := self._list(gone):  # what holds their answers now may be newer than the listing
                    gone |= missed
            except OSError as error:
                raise DataError(f"judge cache {self.directory}: cannot be read: {error}") from error
            self._listed_at = time.monotonic()

    def _list(self, gone: set[str]) -> set[str]:
        """Open the segments that are new, and forget those that went; `gone` are not tried again.

        Returns those that were merged away since they were seen; none where the listing was whole.
        """
        paths = segments.listed(self.directory)
        known = self._segments.keys() | self.ignored.keys() | gone
        new = [path for path in paths if path not in known]
        with ThreadPoolExecutor(OPEN_AT_ONCE) as pool:
            opened = dict(zip(new, pool.map(_open, new), strict=True))
        for path, found in opened.items():
            if isinstance(found, Segment):
                self._segments[path] = found
            elif isinstance(found, BadSegmentError):
                self._ignore(path, found)
        forgotten = self._segments.keys() - set(paths)
        for path in forgotten:
            self._forget(path)
        return forgotten | {path for path, found in opened.items() if found is None}

    def _search(self, keys: Sequence[bytes]) -> dict[bytes, CachedAnswer]:
        """As `get_many`, in the segments alone."""
        found: dict[bytes, CachedAnswer] = {}
        heads = segments.heads_of(keys)
        for segment in list(self._segments.values()):
            try:
                for place, row in segment.find(heads):
                    answer = self._read(segment.path, row, keys[place])
                    if answer is not None:
                        found[keys[place]] = answer
            except GoneError:
                self.refresh()
                return self._search(keys)
            except BadSegmentError as error:
                self._ignore(segment.path, error)
            except OSError as error:
                raise DataError(f"judge cache {segment.path}: cannot be read: {error}") from error
        return found

    def _read(self, path: str, row: int, key: bytes) -> CachedAnswer | None:
        group = self._group(path, row // GROUP_ROWS)
        [values] = group.slice(row % GROUP_ROWS, 1).to_pylist()
        if values.pop("key") != key:  # the same 64 bits, another question
            return None
        return _answer(values)

    def _group(self, path: str, group: int) -> pa.Table:
        if (path, group) not in self._groups:
            self._groups[path, group] = segments.read_group(path, group)
            while len(self._groups) > 1 and sum(table.nbytes for table in self._groups.values()) > READ_BYTES:
                self._groups.popitem(last=False)
        self._groups.move_to_end((path, group))
        return self._groups[path, group]

    def _write(self, table: pa.Table) -> Segment:
        try:
            segment = segments.write(self.directory, table)
        except OSError as error:
            raise DataError(f"judge cache {self.directory}: cannot be written: {error}") from error
        with self._reading:
            self._segments[segment.path] = segment
        return segment

    def _merge(self, paths: list[str]) -> None:
        """Merge segments of `paths`, which is kept up to date, until no size has MERGE_FILES of them.

        A kill -9 on the way leaves some answers in two files, which harms nobody.
        """
        while parts := to_merge([self._segments[path] for path in paths if path in self._segments]):
            read = {part.path: self._read_part(part.path) for part in parts}
            tables = [table for table in read.values() if table is not None]
            if tables:
                paths.append(self._write(_without_repetition(pa.concat_tables(tables))).path)
            if None in read.values():
                self.refresh()  # to know the files that hold the answers of those that went
            for path, table in read.items():
                paths.remove(path)
                if table is not None:
                    storage.remove(path)
                with self._reading:
                    self._forget(path)

    def _read_part(self, path: str) -> pa.Table | None:
        try:
            return segments.read_all(path)
        except GoneError:
            return None  # another process was faster
        except BadSegmentError as error:
            self._ignore(path, error)
            return None

    def _ignore(self, path: str, error: BadSegmentError) -> None:
        log.warning("judge cache: %s is ignored: %s", path, error)
        with self._reading:
            self.ignored[path] = str(error)
            self._forget(path)

    def _forget(self, path: str) -> None:
        self._segments.pop(path, None)
        for place in [place for place in self._groups if place[0] == path]:
            del self._groups[place]


def to_merge(found: Sequence[Segment]) -> list[Segment]:
    """The segments to merge next: the oldest of the smallest size that has MERGE_FILES of them. Empty: nothing to do.

    Sizes are powers of 16 rows, so that an answer is written again a few times in all, however many there are.
    """
    sizes: dict[int, list[Segment]] = {}
    for segment in sorted(found, key=lambda segment: segment.path):
        if segment.rows < FULL_ROWS and segment.size_bytes < FULL_BYTES:
            sizes.setdefault((segment.rows.bit_length() - 1) // 4, []).append(segment)
    many = [size for size, members in sizes.items() if len(members) >= MERGE_FILES]
    if not many:
        return []
    members = sizes[min(many)][:MERGE_FILES]
    total = itertools.accumulate(segment.size_bytes for segment in members)
    return [
        segment
        for place, (segment, size) in enumerate(zip(members, total, strict=True))
        if place < 2 or size <= FULL_BYTES
    ]


def _open(path: str) -> Segment | BadSegmentError | None:
    try:
        return segments.open_segment(path)
    except BadSegmentError as error:
        return error
    except GoneError:
        return None  # merged since it was listed


def _table(items: Iterable[tuple[bytes, CachedAnswer]]) -> pa.Table:
    return pa.Table.from_pylist([{"key": key} | vars(answer) for key, answer in items], schema=SEGMENT)


def _without_repetition(table: pa.Table) -> pa.Table:
    """The first row of each key."""
    first = {key: row for row, key in reversed(list(enumerate(table.column("key").to_pylist())))}
    return table.take(pa.array(sorted(first.values()), pa.int64())).combine_chunks()


def _answer(values: Mapping[str, Any]) -> CachedAnswer:
    """Raises BadSegmentError for values that no judge of ours gave."""
    probs = values["probs"]
    answer = CachedAnswer(**{**values, "probs": None if probs is None else tuple(probs)})
    alphabet = ALPHABETS.get(answer.question, ())
    if answer.value not in alphabet or (answer.probs is not None and len(answer.probs) != len(alphabet)):
        raise BadSegmentError(f"holds {answer.value!r} as the answer to {answer.question!r}")
    return answer
