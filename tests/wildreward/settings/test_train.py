"""Settings of train refuse what cannot work, by the field's name."""

from typing import Any

import pytest

from wildreward.errors import UsageError
from wildreward.settings.train import TrainSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold_weights": [1, 2]}, r"threshold_weights: found 2 numbers; num_classes=4 has 3 thresholds"),
        ({"threshold_weights": [1, 0, 1]}, r"threshold_weights"),
        ({"micro_batch_tokens": 100}, r"micro_batch_tokens: found 100; one row may have max_tokens=512"),
        ({"workers": 4, "batch_rows": 2}, r"batch_rows: found 2; each of workers=4 needs a row"),
        ({"early_stopping_patience": 2, "validation_frac": 0}, r"early_stopping_patience: needs validation rows"),
        ({"class_map": "binary", "num_classes": 4}, r"num_classes: found 4; class_map binary has 2 classes: leave it"),
        ({"class_map": "binary", "threshold_weights": [1, 2, 3]}, r"found 3 numbers; num_classes=2 has 1 thresholds"),
        ({"targets": "soft"}, r"targets: soft needs class_map four, five or binary"),
        ({"cutpoint_freedom": "refitted", "validation_frac": 0}, r"refitted needs validation rows"),
        ({"lora_targets": ["all-linear", "q_proj"]}, r"all-linear stands alone"),
        ({"lora_rank": -1}, r"lora_rank: found -1"),
        ({"zero_stage": 4}, r"zero_stage: found 4"),
        ({"learning_rate": 1e-3}, r"unknown field learning_rate"),
    ],
)
def test_what_cannot_work_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainSettings.parse(values)


@pytest.mark.parametrize("weights", ["none", "balanced", [1, 2.5, 1]])
def test_threshold_weights_are_a_word_or_a_number_a_threshold(weights: Any) -> None:
    found = TrainSettings.parse({"threshold_weights": weights}).threshold_weights
    assert found == (tuple(map(float, weights)) if isinstance(weights, list) else weights)


def test_input_and_output_are_asked_for_when_the_stage_runs() -> None:
    with pytest.raises(UsageError, match=r"train: output is required \(--output\)"):
        TrainSettings(input=("a",)).required()


@pytest.mark.parametrize(("class_map", "count"), [("data", 4), ("four", 4), ("five", 5), ("binary", 2)])
def test_the_number_of_classes_follows_from_the_class_map(class_map: str, count: int) -> None:
    settings = TrainSettings.parse({"class_map": class_map})
    assert settings.num_classes == count
    assert settings.labelling.class_map == class_map
    written = settings.model_dump(mode="json")
    assert TrainSettings.parse({**written, "num_classes": str(count)}) == settings  # as a file, or a flag, has it
