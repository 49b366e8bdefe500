"""Agreement against scikit-learn, and intervals against drawing the conversations one by one."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, precision_score, recall_score

from wildreward.agreement import FEEDBACK_LEVELS, REFUSAL_VERDICTS, agreement, kinds
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.bootstrap import Estimate, resample, resample_alike
from wildreward.errors import DataError
from wildreward.metrics import mean, quadratic_kappa
from wildreward.scale import LEVELS

RNG = np.random.default_rng(5)
CONVERSATIONS = RNG.integers(0, 120, 400)
TRUE = RNG.choice(LEVELS, 400, p=[0.1, 0.2, 0.4, 0.2, 0.1])
FOUND = np.clip(TRUE + RNG.choice([-1, 0, 0, 0, 1], 400), 1, 5)


def test_every_figure_is_that_of_scikit_learn() -> None:
    made = agreement(TRUE, FOUND, CONVERSATIONS)
    assert made.accuracy.value == pytest.approx(accuracy_score(TRUE, FOUND))
    assert made.kappa.value == pytest.approx(cohen_kappa_score(TRUE, FOUND))
    assert made.quadratic_kappa is not None
    assert made.quadratic_kappa.value == pytest.approx(cohen_kappa_score(TRUE, FOUND, weights="quadratic"))
    assert np.array_equal(made.confusion, confusion_matrix(TRUE, FOUND, labels=LEVELS))
    for found, library in ((made.recall, recall_score), (made.precision, precision_score)):
        assert [found[level].value for level in LEVELS] == pytest.approx(
            library(TRUE, FOUND, labels=LEVELS, average=None)
        )
    assert (made.turns, made.conversations) == (400, len(np.unique(CONVERSATIONS)))


def test_the_interval_is_that_of_drawing_whole_conversations() -> None:
    plain = resample({"hits": mean(TRUE == FOUND), "kappa": quadratic_kappa(TRUE, FOUND)}, CONVERSATIONS, 4000)
    made = agreement(TRUE, FOUND, CONVERSATIONS, options=MeasureOptions(replicates=4000))
    for estimate, samples in ((made.accuracy, plain["hits"]), (made.quadratic_kappa, plain["kappa"])):
        expected = samples.estimate()
        assert estimate is not None
        assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=0.005)


def test_kinds_hold_every_turn_of_every_conversation() -> None:
    pairs = (TRUE - 1) * 5 + FOUND - 1
    counts, copies = kinds(pairs, CONVERSATIONS, 25)
    assert np.array_equal(copies @ counts, np.bincount(pairs, minlength=25))
    contents = {tuple(sorted(pairs[name == CONVERSATIONS])) for name in np.unique(CONVERSATIONS)}
    assert {tuple(np.repeat(np.arange(25), row)) for row in counts} == contents


def test_many_conversations_of_few_kinds_take_no_more_room_than_the_kinds() -> None:
    conversations = np.arange(200_000)
    counts, copies = kinds(conversations % 25, conversations, 25)
    assert counts.shape == (25, 25)
    assert copies.tolist() == [8000] * 25
    [made] = resample_alike({"rate": mean(np.arange(25) < 5)}, counts, copies, replicates=50).values()
    estimate = made.estimate()
    assert estimate.low is not None
    assert 0.19 < estimate.low < 0.2


def test_a_level_of_few_conversations_has_no_interval_and_an_unused_one_no_value() -> None:
    true = [1] * 30 + [2] * 5
    made = agreement(true, true, range(35))
    assert made.recall[1] == Estimate(1.0, 1.0, 1.0)
    assert made.recall[2] == Estimate(1.0)
    assert made.recall[3] == made.precision[3] == Estimate(None)


def test_labels_that_never_vary_have_no_kappa() -> None:
    made = agreement([3] * 20, [3] * 20, range(20))
    assert (made.accuracy.value, made.kappa.value) == (1.0, None)
    assert made.quadratic_kappa == Estimate(None)
    opposite = agreement([1, 1, 5, 5], [5, 5, 1, 1], range(4))
    assert opposite.quadratic_kappa is not None
    assert opposite.quadratic_kappa.value == pytest.approx(-1.0)


def test_verdicts_have_no_order() -> None:
    assert agreement([0, 1, 2], [0, 1, 1], range(3), REFUSAL_VERDICTS).quadratic_kappa is None


def test_nothing_to_compare_and_a_label_of_no_category_are_errors() -> None:
    with pytest.raises(DataError, match="no turn"):
        agreement([], [], [])
    with pytest.raises(DataError, match=r"turn 1: found 9; allowed are \[1, 2, 3, 4, 5\]"):
        agreement([1, 9], [1, 1], range(2), FEEDBACK_LEVELS)
