"""The calibration of a training run: which rows it may see, and their logits, kept in every checkpoint.

The rows are set apart by conversation: with `calibration_frac` they are neither trained on nor chosen by; without it
they are the validation rows, which also chose the checkpoint out of the few that were saved. Every rank computes its
share of the logits when a checkpoint is saved, so that at the end nothing has to be loaded, whatever the model's size.
Memory: 8 bytes for each of the K logits of a row set apart.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from train import tokens
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.calibration import Calibration, none
from wildreward.calibration_rows import Calibrated, Rows, calibrated
from wildreward.holdout import held_out
from wildreward.metrics import Array
from wildreward.settings.train import TrainSettings

LOGITS = "calibration_logits.npy"
"""In a checkpoint of the run, beside the Hugging Face directory."""

APART = "rows set apart for the calibration alone (calibration_frac)"
VALIDATION = "validation rows, which also chose the checkpoint"


def is_apart(conversations: Sequence[str], settings: TrainSettings) -> Array:
    """(N,) which rows only the calibration may see. The validation rows are the same with them and without.

    >>> settings = TrainSettings(validation_frac=0.25, calibration_frac=0.25)
    >>> int(is_apart(list("abcdefgh"), settings).sum())
    2
    """
    if not settings.calibration_frac:
        return np.zeros(len(conversations), dtype=bool)
    validation = held_out(conversations, settings.validation_frac, settings.seed)
    both = held_out(conversations, settings.validation_frac + settings.calibration_frac, settings.seed)
    return np.array([name in both and name not in validation for name in conversations], dtype=bool)


def rows_apart(store: tokens.TokenStore, settings: TrainSettings) -> tokens.TokenStore:
    """The rows of `is_apart`, which draws from all rows, those that the class map drops too."""
    apart = is_apart(store.table.column("conversation_hash").to_pylist(), settings)
    return store.subset(np.flatnonzero(apart[store.rows]))


def save_logits(directory: Path, logits_NK: Array) -> None:
    np.save(directory / LOGITS, logits_NK)


def calibrate(
    settings: TrainSettings, apart: tokens.TokenStore, validation: tokens.TokenStore, checkpoint: Path, hf: Path
) -> tuple[Calibration, Calibrated | None]:
    """The calibration of a checkpoint of the run, or why there is none; and what is measured, where rows were apart."""
    skip = None if settings.calibrate else "it was not asked for (calibrate: false)"
    store, rows_are = (apart, APART) if len(apart) else (validation, VALIDATION)
    if not len(store):
        return none(skip or "no rows were set apart for it (validation_frac and calibration_frac are 0)"), None
    if not (checkpoint / LOGITS).is_file():
        return none("the checkpoint was saved by an earlier version, without its logits"), None
    rows = Rows(np.load(checkpoint / LOGITS), store.labels, _conversations(store), rows_are)
    cutpoints = json.loads((hf / "config.json").read_text(encoding="utf-8"))["wildreward"]["cutpoints"]
    found = calibrated(settings.head, rows, cutpoints, MeasureOptions(seed=settings.seed), skip)
    return found.calibration, found


def _conversations(store: tokens.TokenStore) -> list[str]:
    names: list[Any] = store.table.column("conversation_hash").to_pylist()
    return [names[row] for row in store.rows.tolist()]
