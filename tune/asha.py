"""ASHA that goes on after a restart: Ray Tune saves its trials and its searcher, but not the scheduler's rungs."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler

from tune import records

MOST_EVALUATIONS = 10_000
"""A trial ends by its own steps; ASHA's own limit must not come before."""


class ResumableAsha(ASHAScheduler):
    """Asynchronous successive halving over evaluations (Li et al. 2020, arXiv 1810.05934) with one bracket.

    Before the first trial is added, what the trials of an earlier process were evaluated at is put into the rungs.
    """

    def __init__(
        self, output: str, plan: Mapping[str, Mapping[str, Any]], metric: str, grace: int, reduction_factor: int
    ) -> None:
        super().__init__(
            time_attr="evaluation", grace_period=grace, reduction_factor=reduction_factor, max_t=MOST_EVALUATIONS
        )
        self._output, self._plan, self._by = output, plan, metric
        self._told = False

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if not self._told:
            self._told = True
            self._tell()
        super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """An evaluation at which the metric is undefined decides nothing."""
        if not records.is_known(result.get(self._by)):
            return str(self.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if records.is_known(result.get(self._by)):
            super().on_trial_complete(tune_controller, trial, result)

    def _tell(self) -> None:
        for name, varied in self._plan.items():
            record = records.read(self._output, name, varied)
            if record.tune_id is None:
                continue
            for evaluation in record.evaluations.values():
                number, found = evaluation.get("evaluation"), evaluation.get(self._by)
                if number is not None and found is not None and records.is_known(found):
                    same: Any = SimpleNamespace(trial_id=record.tune_id)
                    self._brackets[0].on_result(same, number, self._metric_op * found)
