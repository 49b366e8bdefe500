"""The fit finds the parameters that made the data, agrees with a library where one knows the case, never makes the
likelihood worse, and says so where the rows allow nothing."""

import re
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from wildreward.calibration_fit import FOLDS, Fitted, Likelihood, fit, folds_of, row_nll
from wildreward.metrics import Array
from wildreward.ordinal import HeadKind

HEADS: tuple[HeadKind, ...] = ("coral", "corn", "independent")
TRAINED = np.array([-1.0, 0.0, 1.0])
"""Cutpoints of the coral head before."""
TEMPERATURE, CUTPOINTS = 1.7, np.array([-2.0, 0.5, 2.0])
"""What the data are made with; of the other heads these are shifts of their logits."""


def simulated(head: HeadKind, rows: int, seed: int = 0) -> tuple[Array, Array]:
    """Logits as trained, and labels drawn from the model with the true temperature and cutpoints."""
    generator = np.random.default_rng(seed)
    if head == "coral":
        f_N1 = generator.normal(0, 2.5, (rows, 1))
        above_NK = generator.logistic(size=(rows, 1)) < (f_N1 - CUTPOINTS) / TEMPERATURE
        return f_N1 - TRAINED, 1 + above_NK.sum(1)
    raw_NK = generator.normal(0, 2.5, (rows, 1)) + generator.normal(0, 0.5, (rows, 3))
    passed_NK = generator.logistic(size=(rows, 3)) < (raw_NK - CUTPOINTS) / TEMPERATURE
    return raw_NK, 1 + passed_NK.cumprod(1).sum(1)  # the chain of a corn head


def fitted(head: HeadKind, logits_NK: Array, labels_N: Array, conversations: list[str] | None = None) -> Fitted:
    names = conversations or [str(i) for i in range(len(labels_N))]
    return fit(head, logits_NK, labels_N, names, TRAINED.tolist() if head == "coral" else None, rows_are="simulated")


def mean_nll(head: HeadKind, logits_NK: Array, labels_N: Array) -> float:
    return float(row_nll(head, logits_NK, labels_N).mean())


@pytest.mark.parametrize("head", ["coral", "corn"])
def test_the_parameters_that_made_the_data_are_found(head: HeadKind) -> None:
    """10,000 rows know a cutpoint to about 0.05."""
    found = fitted(head, *simulated(head, 10_000)).calibration
    assert (found.method, found.reason) == ("temperature+cutpoints", None)
    assert found.temperature == pytest.approx(TEMPERATURE, rel=0.05)
    assert found.cutpoints == pytest.approx(CUTPOINTS, abs=0.15)


def test_one_threshold_is_platt_scaling() -> None:
    """sigmoid((x - s) / T) is logistic regression on x, here of scikit-learn without a penalty."""
    generator = np.random.default_rng(1)
    x_N1 = generator.normal(0, 2, (400, 1))
    labels_N = 1 + (generator.logistic(size=400) < (x_N1[:, 0] - 0.7) / 2)
    known = LogisticRegression(C=np.inf, tol=1e-10).fit(x_N1, labels_N)
    for head in HEADS:
        own = [0.0] if head == "coral" else None
        found = fit(head, x_N1, labels_N, [str(i) for i in range(400)], own, rows_are="").calibration
        assert found.temperature == pytest.approx(1 / known.coef_[0, 0], rel=1e-4)
        assert found.cutpoints == pytest.approx([-known.intercept_[0] / known.coef_[0, 0]], abs=1e-4)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("seed", range(3))
def test_the_likelihood_of_the_rows_is_never_worse(head: HeadKind, seed: int) -> None:
    logits_NK, labels_N = simulated(head, 200, seed)
    found = fitted(head, logits_NK, labels_N)
    assert found.own is not None
    assert found.crossed is not None
    nll = found.calibration.facts["nll"]
    assert nll["fitted"] < nll["before"] == pytest.approx(mean_nll(head, logits_NK, labels_N))
    assert nll["fitted"] == pytest.approx(mean_nll(head, found.own, labels_N))
    assert nll["after"] == pytest.approx(mean_nll(head, found.crossed, labels_N))
    assert nll["after"] > nll["fitted"]


@pytest.mark.parametrize("head", HEADS)
def test_no_step_in_any_direction_is_better(head: HeadKind) -> None:
    logits_NK, labels_N = simulated(head, 300)
    found = fitted(head, logits_NK, labels_N)
    assert found.own is not None
    best = mean_nll(head, found.own, labels_N)
    for threshold in range(3):
        for step in (-1e-2, 1e-2):
            moved = found.own + step * (np.arange(3) == threshold)
            assert mean_nll(head, moved, labels_N) > best
    for scale in (0.99, 1.01):
        assert mean_nll(head, found.own * scale, labels_N) > best


def test_cutpoints_of_a_coral_head_keep_their_order_even_where_a_class_is_rare() -> None:
    logits_NK, labels_N = simulated("coral", 400)
    labels_N = np.where((labels_N == 2) & (np.arange(400) % 12 > 0), 1, labels_N)
    cutpoints = fitted("coral", logits_NK, labels_N).calibration.cutpoints
    assert cutpoints is not None
    assert np.all(np.diff(cutpoints) > 0)


def test_what_is_calibrated_already_is_left_about_as_it_is() -> None:
    logits_NK, labels_N = simulated("coral", 10_000)
    made = (logits_NK + TRAINED - CUTPOINTS) / TEMPERATURE
    found = fit("coral", made, labels_N, [str(i) for i in range(10_000)], CUTPOINTS.tolist(), rows_are="").calibration
    assert found.temperature == pytest.approx(1, abs=0.03)
    assert found.cutpoints == pytest.approx(CUTPOINTS, abs=0.08)


def test_a_rare_class_leaves_the_cutpoints_as_trained_and_is_named() -> None:
    logits_NK, labels_N = simulated("coral", 300)
    rare_N = np.flatnonzero(labels_N == 4)[9:]
    keep_N = np.setdiff1d(np.arange(300), rare_N)
    found = fitted("coral", logits_NK[keep_N], labels_N[keep_N]).calibration
    assert found.method == "temperature"
    assert found.reason == "class 4 has 9 of the 10 conversations that cutpoints need"
    assert found.cutpoints == tuple(TRAINED)
    assert found.facts["nll"]["fitted"] <= found.facts["nll"]["before"]


def test_many_rows_of_one_conversation_are_one() -> None:
    logits_NK, labels_N = simulated("coral", 300)
    names = ["one" if label == 4 else str(i) for i, label in enumerate(labels_N.tolist())]
    reason = fitted("coral", logits_NK, labels_N, names).calibration.reason
    assert reason == "class 4 has 1 of the 10 conversations that cutpoints need"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda z, y: (z[:49], y[:49]), "49 conversations; at least 50 are needed"),
        (lambda z, y: (z, np.full(len(y), 2)), r"one class only \(2\)"),
        (lambda z, y: (100 * (y[:, None] - np.array([1.5, 2.5, 3.5])), y), "told apart without error"),
        (lambda z, y: (-z[:, ::-1], y), "temperature undetermined"),  # the scores run the wrong way
    ],
)
def test_rows_that_allow_nothing_are_told(change: Any, said: str) -> None:
    logits_NK, labels_N = change(*simulated("coral", 300))
    found = fitted("coral", logits_NK, labels_N)
    assert found.own is found.crossed is None
    assert found.calibration.method == "none"
    assert found.calibration.temperature is found.calibration.cutpoints is None
    assert re.search(said, str(found.calibration.reason))


@pytest.mark.parametrize("head", HEADS)
def test_the_slope_is_that_of_the_differences(head: HeadKind) -> None:
    logits_NK, labels_N = simulated(head, 20)
    likelihood = Likelihood.of(head, labels_N, 3)
    for k in range(3):
        step = 1e-6 * (np.arange(3) == k)
        numeric_N = (likelihood.rows(logits_NK + step) - likelihood.rows(logits_NK - step)) / 2e-6
        assert likelihood.slopes(logits_NK)[:, k] == pytest.approx(numeric_N, abs=1e-6)


def test_a_conversation_is_never_on_both_sides_of_the_cross_fit() -> None:
    names = [f"c{i // 7}" for i in range(700)]
    folds_N = folds_of(names)
    assert {len({int(fold) for fold, name in zip(folds_N, names, strict=True) if name == one}) for one in names} == {1}
    assert np.bincount(folds_N).tolist() == [140] * FOLDS
