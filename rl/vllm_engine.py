"""Rollouts by vLLM, in the actor's own process: weights are replaced in place between steps.

Both halves of the update are needed: `reload_weights` puts the new weights into the running engine, and
`reset_prefix_cache` forgets what was computed for shared prompt heads with the old ones.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from rl.models import load_tokenizer
from rl.rollout import EngineOptions, Ids, Sampling, end_ids
from rl.weights import Weights, tensors
from wildreward.fetched import local_copy

USED_FRAC = 0.9
"""Of its share of a GPU's memory; vLLM fills what its weights leave with keys and values."""
KV_GIB = 4
"""Of keys and values on a CPU."""


class ReloadExtension:
    """Mixed into vLLM's worker: what `collective_rpc` calls in the process that holds the model."""

    model_runner: Any

    def reload_from(self, weights: Weights) -> None:
        self.model_runner.reload_weights(weights_iterator=_copies(weights))
        pack_output_layer(self.model_runner.get_model())


class VllmEngine:
    """A real vLLM engine, on GPU or CPU."""

    def __init__(self, options: EngineOptions) -> None:
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the engine lives in this actor
        from vllm import LLM

        self.tokenizer = load_tokenizer(options.policy, options.trust_remote_code)
        self._llm = LLM(
            model=local_copy(options.policy),
            dtype=options.dtype,
            max_model_len=options.max_tokens,
            enforce_eager=options.device == "cpu",
            trust_remote_code=options.trust_remote_code,
            worker_extension_cls="rl.vllm_engine.ReloadExtension",
            **_memory(options),
        )
        self._ends = end_ids(None, self.tokenizer)

    def end_ids(self) -> frozenset[int]:
        return self._ends

    def load_weights(self, weights: Weights) -> None:
        self._llm.collective_rpc("reload_from", args=(weights,))
        self._llm.reset_prefix_cache()

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, seeds: Sequence[int]) -> Ids:
        """Every prompt has a seed of its own, so the order in which vLLM schedules them does not matter."""
        from vllm import SamplingParams, TokensPrompt

        parameters = [
            SamplingParams(
                n=sampling.completions,
                max_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=seed,
                stop_token_ids=sorted(self._ends),
            )
            for seed in seeds
        ]
        inputs = [TokensPrompt(prompt_token_ids=list(ids)) for ids in prompts]
        outputs = self._llm.generate(inputs, parameters, use_tqdm=False)
        return [[list(item.token_ids) for item in output.outputs] for output in outputs]


def _memory(options: EngineOptions) -> dict[str, float]:
    """An engine that shares its GPU with other roles leaves them theirs. On a CPU it takes VLLM_CPU_KVCACHE_SPACE GiB
    for keys and values: vLLM would want nine tenths of the machine's memory, and not start where others use it."""
    if options.device == "cuda":
        return {"gpu_memory_utilization": USED_FRAC * min(1.0, options.gpu_share)}
    return {"kv_cache_memory_bytes": int(float(os.environ.get("VLLM_CPU_KVCACHE_SPACE") or KV_GIB) * 2**30)}


def pack_output_layer(model: Any) -> None:
    """On CPUs vLLM multiplies by a packed copy of each weight, and packs again what it loads; an output layer tied to
    the embeddings has nothing to load, and would keep the copy of the old ones. On GPUs there are no copies."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for layer in model.modules():
        if isinstance(layer, ParallelLMHead):
            layer.quant_method.process_weights_after_loading(layer)


def _copies(weights: Weights) -> Iterator[tuple[str, Any]]:
    """vLLM may keep what it is given; the arrays belong to Ray's object store."""
    return ((name, tensor.clone()) for name, tensor in tensors(weights))
