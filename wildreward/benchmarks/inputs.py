"""Which evaluation sets are meant by --input: a benchmark's name, or files, which are recognised by their columns."""

import re
from collections.abc import Iterator, Sequence

from wildreward import storage
from wildreward.benchmarks.candidates import Candidates
from wildreward.benchmarks.catalog import BENCHMARKS, named, suggestion
from wildreward.benchmarks.downstream import load_downstream
from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.judgebench import JudgeBench
from wildreward.benchmarks.pairs import Pairs
from wildreward.benchmarks.ppe_correctness import PPECorrectness
from wildreward.benchmarks.ppe_human import PPEHuman
from wildreward.benchmarks.rated import Rated
from wildreward.benchmarks.rewardbench import RewardBench
from wildreward.benchmarks.rewardbench2 import RewardBench2
from wildreward.benchmarks.rmbench import RMBench
from wildreward.benchmarks.wildfb import WildFB
from wildreward.errors import DataError, UsageError
from wildreward.records import SUFFIXES, columns_of, first_rows, read_records

KINDS: tuple[type[EvaluationSet], ...] = (
    RewardBench2, RMBench, RewardBench, JudgeBench, PPEHuman, PPECorrectness, Candidates, Pairs, Rated, WildFB,
)  # fmt: skip
"""The special ones before the general ones: the first that recognises a file reads it."""

TAKE_DOWNSTREAM = (PPECorrectness, Candidates)

TEST_SPLITS = ("wildfb/test", "test")
"""Where a label run, or its wildfb directory, keeps the split that is meant for evaluation."""

_PART = re.compile(r"[-_.]?(part[-_]?)?\d+([-_]of[-_]\d+)?$")


def read_sets(inputs: Sequence[str], downstream: str | None = None) -> list[EvaluationSet]:
    """Read every set; `downstream` is `module:function` (downstream.py).

    Raises UsageError for an input without files, DataError for a file that no kind recognises.
    """
    sets: dict[tuple[str, type[EvaluationSet]], EvaluationSet] = {}
    for given in inputs:
        for place, kind, path in _files(given):
            found = sets.setdefault((place, kind), kind("", []))
            if path not in found.files:
                found.files += (path,)
    _set_downstream(list(sets.values()), downstream)
    names = _names([_place(place, found) for (place, _), found in sets.items()])
    for name, found in zip(names, sets.values(), strict=True):
        found.name = name
        for path in found.files:
            found.add(read_records(path), path)
    return list(sets.values())


def _files(given: str) -> Iterator[tuple[str, type[EvaluationSet], str]]:
    """(what names the set, its kind, file) of every file meant by one --input."""
    by_name = named(given)
    if by_name is not None:
        name, files = by_name
        yield from ((name, BENCHMARKS[name].kind, path) for path in files)
        return
    split = test_split(given)
    try:
        paths = storage.expand([split or given], (".json",) if given.endswith(".json") else SUFFIXES)
    except UsageError as error:
        raise UsageError(f"{error}{suggestion(given)}") from error
    for path in paths:
        kind = recognise(path)
        yield _set_of(path, kind, given if split else ""), kind, path


def _set_downstream(sets: Sequence[EvaluationSet], name: str | None) -> None:
    if name is None:
        return
    function, takers = load_downstream(name), [found for found in sets if isinstance(found, TAKE_DOWNSTREAM)]
    if not takers:
        raise UsageError(f"--downstream {name}: no input has several replies to choose from (`prompt` and `responses`)")
    for found in takers:
        found.downstream = function


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
    columns, sample = columns_of(path), first_rows(path)
    for kind in KINDS:
        if kind.recognises(columns, sample):
            return kind
    raise DataError(f"{path}: not an evaluation set. {_unlike(columns)}")


def _unlike(columns: Sequence[str]) -> str:
    """What a file with these columns lacks of the kind that it is nearest to, and what every kind needs.

    >>> print(_unlike(["id", "prompt", "chosen"]).splitlines()[0])
    Its columns are: id, prompt, chosen. As pairs it lacks: rejected. Columns needed of each kind:
    """
    needed = "".join(f"\n  {kind.kind}: {', '.join(kind.needs)}" for kind in KINDS)
    if not columns:
        return f"It has no row that can be read. Columns needed of each kind:{needed}"
    nearest = max(KINDS, key=lambda kind: len({*kind.needs} & {*columns}) / len(kind.needs))
    lacking = [name for name in nearest.needs if name not in columns]
    near = f" As {nearest.kind} it lacks: {', '.join(lacking)}." if len(lacking) < len(nearest.needs) else ""
    return f"Its columns are: {', '.join(columns)}.{near} Columns needed of each kind:{needed}"


def _set_of(path: str, kind: type[EvaluationSet], split_of: str) -> str:
    """What names the set a file belongs to: parts of one data set are one set.

    >>> _set_of("data/llmbar-00001-of-00004.parquet", Pairs, ""), _set_of("rm/chat_filtered.json", RMBench, "")
    ('data/llmbar', 'rm')
    >>> _set_of("data/part-0.parquet", WildFB, ""), _set_of("run/wildfb/test/0.parquet", WildFB, "run/")
    ('data', 'run')
    """
    if split_of:
        return split_of.rstrip("/")
    folder = path.rpartition("/")[0]
    return folder if kind.whole else _without_part(path) or folder


def _place(folder: str, found: EvaluationSet) -> str:
    """A single file is named by itself, even where the files of a folder would belong together."""
    if len(found.files) > 1 or found.files[0].rpartition("/")[0] != folder:
        return folder
    return _without_part(found.files[0]) or folder


def _without_part(path: str) -> str | None:
    """Folder and name of a file without suffix and number of the part; None where nothing is left of the name."""
    folder, _, name = path.rpartition("/")
    stem = _PART.sub("", name.rpartition(".")[0])
    return f"{folder}/{stem}" if stem else None


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
