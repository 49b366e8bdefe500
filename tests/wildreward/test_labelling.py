"""Classes and soft targets of rows: by the label column or by the level, whatever map the rows were made with."""

from typing import Any

import pytest

from wildreward.errors import DataError
from wildreward.labelling import LabelCounts, Labelling, check_counts, check_level_probs, class_probs, label_lines
from wildreward.scale import CLASS_MAPS

FOUR, SOFT = Labelling(4, "four"), Labelling(4, "four", soft=True)


def row(level: int, probs: list[float] | None = None) -> dict[str, Any]:
    return {"level": level, "level_probs": probs}


def counted(labelling: Labelling, *rows: dict[str, Any]) -> LabelCounts:
    counts = LabelCounts()
    for item in rows:
        counts.add(item, labelling)
    return counts


@pytest.mark.parametrize(
    ("name", "expected"), [("four", [1, 2, None, 3, 4]), ("five", [1, 2, 3, 4, 5]), ("binary", [1, 1, None, 2, 2])]
)
def test_a_class_follows_from_the_level(name: Any, expected: list[int | None]) -> None:
    labelling = Labelling(max(CLASS_MAPS[name].values()), name)
    assert [labelling.class_of(row(level)) for level in range(1, 6)] == expected


@pytest.mark.parametrize("level", [0, 6, None, "4"])
def test_a_level_out_of_range_is_an_error(level: Any) -> None:
    with pytest.raises(ValueError, match=rf"level: found {level!r}; allowed are \(1, 2, 3, 4, 5\)"):
        FOUR.class_of(row(level))


@pytest.mark.parametrize("name", CLASS_MAPS)
def test_class_probabilities_are_the_levels_sums_renormalised(name: str) -> None:
    probs = [0.05, 0.15, 0.4, 0.25, 0.15]
    found = class_probs(probs, CLASS_MAPS[name])
    assert found is not None
    assert sum(found) == pytest.approx(1)
    kept = sum(probs[level - 1] for level in CLASS_MAPS[name])
    for target, p in enumerate(found, 1):
        levels = [level for level, mapped in CLASS_MAPS[name].items() if mapped == target]
        assert p == pytest.approx(sum(probs[level - 1] for level in levels) / kept)


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        ([0.5, 0.5], "found 2 numbers; expected 5"),
        ([0.5, 0.5, 0.5, 0.0, 0.0], r"which sum to 1.5; they must sum to 1"),
        ([1.5, -0.5, 0.0, 0.0, 0.0], "each must be a number from 0 to 1"),
        ([float("nan"), 0.5, 0.5, 0.0, 0.0], "each must be a number from 0 to 1"),
    ],
)
def test_what_is_no_distribution_over_levels_is_an_error(probs: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_level_probs(probs)


def test_rows_without_probabilities_are_counted_and_said() -> None:
    sure, empty = [0.0, 0.1, 0.1, 0.4, 0.4], [0.0, 0.0, 1.0, 0.0, 0.0]
    counts = counted(SOFT, row(4, sure), row(4), row(5, empty), row(3, sure))
    assert (counts.rows, counts.soft, counts.dropped, dict(counts.classes)) == (3, 1, 1, {3: 2, 4: 1})
    assert label_lines(counts, SOFT) == [
        "class map four: 1 rows have a level it drops",
        "soft targets: 1 rows; 2 without level_probs are trained on their label",
    ]
    assert label_lines(counted(FOUR, row(4)), FOUR) == []


def test_soft_targets_without_any_probabilities_are_an_error() -> None:
    with pytest.raises(DataError, match=r"f.parquet: targets soft, but no row has usable level_probs"):
        check_counts(counted(SOFT, row(4), row(1)), SOFT, "f.parquet")


def test_five_classes_of_rows_whose_neutral_ones_were_dropped_are_an_error() -> None:
    five = Labelling(5, "five")
    with pytest.raises(DataError, match=r"class_map five, but no row has level 3 \(neutral\)"):
        check_counts(counted(five, row(4), row(1)), five, "f.parquet")
    check_counts(counted(five, row(4), row(3)), five, "f.parquet")
