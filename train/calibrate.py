"""The calibration of a training run: which rows it may see, and their logits, kept in every checkpoint.

The rows are set apart by conversation: with `calibration_frac` they are neither trained on nor chosen by; without it
they are the validation rows, which also chose the checkpoint out of the few that were saved. Every rank computes its
share of the logits when a checkpoint is saved, so that at the end nothing has to be loaded, whatever the model's size.
Memory: 8 bytes for each of the K logits of a row set apart.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from train import tokens
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.calibration import Calibration, none, with_calibration
from wildreward.calibration_rows import Calibrated, Rows, calibrated
from wildreward.checkpoint import CONFIG
from wildreward.holdout import held_out
from wildreward.metrics import Array
from wildreward.settings.train import TrainSettings

LOGITS = "calibration_logits.npy"
"""In a checkpoint of the run, beside the Hugging Face directory."""

APART = "rows set apart for the calibration alone (calibration_frac)"
VALIDATION = "validation rows, which also chose the checkpoint"


def names_apart(conversations: Sequence[str], settings: TrainSettings) -> frozenset[str]:
    """Conversations that only the calibration may see, of those of all rows. Those of the validation rows are the same
    with them and without.

    >>> len(names_apart(list("abcdefgh"), TrainSettings(validation_frac=0.25, calibration_frac=0.25)))
    2
    """
    if not settings.calibration_frac:
        return frozenset()
    both = held_out(conversations, settings.validation_frac + settings.calibration_frac, settings.seed)
    return both - held_out(conversations, settings.validation_frac, settings.seed)


def rows_apart(store: tokens.TokenStore, settings: TrainSettings) -> tokens.TokenStore:
    """The rows of `names_apart`, which draws from all rows, those that the class map drops too."""
    names = names_apart(store.all_conversations(), settings)
    return store.subset(np.flatnonzero([name in names for name in store.conversations()]))


def save_logits(directory: Path, logits_NK: Array) -> None:
    np.save(directory / LOGITS, logits_NK)


class Calibrator:
    """Calibrates the copy of a run's checkpoint that is about to be published; then says what came of it."""

    def __init__(self, settings: TrainSettings, apart: tokens.TokenStore, validation: tokens.TokenStore) -> None:
        self.settings = settings
        self.store, self.rows_are = (apart, APART) if len(apart) else (validation, VALIDATION)
        self.calibration = none("nothing was published")
        self.measured: Calibrated | None = None

    def fit(self, checkpoint: Path, published: Path) -> None:
        """From the logits of `checkpoint`; `published` is the Hugging Face directory it becomes."""
        config = json.loads((published / CONFIG).read_text(encoding="utf-8"))
        self.calibration, self.measured = self._calibrated(checkpoint, config["wildreward"]["cutpoints"])

    def write(self, copy: Path) -> None:
        """Into the config.json of `copy`."""
        path = copy / CONFIG
        path.write_text(with_calibration(path.read_text(encoding="utf-8"), self.calibration), encoding="utf-8")

    def _calibrated(self, checkpoint: Path, cutpoints: Sequence[float] | None) -> tuple[Calibration, Calibrated | None]:
        """The calibration, or why there is none; and what is measured, where rows were apart."""
        skip = None if self.settings.calibrate else "it was not asked for (calibrate: false)"
        if not len(self.store):
            return none(skip or "no rows were set apart for it (validation_frac and calibration_frac are 0)"), None
        if not (checkpoint / LOGITS).is_file():
            return none("the checkpoint was saved by an earlier version, without its logits"), None
        logits_NK = np.load(checkpoint / LOGITS)
        rows = Rows(logits_NK, self.store.labels, self.store.conversations(), self.rows_are)
        found = calibrated(self.settings.head, rows, cutpoints, MeasureOptions(seed=self.settings.seed), skip)
        return found.calibration, found
