"""What a run writes while it works: metrics.jsonl, samples.jsonl, TensorBoard events, and one console line a step."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

COLUMNS = (
    ("reward", "reward/mean", "{:.3f}"),
    ("margin", "reward/margin", "{:.3f}"),
    ("loss", "loss", "{:.3f}"),
    ("acc", "implicit/accuracy", "{:.2f}"),
    ("kl", "kl", "{:.2f}"),
    ("len", "completion/tokens", "{:.0f}"),
    ("cut", "completion/cut_off_frac", "{:.0%}"),
    ("pairs", "pairs", "{:d}"),
    ("s", "seconds/step", "{:.1f}"),
)


class Recorder:
    """Lines of steps after `step` are dropped first: a resumed run writes them again."""

    def __init__(self, output: Path, step: int) -> None:
        self.output = output
        for name in ("metrics.jsonl", "samples.jsonl"):
            _keep_until(output / name, step)
        from torch.utils.tensorboard.writer import SummaryWriter

        self._events = SummaryWriter(str(output / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        _append(self.output / "metrics.jsonl", {"step": step, **values})
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
        self._events.flush()

    def line(self, step: int, steps: int, values: Mapping[str, Any]) -> None:
        shown = [f"{name} {form.format(values[key])}" for name, key, form in COLUMNS if key in values]
        print(f"step {step}/{steps}: {'  '.join(shown)}", flush=True)

    def sample(self, step: int, values: Mapping[str, Any]) -> None:
        _append(self.output / "samples.jsonl", {"step": step, **values})


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file; a last line cut short by a kill is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def _append(path: Path, row: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(row, ensure_ascii=False) + "\n")


def _keep_until(path: Path, step: int) -> None:
    from wildreward.storage import write_text

    if path.is_file():
        kept = [row for row in read_lines(path) if row["step"] <= step]
        write_text(str(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
