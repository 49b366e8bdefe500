"""Settings of dpo that do not fit together are refused by name."""

from typing import Any

import pytest

from wildreward.errors import UsageError
from wildreward.settings.dpo import FREE_ON_RESUME, DpoSettings


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"loss": "ipo", "label_smoothing": 0.1}, "label_smoothing"),
        ({"completions_per_prompt": 1}, "completions_per_prompt"),
        ({"beta": 0}, "beta"),
        ({"staleness": 2}, "staleness"),
        ({"betta": 0.1}, "did you mean beta"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        DpoSettings.parse(values)


def test_what_may_change_on_resume_are_fields() -> None:
    assert set(DpoSettings.model_fields) >= FREE_ON_RESUME
