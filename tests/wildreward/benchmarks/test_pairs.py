import math

import numpy as np
import pytest

from tests.wildreward.benchmarks.sets import QUICK, made, scalar, take
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.benchmarks.pairs import Pairs
from wildreward.errors import DataError
from wildreward.scorer import Unscored


def _pair(name: str, chosen: str = "longer reply", rejected: str = "short", subset: str = "a") -> dict[str, object]:
    return {"id": name, "subset": subset, "prompt": "hi", "chosen": chosen, "rejected": rejected}


def test_a_tie_counts_as_wrong_for_the_model_and_for_length() -> None:
    rows = [_pair("right"), _pair("wrong"), _pair("tie"), _pair("equal length", "abcde", "short")]
    result = take(made(Pairs, rows), [3, 1, 1, 3, 2, 2, 4, 1]).measure(QUICK)
    assert result.metrics["accuracy"].estimate.value == 2 / 4
    assert result.metrics["accuracy"].baselines["length"].estimate.value == 3 / 4
    assert result.extra["ties"] == 1


def test_subsets_are_measured_alone_and_the_macro_mean_counts_them_alike() -> None:
    rows = [_pair("1"), _pair("2"), _pair("3"), _pair("4", subset="b")]
    result = take(made(Pairs, rows), [2, 1, 2, 1, 2, 1, 1, 2]).measure(QUICK)
    assert {name: metrics["accuracy"].estimate.value for name, metrics in result.subsets.items()} == {
        "a": 1.0,
        "b": 0.0,
    }
    assert result.metrics["accuracy"].estimate.value == 3 / 4
    assert result.metrics["macro_accuracy"].estimate.value == 1 / 2
    assert result.subsets["b"]["accuracy"].count == 1


def test_the_lowest_subset_is_named_and_small_ones_are_no_candidates() -> None:
    rows = [_pair(f"{subset}{i}", subset=subset) for subset, n in (("a", 20), ("b", 20), ("c", 9)) for i in range(n)]
    scores = [2, 1] * 20 + [2, 1] * 12 + [1, 2] * 8 + [1, 2] * 9
    result = take(made(Pairs, rows), scores).measure(QUICK)
    lowest = result.metrics["min_subset_accuracy"]
    assert (result.extra["min_subset"], result.extra["subsets_too_small"]) == ("b", ["c"])
    assert (lowest.estimate.value, lowest.count) == (12 / 20, 40)
    assert lowest.estimate.low is not None
    assert lowest.estimate.low < 12 / 20
    assert lowest.baselines["length"].estimate.value == 1.0
    assert lowest.chance is None  # the lowest of many coins is below 1/2


def test_one_subset_has_no_mean_or_minimum_over_subsets_and_small_ones_no_minimum() -> None:
    alone = take(made(Pairs, [_pair("1")]), [2, 1]).measure(QUICK)
    assert not {"macro_accuracy", "min_subset_accuracy"} & set(alone.metrics)
    assert "min_subset" not in alone.extra
    two = take(made(Pairs, [_pair("1"), _pair("2", subset="b")]), [2, 1, 1, 2]).measure(QUICK)
    assert "min_subset_accuracy" not in two.metrics
    assert (two.extra["min_subset"], two.extra["subsets_too_small"]) == (None, ["a", "b"])


def test_markdown_is_kept_as_counts_and_measured() -> None:
    rows = [_pair(str(i), chosen="- one\n- **two**", rejected="plain") for i in range(12)]
    found = take(made(Pairs, rows), [2, 1] * 12)
    result = found.measure(QUICK)
    assert {name: found.items[0][name] for name in ("list_items_chosen", "bold_chosen", "list_items_rejected")} == {
        "list_items_chosen": 2,
        "bold_chosen": 1,
        "list_items_rejected": 0,
    }
    assert result.metrics["score_gain_of_more_list_items"].estimate.value == 1.0


def test_scores_without_bounds_or_probabilities_are_measured_alike() -> None:
    found = made(Pairs, [_pair(str(i)) for i in range(12)])
    found.take_scores([scalar(value) for _ in range(12) for value in (-7.5, -30.0)])
    values = {name: metric.estimate.value for name, metric in found.measure(QUICK).metrics.items()}
    assert values["accuracy"] == 1.0
    assert values["ece"] == pytest.approx(0, abs=1e-9)


def test_calibration_is_of_the_sigmoid_of_the_margin() -> None:
    result = take(made(Pairs, [_pair("1"), _pair("2")]), [3, 1, 1, 3]).measure(QUICK)
    confidence = 1 / (1 + math.exp(-2))  # both pairs, one of them right
    assert result.metrics["ece"].estimate.value == pytest.approx(confidence - 0.5)


def test_accuracy_is_told_apart_by_which_reply_is_longer() -> None:
    rows = [_pair("1"), _pair("2", "tiny", "long reply"), _pair("3", "tiny", "long reply")]
    metrics = take(made(Pairs, rows), [2, 1, 1, 2, 2, 1]).measure(QUICK).metrics
    assert metrics["accuracy_when_longer_is_better"].estimate.value == 1.0
    assert metrics["accuracy_when_shorter_is_better"].estimate.value == 0.5


def test_every_unusable_row_is_counted_by_reason_and_kept_as_an_item() -> None:
    rows: list[dict[str, object] | None] = [
        _pair("good"),
        _pair("good"),
        _pair("empty", chosen="  "),
        {"id": "missing", "prompt": "hi", "chosen": "yes", "rejected": None},
        {"id": "prompt", "prompt": [{"role": "user"}], "chosen": "yes", "rejected": "no"},
        _pair("nan"),
        None,
    ]
    found = take(made(Pairs, rows), [2, 1, Unscored("nan_score"), 1])
    assert found.skipped == {
        "duplicate_id": 1,
        "empty_response": 1,
        "malformed_prompt": 1,
        "missing_rejected": 1,
        "nan_score": 1,
        "unreadable_row": 1,
    }
    assert len(found.items) == len(rows) == len(found.scored) + sum(found.skipped.values())


def test_nothing_left_to_evaluate_is_an_error_that_says_why() -> None:
    with pytest.raises(DataError, match="nothing is left to evaluate: empty_response 1"):
        take(made(Pairs, [_pair("1", chosen="")]), [])


def test_a_prompt_may_be_text_or_messages() -> None:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    found = made(Pairs, [_pair("1"), _pair("2") | {"prompt": messages}])
    assert [[message["role"] for message in c] for c in found.conversations[::2]] == [
        ["user", "assistant"],
        ["system", "user", "assistant"],
    ]


def test_a_clear_winner_is_better_than_chance_and_than_length() -> None:
    rows = [_pair(str(i), "tiny", "a long reply") for i in range(40)]
    accuracy = take(made(Pairs, rows), [3, 1] * 40).measure(QUICK).metrics["accuracy"]
    assert (accuracy.against_chance, accuracy.against_length) == ("better than chance", "better than length")
    coin = np.random.default_rng(0).permutation([3.0, 1.0] * 20)
    scores = [value for first in coin for value in (first, 4 - first)]
    accuracy = take(made(Pairs, rows), scores).measure(QUICK).metrics["accuracy"]
    assert accuracy.against_chance == "no better than chance"


def test_few_pairs_give_no_verdict() -> None:
    accuracy = take(made(Pairs, [_pair("1")]), [3, 1]).measure(MeasureOptions()).metrics["accuracy"]
    assert (accuracy.estimate.low, accuracy.against_chance) == (None, "too few to compare with chance")
