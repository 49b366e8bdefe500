"""A checkpoint's calibration: read from config.json, refused by name where it is wrong, and applied."""

import json
import math
from typing import Any

import pytest
import torch

from wildreward.calibration import Calibration, none, read, with_calibration
from wildreward.errors import CheckpointError

GOOD: dict[str, Any] = {
    "method": "temperature+cutpoints", "temperature": 2.0, "cutpoints": [-1.0, 0.5, 2.0], "reason": None, "rows": 90,
}  # fmt: skip


def test_what_was_written_is_read_again() -> None:
    found = Calibration("temperature", 2.0, (-1.0, 0.5, 2.0), "class 4 has 3", {"rows": 90, "nll": {"before": 1.2}})
    config = json.loads(with_calibration('{"num_labels": 1, "wildreward": {"head": "coral"}}', found, {}))
    assert config["num_labels"] == 1
    assert config["wildreward"]["head"] == "coral"
    assert read(config["wildreward"]["calibration"], "coral", 3, "x") == found


def test_a_config_without_a_head_gets_the_one_described() -> None:
    config = json.loads(with_calibration("{}", none("why"), {"head": "independent", "num_classes": 4}))
    assert config["wildreward"]["head"] == "independent"
    assert config["wildreward"]["calibration"]["reason"] == "why"


def test_none_and_skipped_are_no_calibration() -> None:
    assert read(None, "coral", 3, "x") is None
    assert read(none("too few rows").to_config(), "coral", 3, "x") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "isotonic"}, r"\.method: found 'isotonic'; allowed is temperature\+cutpoints, temperature, none"),
        ({"temperature": 0}, r"\.temperature: found 0; allowed is a number above 0"),
        ({"temperature": "1"}, r"\.temperature: found '1'"),
        ({"temperature": True}, r"\.temperature: found True"),
        ({"temperature": math.nan}, r"\.temperature: found nan"),
        ({"cutpoints": [0.0, 1.0]}, r"\.cutpoints: found \[0.0, 1.0\]; allowed is 3 numbers"),
        ({"cutpoints": [0.0, 1.0, math.inf]}, r"\.cutpoints: .* allowed is 3 numbers"),
        ({"cutpoints": None}, r"\.cutpoints: found None"),
        ({"cutpoints": [0.0, 2.0, 1.0]}, r"\.cutpoints: .* allowed is numbers that rise"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(change: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=rf"dir/config\.json: wildreward\.calibration{said}"):
        read(GOOD | change, "coral", 3, "dir/config.json")


def test_a_calibration_that_is_no_object_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"wildreward\.calibration: found \[1\]; allowed is an object"):
        read([1], "coral", 3, "x")


def test_only_the_cutpoints_of_a_coral_head_must_rise() -> None:
    falling = GOOD | {"cutpoints": [1.0, 0.0, -1.0]}
    assert read(falling, "independent", 3, "x") == Calibration(
        "temperature+cutpoints", 2.0, (1.0, 0.0, -1.0), None, {"rows": 90}
    )


def test_logits_are_shifted_then_divided_whatever_the_head_gives() -> None:
    found = Calibration("temperature+cutpoints", 2.0, (-1.0, 0.5, 2.0))
    torch.testing.assert_close(found.logits(torch.tensor([[1.0]])), torch.tensor([[1.0, 0.25, -0.5]]))
    torch.testing.assert_close(found.logits(torch.tensor([[1.0, 1.5, 0.0]])), torch.tensor([[1.0, 0.5, -1.0]]))
