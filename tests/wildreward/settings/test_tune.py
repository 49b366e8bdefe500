"""Settings of tune refuse a search space that cannot be searched, by the field's name."""

from typing import Any

import pytest

from wildreward.errors import UsageError
from wildreward.settings.tune import TuneSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"space": {}}, r"a sweep needs at least one field to vary"),
        ({"space": {"learning_rate": [1]}}, r"learning_rate is not a setting a sweep can vary; allowed are backbone"),
        ({"space": {"output": ["a"]}}, r"output is not a setting a sweep can vary"),
        ({"space": {"lr": 3}}, r"lr: found 3; allowed is a list of values, or one of uniform"),
        ({"space": {"lr": {"uniform": [2, 1]}}}, r"lr: found .* with \[low, high\]"),
        ({"space": {"head": ["coral", "corn"]}, "metric": "loss"}, r"metric: loss is another quantity .* of head"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TuneSettings.parse(values)


def test_the_number_of_trials_is_the_grid_times_the_samples() -> None:
    space = {"head": ["coral", "corn"], "seed": [0, 1, 2], "lr": {"loguniform": [1e-5, 1e-3]}}
    assert TuneSettings(space=space, num_samples=2).grid_size == 12
