"""Calibrate an ordinal reward model on rows of one's own: temperature and cutpoints by maximum likelihood.

    wildreward calibrate --checkpoint runs/train/checkpoint --input rows.parquet --output runs/calibrate
    python -m pipelines.calibrate ...       the same, for `ray job submit --working-dir . -- ...`

Rows hold `messages` and `label`, as those of `wildreward label`; of a label run the test split is read, which must then
not be what the model is measured on. Written: checkpoint/ (a copy with another config.json; the weights are the same),
report.html and figures/, done.json, settings.yaml. An earlier calibration is replaced, never stacked. Where the rows
allow none it is an error that says why, and nothing is written.
Memory: the texts of the rows, and 8 bytes for each logit.
"""

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.scoring import named_failures
from wildreward import run_directory, storage
from wildreward.batching import token_batches
from wildreward.benchmarks.inputs import read_sets, test_split
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.benchmarks.wildfb import WildFB
from wildreward.calibration import with_calibration
from wildreward.calibration_report import REPORT, add_calibration, in_words, write_report
from wildreward.calibration_rows import Calibrated, Rows, calibrated
from wildreward.checkpoint import CONFIG, check_files, copy_checkpoint, is_scalar, local_directory
from wildreward.cli import main
from wildreward.cluster import stage_cluster
from wildreward.errors import CheckpointError, DataError, UsageError
from wildreward.metrics import Array
from wildreward.ordinal import HeadKind
from wildreward.progress import Progress
from wildreward.report import Report
from wildreward.resources import Ask, require, takes_gpus
from wildreward.scorer import Conversation
from wildreward.settings.calibrate import CalibrateSettings
from wildreward.template import InputTemplate

OWNED = ("checkpoint", "report.html", "figures")


def run(settings: CalibrateSettings) -> None:
    """Raises UsageError for a wrong checkpoint or input, DataError for rows that allow no calibration."""
    check_files(settings.checkpoint, settings.template)
    directory = local_directory(settings.checkpoint)
    if is_scalar(directory):
        raise UsageError(f"--checkpoint {settings.checkpoint}: a scalar reward model has no classes to calibrate")
    rows = read_rows(settings.input)
    if run_directory.open_run(settings, OWNED) == "done":
        print(f"calibrate: {settings.output} is done already; --overwrite calibrates again")
        return _show(run_directory.facts(settings.output))
    session = stage_cluster("calibrate", settings, here_only={"input", "output"})
    with session, Progress("asking the model"), named_failures():
        answer = _ask(settings, rows.conversations)
    described = _calibrate(settings, directory, rows, answer)
    run_directory.finish(settings.output, described)
    return _show(described)


@dataclass
class LabelledRows:
    """The rows of all inputs, in order; `places` says where each was read, for errors."""

    conversations: list[Conversation] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def read_rows(inputs: Sequence[str]) -> LabelledRows:
    """Raises UsageError for files that are no WildFB rows, DataError where no row can be used."""
    rows = LabelledRows()
    for given in inputs:
        if test_split(given):
            print(f"note: {given}: its test split is read; measure the model on other rows", file=sys.stderr)
    for found in read_sets(inputs):
        if not isinstance(found, WildFB):
            raise UsageError(
                f"--input {found.files[0]}: {found.kind}; rows with {' and '.join(WildFB.needs)} are needed"
            )
        rows.skipped.update(found.skipped)
        for item in found.scored:
            rows.conversations += found.texts_of(item)
            rows.labels.append(item["label"])
            rows.groups.append(item["conversation_hash"] or f"{found.name}#{item['row']}")
            rows.places.append(f"{found.name}: row {item['row']}")
    if not rows.labels:
        raise DataError(f"--input {' '.join(inputs)}: no row can be used: {dict(rows.skipped)}")
    return rows


@dataclass(frozen=True)
class Answer:
    """What the model says of the rows, and of itself."""

    logits_NK: Array
    head: HeadKind
    cutpoints: tuple[float, ...] | None
    template: InputTemplate
    described: dict[str, Any]


def _ask(settings: CalibrateSettings, conversations: Sequence[Conversation]) -> Answer:
    """One task, on a GPU where the cluster has one."""
    import ray

    on_gpu = takes_gpus(settings.device)
    require("calibrate", [Ask("task with the model", 1, {"CPU": 1, "GPU": float(on_gpu)})])
    task = ray.remote(ask).options(num_cpus=1, num_gpus=1 if on_gpu else 0, name="AskModel")
    found: Answer = ray.get(task.remote(settings, list(conversations), "cuda" if on_gpu else "cpu"))
    return found


def ask(settings: CalibrateSettings, conversations: Sequence[Conversation], device: str) -> Answer:
    """The logits as trained of every conversation, in order. A checkpoint from elsewhere is fetched where this runs."""
    import torch

    from wildreward.reward_model import RewardModel

    torch.set_num_threads(settings.threads or os.cpu_count() or 1)
    directory = local_directory(settings.checkpoint)
    model = RewardModel.load(
        directory, device, settings.dtype, settings.template, settings.trust_remote_code, calibrated=False
    )
    if model.temperature != 1:
        raise CheckpointError(
            f"{directory}/{CONFIG}: wildreward.temperature: found {model.temperature}; allowed is 1.0"
        )
    items = [model.encode(messages) for messages in conversations]
    logits_NK = np.empty((len(items), model.num_classes - 1))
    with torch.inference_mode():
        for batch in token_batches([len(item.input_ids) for item in items], settings.batch_tokens):
            raw = model.raw_logits([items[i].input_ids for i in batch])
            logits_NK[batch] = model.uncalibrated(raw).double().cpu().numpy()
    return Answer(logits_NK, model.head, model.cutpoints, model.template, model.describe())


def _calibrate(settings: CalibrateSettings, directory: Path, rows: LabelledRows, answer: Answer) -> dict[str, Any]:
    """Fit, write checkpoint and report; what came of it."""
    classes = answer.logits_NK.shape[1] + 1
    for place, label in zip(rows.places, rows.labels, strict=True):
        if label > classes:
            raise DataError(f"{place}: label: found {label}; {settings.checkpoint} has the classes 1..{classes}")
    options = MeasureOptions(settings.bootstrap, settings.confidence, settings.seed, settings.calibration_bins)
    given = f"--input {' '.join(settings.input)}"
    apart = Rows(answer.logits_NK, np.array(rows.labels), rows.groups, given)
    found = calibrated(answer.head, apart, answer.cutpoints, options)
    if found.calibration.method == "none":
        raise DataError(
            f"--input {' '.join(settings.input)}: these rows allow no calibration: {found.calibration.reason}"
        )
    target = storage.join(settings.output, "checkpoint")
    head = {name: answer.described[name] for name in ("head", "num_classes", "cutpoints", "temperature")}

    def adjust(copy: Path) -> None:
        config = copy / CONFIG
        text = with_calibration(config.read_text(encoding="utf-8"), found.calibration, head)
        config.write_text(text, encoding="utf-8")
        answer.template.save(copy)

    copy_checkpoint(directory, target, adjust)
    described = {
        "checkpoint": target,
        "of": settings.checkpoint,
        "rows": len(rows.labels),
        "skipped": dict(rows.skipped),
        "calibration": found.calibration.to_config(),
        "calibration_said": in_words(found.calibration),
        "report": storage.join(settings.output, REPORT),
    }
    write_report(settings.output, _report(described, found))
    return described


def _report(described: Mapping[str, Any], found: Calibrated) -> Report:
    report = Report("Calibration of a reward model")
    shown = {"of": "from", "checkpoint": "calibrated", "skipped": "rows skipped", "calibration_said": "calibration"}
    facts = [(title, str(described[name] or "none")) for name, title in shown.items()]
    report.table(("", ""), facts, "What came of it")
    add_calibration(report, found)
    return report


def _show(described: Mapping[str, Any]) -> None:
    skipped = ", ".join(f"{reason} {count}" for reason, count in described["skipped"].items())
    print(f"rows         {described['rows']:,}" + (f"; skipped: {skipped}" if skipped else ""))
    print(f"calibration  {described['calibration_said']}")
    print(f"checkpoint   {described['checkpoint']}")
    print(f"report       {described['report']}")


if __name__ == "__main__":
    raise SystemExit(main(["calibrate", *sys.argv[1:]]))
