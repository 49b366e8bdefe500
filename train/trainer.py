"""Ray Train's trainer, in which Ctrl-C stays what it is in every other command."""

import contextlib
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train.torch import TorchTrainer

ABORT_S = 10.0


class Trainer(TorchTrainer):
    """A TorchTrainer whose `fit` raises KeyboardInterrupt at Ctrl-C, once its workers are ended.

    Ray Train's own handler of SIGINT ends the process without a word, with exit code 0 or 1, and stays when training is
    over: a pipeline interrupted in a later stage would not say so.
    """

    _controller: Any = None

    def _register_sigint_handler(self, controller: Any) -> None:
        self._controller = controller

    def fit(self) -> Any:
        try:
            return super().fit()
        except KeyboardInterrupt:
            if self._controller is not None:
                with contextlib.suppress(RayError):  # it ends itself, which is an error to who asked it
                    ray.get(self._controller.abort.remote(), timeout=ABORT_S)
            raise
