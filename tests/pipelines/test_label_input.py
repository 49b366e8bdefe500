"""How the input of an output may change between two runs."""

import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.label_input import describe_input, file_version, refuse_other_input
from wildreward.errors import DataError, UsageError
from wildreward.settings.label import LabelSettings

FILES = {"b": [10, "1"], "c": [20, "2"]}


def described(files: dict[str, Any] | None = None, limit: int | None = None, frac: float = 1.0, seed: int = 0) -> Any:
    sample = {"sample_frac": frac, "sample_seed": seed if frac < 1 else None}
    return {"files": FILES if files is None else files, "limit": limit} | sample


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (described(), described(FILES | {"a": [1, "1"]})),
        (described(limit=5), described(limit=7)),
        (described(limit=5), described()),
        (described(limit=5), described({"a": [1, "1"], **FILES})),
        (described(limit=5), described(FILES | {"d": [1, "1"]}, limit=5)),
        (described(frac=0.1), described(frac=0.2)),
        (described(frac=0.1, seed=1), described(seed=2)),
        (described(frac=0.1, limit=5), described(frac=0.2)),
    ],
)
def test_what_holds_all_that_was_judged_continues(then: Any, now: Any) -> None:
    refuse_other_input("out", then, now)


@pytest.mark.parametrize(
    ("then", "now", "message"),
    [
        (described(), described({"b": FILES["b"]}), "c is gone or has changed"),
        (described(), described(FILES | {"c": [20, "3"]}), "c is gone or has changed"),
        (described(), described(limit=5), "limit: None -> 5"),
        (described(limit=5), described(limit=4), "limit: 5 -> 4"),
        (described(limit=5), described({"a": [1, "1"], **FILES}, limit=6), "files were added before"),
        (described(frac=0.2), described(frac=0.1), "sample_frac: 0.2 -> 0.1"),
        (described(), described(frac=0.5), "sample_frac: 1.0 -> 0.5"),
        (described(frac=0.1, seed=1), described(frac=0.2, seed=2), "seed of the sample: 1 -> 2"),
        (described(frac=0.1, limit=5), described(frac=0.2, limit=9), "sample_frac: 0.1 -> 0.2 under a limit"),
    ],
)
def test_what_would_leave_out_judged_conversations_is_refused_by_name(then: Any, now: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        refuse_other_input("out", then, now)


def test_an_edit_of_the_same_size_is_another_version(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("one")
    settings = LabelSettings()
    before = describe_input(settings, [str(path)])
    assert describe_input(settings, [str(path)]) == before
    path.write_text("two")
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))
    assert file_version(str(path))[0] == before["files"][str(path)][0]
    with pytest.raises(UsageError, match="gone or has changed"):
        refuse_other_input("out", before, describe_input(settings, [str(path)]))
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        file_version(str(path))


def test_the_seed_matters_only_where_there_is_a_sample() -> None:
    assert describe_input(LabelSettings(seed=4), []) == describe_input(LabelSettings(), [])
    assert describe_input(LabelSettings(seed=4, sample_frac=0.5), [])["sample_seed"] == 4
