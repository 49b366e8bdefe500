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
        ({"beta_end": 0.2}, "beta_schedule constant"),
        ({"beta_schedule": "linear"}, "beta_end: found None"),
        ({"lora_targets": ("all-linear", "q_proj")}, "all-linear stands alone"),
        ({"device": "cuda", "learner_workers": 2, "gpus_per_actor": 0.25}, "learner_gpus: found 0.25"),
        ({"device": "cuda", "gpus_per_actor": 2}, "learner_gpus: found 2"),
        ({"betta": 0.1}, "did you mean beta"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        DpoSettings.parse(values)


def test_a_schedule_ends_where_the_run_was_to_end_and_a_constant_one_nowhere() -> None:
    given = {"lr_schedule": "cosine", "steps": "50"}
    assert DpoSettings.parse(given).schedule_steps == 50
    assert DpoSettings.parse({"lr_schedule": "cosine"}).schedule_steps == DpoSettings().steps
    assert DpoSettings.parse(given | {"schedule_steps": 20}).schedule_steps == 20
    assert DpoSettings.parse({"steps": 50}).schedule_steps is None


def test_what_may_change_on_resume_are_fields() -> None:
    assert set(DpoSettings.model_fields) >= FREE_ON_RESUME
