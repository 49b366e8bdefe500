"""The scorer with `serve.batch` in place of its own queue, to be measured against it; the same flags as `serve`.

python -m tests.benchmarks.serve_throughput --systems serve-batch ours-fp32 --bulk 256
"""

import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from ray import serve as ray_serve

import serve.app
from serve.engine import Engine, in_thread, scores_of
from wildreward.cli import main
from wildreward.reward_model import Score
from wildreward.settings.serve import ServeSettings
from wildreward.template import Encoded


def tokens_of(items: Sequence[Encoded]) -> int:
    return sum(len(item.input_ids) for item in items)


class ServeBatchEngine(Engine):
    """Batches as `serve.batch` cuts them; threads, tokenizer and forward pass are ours."""

    @ray_serve.batch(max_batch_size=1024, batch_wait_timeout_s=0.0, max_concurrent_batches=2, batch_size_fn=tokens_of)
    async def batched(self, items: list[Encoded]) -> list[Any]:
        return await in_thread(self._running, partial(self._forward, items))

    async def score(self, items: Sequence[Encoded]) -> list[Score]:
        return scores_of(await asyncio.gather(*(self.batched(item) for item in items)))


class BatchScorer(serve.app.Scorer):
    async def __init__(self, settings: dict[str, Any], digests: list[str]) -> None:  # type: ignore[misc]  # as in Scorer
        await super().__init__(settings, digests)
        chosen = ServeSettings.parse(settings)
        self._scoring.engine = ServeBatchEngine(
            self._scoring.model, chosen.batch_tokens, parallel=chosen.batches_per_replica, threads=1
        )


if __name__ == "__main__":
    serve.app.Scorer = BatchScorer  # type: ignore[misc]  # what `application` deploys
    sys.exit(main(["serve", *sys.argv[1:]]))
