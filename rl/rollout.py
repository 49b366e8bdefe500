"""Rollouts: the policy writes completions. One engine interface; transformers here, vLLM in `rl.vllm_engine`.

The actor is told with every call which version of the weights to write with, and is handed them by reference. It loads
them when they are not the ones it has. So an actor that died and was started again can never write with stale weights.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from rl.weights import Weights
from wildreward.pairs import Completion

Ids = list[list[list[int]]]
"""Token ids of the completions of each prompt."""


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn; see the settings of the same names."""

    completions: int
    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(frozen=True)
class Timed:
    """What an actor's call gives back: its value, the seconds it computed, and the tokens it went through."""

    value: Any
    seconds: float
    tokens: int


@dataclass(frozen=True)
class EngineOptions:
    """What it takes to start an engine in another process."""

    policy: str
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 0
    trust_remote_code: bool = False
    max_tokens: int = 2048  # prompt and completion together
    cores_divided: int = 1  # among roles that compute at the same time, where threads is 0
    gpu_share: float = 1.0  # of one GPU's memory; the rest is for other roles


class RolloutEngine(Protocol):
    """What writes completions. `generate` gives token ids up to and with the end-of-text token, per prompt. Every
    prompt has a seed of its own, so that how prompts are dealt to calls and engines makes no difference."""

    tokenizer: Any

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, seeds: Sequence[int]) -> Ids: ...

    def load_weights(self, weights: Weights) -> None: ...

    def end_ids(self) -> frozenset[int]: ...


class TransformersEngine:
    """A model of transformers, driven by `wildreward.cpu_llama` or `wildreward.decoding`.

    One that neither can drive is left to its `generate`: padded left, and drawn with one seed for the whole call.
    """

    def __init__(self, options: EngineOptions) -> None:
        from rl.models import load_policy, threads_here
        from wildreward.cpu_llama import CpuLlama
        from wildreward.decoding import ModelDecoder

        self.model, self.tokenizer = load_policy(
            options.policy,
            options.device,
            options.dtype,
            threads_here(options.threads, options.cores_divided),
            options.trust_remote_code,
        )
        self._ends = end_ids(self.model, self.tokenizer)
        self.decoder = CpuLlama.of(self.model) or ModelDecoder.of(self.model)

    def end_ids(self) -> frozenset[int]:
        return self._ends

    def load_weights(self, weights: Weights) -> None:
        from rl.weights import load

        load(self.model, weights)
        if self.decoder is not None:
            self.decoder.load(self.model)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, seeds: Sequence[int]) -> Ids:
        """Completions of each prompt; the same prompt and seed with the same weights gives the same tokens."""
        from wildreward.decoding import Draws, complete

        if self.decoder is None:
            return self._generate(prompts, sampling, seeds[0])
        draws = Draws(sampling.completions, sampling.max_new_tokens, self._ends, sampling.temperature, sampling.top_p)
        return complete(self.decoder, prompts, draws, seeds)

    def _generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, seed: int) -> Ids:
        import torch
        from transformers import GenerationConfig

        width, pad = max(map(len, prompts)), self.tokenizer.pad_token_id
        ids_PT = torch.tensor([[pad] * (width - len(ids)) + list(ids) for ids in prompts])
        mask_PT = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
        torch.manual_seed(seed)
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        config = GenerationConfig(
            do_sample=sampling.temperature > 0,
            num_return_sequences=sampling.completions,
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=sorted(self._ends),
            pad_token_id=pad,
            **(drawn if sampling.temperature > 0 else {}),
        )
        with torch.inference_mode():
            rows = self.model.generate(
                input_ids=ids_PT.to(self.model.device),
                attention_mask=mask_PT.to(self.model.device),
                generation_config=config,
            )[:, width:].tolist()
        kept = [until_end(row, self._ends) for row in rows]
        return [kept[start : start + sampling.completions] for start in range(0, len(kept), sampling.completions)]


class RolloutWorker:
    """The Ray actor around an engine."""

    def __init__(self, engine: str, options: EngineOptions) -> None:
        self._engine_name, self._options = engine, options
        self.version = 0

    @cached_property
    def engine(self) -> RolloutEngine:
        """Started by the first call, so that its failure is that call's error and not an actor's silent death."""
        return _engine(self._engine_name, self._options)

    def start(self) -> None:
        self.engine.end_ids()

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        seeds: Sequence[int],
        version: int,
        weights: Weights | None,
    ) -> Timed:
        """Completions of each prompt, as `list[list[Completion]]`. `weights`: None for version 0, the start."""
        started = time.perf_counter()
        if version != self.version:
            if weights is None:
                raise ValueError(f"weights of version {version} are needed and were not given")
            self.engine.load_weights(weights)
            self.version = version
        ids_PG = self.engine.generate(prompts, sampling, seeds)
        value = [[self._completion(ids) for ids in ids_G] for ids_G in ids_PG]
        return Timed(value, time.perf_counter() - started, sum(len(ids) for ids_G in ids_PG for ids in ids_G))

    def _completion(self, ids: Sequence[int]) -> Completion:
        text = self.engine.tokenizer.decode(ids, skip_special_tokens=True).strip()
        cut_off = not ids or ids[-1] not in self.engine.end_ids()
        return Completion(text, tuple(ids), cut_off, self.version)


def _engine(name: str, options: EngineOptions) -> RolloutEngine:
    if name == "vllm":
        from rl.vllm_engine import VllmEngine

        return VllmEngine(options)
    return TransformersEngine(options)


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a completion: the tokenizer's, and those the model was published with."""
    published = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = published if isinstance(published, list) else [published]
    return frozenset(token for token in [*ids, tokenizer.eos_token_id] if token is not None)


def until_end(ids: Sequence[int], ends: frozenset[int]) -> list[int]:
    """The ids up to and with the first end token.

    >>> until_end([5, 6, 2, 0, 0], frozenset({2}))
    [5, 6, 2]
    """
    for position, token in enumerate(ids):
        if token in ends:
            return list(ids[: position + 1])
    return list(ids)
