"""One text, one score: on every route, in any company, whatever runs beside it, in fp32 and in bf16."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from serve.client import HttpClient
from serve.schema import RequestError
from tests.serve.conftest import LocalScorer
from tests.serve.test_engine import conversation
from wildreward.fast_reward_model import FastRewardModel

SAME = 1e-6
"""Of scores between 1 and 4, in both arithmetics, on a CPU: what is left is the last sigmoid's rounding."""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_score_is_the_same_on_every_route_in_any_company(
    local_scorer: LocalScorer, checkpoint: Path, dtype: str
) -> None:
    model = FastRewardModel.load(checkpoint, dtype=dtype)
    url = local_scorer(model=model, dtype=dtype, threads=2, batch_tokens=200)
    asked = [conversation(words, words) for words in (1, 2, 9, 40, 70, 150)]
    prompt, replies = "question", [messages[-1]["content"] for messages in asked]
    with HttpClient(url) as scorer:
        alone = [scorer.score([messages])[0].score for messages in asked]
        assert max(alone) - min(alone) > 0.1
        by_prompt = [reply.score for reply in scorer.score_replies(prompt, replies)]
        pairs = scorer.compare([(prompt, reply, other) for reply, other in zip(replies, replies[::-1], strict=True)])
        assert by_prompt == pytest.approx(alone, abs=SAME)
        assert [pair.a.score for pair in pairs] == pytest.approx(alone, abs=SAME)
        assert [pair.b.score for pair in pairs] == pytest.approx(alone[::-1], abs=SAME)
        texts_alone = [scorer.rewards([reply])[0] for reply in replies]

    def in_company(seed: int) -> None:
        order = random.Random(seed).choices(range(len(asked)), k=12)
        with HttpClient(url) as scorer:
            together = [reply.score for reply in scorer.score([asked[i] for i in order])]
            rewards = scorer.rewards([replies[i] for i in order])
        assert together == pytest.approx([alone[i] for i in order], abs=SAME)
        assert rewards == pytest.approx([texts_alone[i] for i in order], abs=SAME)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(in_company, range(12)))


def test_a_text_without_tokens_is_refused_by_name(local_scorer: LocalScorer, checkpoint: Path) -> None:
    model = FastRewardModel.load(checkpoint)
    model.template = replace(model.template, kind="chat")  # writes no special tokens of its own around a finished text
    url = local_scorer(model=model)
    with HttpClient(url) as scorer, pytest.raises(RequestError, match=r"422 invalid_field.*query\[1\]"):
        scorer.rewards(["a text", ""])
