"""A reward model as it is served: the same scores, with less work, and none that depends on the other texts of a batch.

On a CPU a text alone keeps the kernels as busy as a batch does, so nothing is padded and a score is that of the text
alone: BERT runs in CpuBert, other models text by text with packed linear layers, and decoders read a prompt that
several replies share once. On a GPU texts are padded into batches as in the plain model; there vLLM shares prompts.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from wildreward.batching import runs, token_batches
from wildreward.cpu_bert import CpuBert
from wildreward.packed_linear import pack_linears
from wildreward.reward_model import RewardModel, Score
from wildreward.shared_prefix import can_share, common_prefix, shared_logits, shared_runs
from wildreward.template import Encoded

PIECES = 2
"""Passes of BERT for each core, so that none waits long for the others at the end."""
MIN_PASS = 256
"""Tokens; smaller passes keep the kernels less busy."""


class FastRewardModel(RewardModel):
    """Weights are taken over at construction: what changes in the wrapped model afterwards is not seen."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._described = super().describe()
        backbone: Any = self.model.backbone
        self.on_cpu = self.device.type == "cpu"
        self._bert = CpuBert.of(backbone)
        self.shares_prompts = self.on_cpu and can_share(backbone.config)
        if self._bert is None:
            pack_linears(getattr(backbone, backbone.base_model_prefix))

    def describe(self) -> dict[str, Any]:
        return self._described | {"checkpoint": self.name}

    def score_encoded(self, items: Sequence[Encoded], batch_tokens: int = 8192) -> list[Score]:
        side_by_side = torch.get_num_threads() if self.on_cpu else 1
        ids = [item.input_ids for item in items]
        if self._bert is not None and side_by_side > 1:
            batch_tokens = min(batch_tokens, max(MIN_PASS, sum(map(len, ids)) // (side_by_side * PIECES)))
        passes = list(self._passes(ids, batch_tokens))
        scores: dict[int, Score] = {}
        for positions, found in zip(passes, self._each(passes, items, side_by_side), strict=True):
            scores |= zip(positions, found, strict=True)
        return [scores[i] for i in range(len(items))]

    def _each(
        self, passes: Sequence[Sequence[int]], items: Sequence[Encoded], side_by_side: int
    ) -> Iterator[list[Score]]:
        """Scores of each pass. On a CPU passes run side by side, one on a core: threads that share the work of one
        wait for one another at every layer, and much longer where a core is busy with something else."""
        batches = [[items[i] for i in positions] for positions in passes]
        if min(side_by_side, len(passes)) < 2:
            yield from map(self._score_batch, batches)
            return
        with ThreadPoolExecutor(side_by_side, "score", torch.set_num_threads, (1,)) as pool:
            yield from pool.map(self._score_batch, batches)

    def _passes(self, ids: Sequence[Sequence[int]], batch_tokens: int) -> Iterator[Sequence[int]]:
        """Which texts go through the model together."""
        lengths = [len(text) for text in ids]
        if self._bert is not None:
            yield from runs(lengths, batch_tokens)
            return
        single = (range(i, i + 1) for i in range(len(ids)))
        shared = list(shared_runs(ids, batch_tokens) if self.shares_prompts else single)
        alone = [run[0] for run in shared if len(run) == 1]
        yield from (run for run in shared if len(run) > 1)
        for batch in token_batches([lengths[i] for i in alone], 1 if self.on_cpu else batch_tokens):
            yield [alone[i] for i in batch]

    @torch.inference_mode()
    def raw_logits(self, ids: Sequence[Sequence[int]]) -> Tensor:
        if self._bert is not None:
            return self._bert.logits(ids)
        backbone: Any = self.model.backbone
        if len(ids) > 1 and self.shares_prompts:
            prefix = common_prefix(ids, backbone.config.pad_token_id)
            if prefix:
                return shared_logits(backbone, ids, prefix)
        return super().raw_logits(ids)
