"""Where the records of a run go beside its metrics.jsonl, and how a record becomes numbers."""

from collections.abc import Mapping
from typing import Any, Protocol


class Sink(Protocol):
    """Takes records {"kind": "train" or "validation", "step": n, name: value, ...} in order, each step once."""

    def write(self, record: Mapping[str, Any]) -> None: ...

    def flush(self) -> None:
        """Called twice a second: what was written survives a kill of this process, and is still seen."""

    def close(self, finished: bool) -> None: ...


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """The measured values of a record, as `kind/name`; what is not known (null) is left out.

    >>> numbers({"kind": "train", "step": 3, "loss": 0.5, "tokens": 7, "mfu": None})
    {'train/loss': 0.5, 'train/tokens': 7.0}
    """
    kept = {name: value for name, value in record.items() if name not in ("kind", "step") and value is not None}
    return {f"{record['kind']}/{name}": float(value) for name, value in kept.items()}
