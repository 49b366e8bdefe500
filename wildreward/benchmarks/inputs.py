"""Which evaluation sets are meant by --input: files are recognised by their columns."""

import re
from collections.abc import Sequence

from wildreward import storage
from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.pairs import Pairs
from wildreward.benchmarks.rated import Rated
from wildreward.benchmarks.wildfb import WildFB
from wildreward.errors import DataError
from wildreward.records import SUFFIXES, columns_of, read_records

KINDS: tuple[type[EvaluationSet], ...] = (Pairs, Rated, WildFB)

TEST_SPLITS = ("wildfb/test", "test")
"""Where a label run, or its wildfb directory, keeps the split that is meant for evaluation."""

_PART = re.compile(r"[-_.]?(part[-_]?)?\d+([-_]of[-_]\d+)?$")


def read_sets(inputs: Sequence[str]) -> list[EvaluationSet]:
    """Read every set. Raises UsageError for an input without files, DataError for a file that no kind recognises."""
    sets: dict[tuple[str, type[EvaluationSet]], EvaluationSet] = {}
    for given in inputs:
        split = test_split(given)
        for path in storage.expand([split or given], SUFFIXES):
            kind = recognise(path)
            found = sets.setdefault((_set_of(path, kind, given if split else ""), kind), kind("", []))
            if path not in found.files:
                found.files += (path,)
    names = _names([where for where, _ in sets])
    for name, found in zip(names, sets.values(), strict=True):
        found.name = name
        for path in found.files:
            found.add(read_records(path))
    return list(sets.values())


def test_split(given: str) -> str | None:
    """The test split inside a label run or a wildfb directory; None for anything else."""
    fs, _ = storage.filesystem(given)
    for part in TEST_SPLITS:
        path = storage.join(given, part)
        if fs.isdir(storage.filesystem(path)[1]):
            return path
    return None


def recognise(path: str) -> type[EvaluationSet]:
    """The kind of a file. Raises DataError naming its columns and what is allowed."""
    columns = columns_of(path)
    for kind in KINDS:
        if kind.recognises(columns):
            return kind
    allowed = "; ".join(f"{kind.kind}: {', '.join(kind.needs)}" for kind in KINDS)
    raise DataError(
        f"{path}: not an evaluation set. Its columns are: {', '.join(columns) or 'none'}. Columns needed: {allowed}"
    )


def _set_of(path: str, kind: type[EvaluationSet], split_of: str) -> str:
    """What names the set a file belongs to: parts of one data set are one set.

    >>> _set_of("data/llmbar-00001-of-00004.parquet", Pairs, "")
    'data/llmbar'
    >>> _set_of("data/part-0.parquet", WildFB, ""), _set_of("run/wildfb/test/0.parquet", WildFB, "run/")
    ('data', 'run')
    """
    if split_of:
        return split_of.rstrip("/")
    folder, _, name = path.rpartition("/")
    stem = _PART.sub("", name.rpartition(".")[0])
    return folder if kind is WildFB or not stem else f"{folder}/{stem}"


def _names(places: Sequence[str]) -> list[str]:
    """The shortest ends of these paths that differ.

    >>> _names(["a/x/oasst", "a/y/oasst", "a/llmbar"])
    ['x/oasst', 'y/oasst', 'llmbar']
    """
    parts = [place.split("/") for place in places]
    names = []
    for index, own in enumerate(parts):
        others = parts[:index] + parts[index + 1 :]
        length = next((n for n in range(1, len(own)) if all(own[-n:] != other[-n:] for other in others)), len(own))
        names.append("/".join(own[-length:]))
    return [name if names.count(name) == 1 else f"{name}#{index}" for index, name in enumerate(names)]
