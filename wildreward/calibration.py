"""The calibration of a checkpoint: what config.json holds of it, and what it does to the model's output.

    calibrated logit_k = (raw - c_k) / T        raw: the scalar f(x) of a coral head, else the head's own logit k

With c and T from config.json, "wildreward" / "calibration"; without one c are the trained cutpoints (0 for heads that
have none) and T is 1. How they are fitted: wildreward/calibration_fit.py. Shapes: B batch, K thresholds.

    method           temperature+cutpoints, temperature (the cutpoints stay the trained ones), or none
    reason           why there is none, or why not the cutpoints too; null where everything was fitted
    temperature, cutpoints    null with method none
    rows, conversations, class_rows    what it was fitted on
    rows_are         which rows these are, in words
    folds            parts of the cross-fit behind the figures `after`
    nll, ece_above   before, after (every row by parameters fitted on the other folds); `nll.fitted` is that of the
                     stored parameters on the rows they were fitted on, and never above `before`
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from wildreward.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

Method = Literal["temperature+cutpoints", "temperature", "none"]
KEY = "calibration"


@dataclass(frozen=True)
class Calibration:
    """Temperature and cutpoints, or why there are none, and the facts of the fit as plain values."""

    method: Method
    temperature: float | None = None
    cutpoints: tuple[float, ...] | None = None
    reason: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_config(self) -> dict[str, Any]:
        """The keys of the module's docstring."""
        cutpoints = None if self.cutpoints is None else list(self.cutpoints)
        own = {
            "method": self.method,
            "reason": self.reason,
            "temperature": self.temperature,
            "cutpoints": cutpoints,
        }
        return own | dict(self.facts)

    def logits(self, raw: "Tensor") -> "Tensor":
        """(B, 1) or (B, K) -> (B, K).

        >>> import torch
        >>> Calibration("temperature", 2.0, (-1.0, 1.0)).logits(torch.tensor([[3.0]]))
        tensor([[2., 1.]])
        """
        if self.temperature is None or self.cutpoints is None:
            raise ValueError(f"there is no calibration: {self.reason}")
        return (raw - raw.new_tensor(self.cutpoints)) / self.temperature


def with_calibration(config: str, found: Calibration, head: Mapping[str, Any] | None = None) -> str:
    """The text of a config.json with the calibration in it; `head` describes a head that the config says nothing of."""
    values = json.loads(config)
    values["wildreward"] = {**(head or {}), **values.get("wildreward", {}), KEY: found.to_config()}
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def none(reason: str) -> Calibration:
    """No calibration, and why."""
    return Calibration("none", reason=reason)


def read(value: Any, head: str, thresholds: int, where: str) -> Calibration | None:
    """What config.json says; None for a checkpoint that was never calibrated, or where it was skipped.

    Raises CheckpointError naming the field, what was found and what is allowed.

    >>> read({"method": "temperature", "temperature": 0, "cutpoints": [0.0]}, "coral", 1, "x/config.json")
    Traceback (most recent call last):
    wildreward.errors.CheckpointError: x/config.json: wildreward.calibration.temperature: found 0; allowed is a number
    above 0
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise _wrong(where, "", value, "an object")
    method: Any = value.get("method")
    if method not in get_args(Method):
        raise _wrong(where, ".method", method, ", ".join(get_args(Method)))
    if method == "none":
        return None
    temperature: Any = value.get("temperature")
    cutpoints = value.get("cutpoints")
    if not _finite(temperature) or temperature <= 0:
        raise _wrong(where, ".temperature", temperature, "a number above 0")
    if not isinstance(cutpoints, list) or len(cutpoints) != thresholds or not all(map(_finite, cutpoints)):
        raise _wrong(where, ".cutpoints", cutpoints, f"{thresholds} numbers")
    if head == "coral" and not _rising(cutpoints):
        raise _wrong(where, ".cutpoints", cutpoints, "numbers that rise")
    facts = {name: found for name, found in value.items() if name not in Calibration("none").to_config()}
    return Calibration(method, float(temperature), tuple(map(float, cutpoints)), value.get("reason"), facts)


def _wrong(where: str, name: str, found: Any, allowed: str) -> CheckpointError:
    return CheckpointError(f"{where}: wildreward.{KEY}{name}: found {found!r}; allowed is {allowed}")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rising(values: Sequence[float]) -> bool:
    return all(low < high for low, high in itertools.pairwise(values))
