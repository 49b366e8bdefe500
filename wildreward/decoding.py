"""Several completions of each of a batch of prompts, by any causal language model of transformers with full attention.

    decoder = ModelDecoder.of(model)             # None where the model needs `generate`
    ids_PG = complete(decoder, prompts, Draws(completions=8, max_new_tokens=64, ends=frozenset({2})), seeds)

What `generate` does and this does not: read a prompt once per completion, copy the keys and values for every token,
sort the vocabulary without need, go on computing rows that are finished. What a prompt's completions are drawn with
depends on its seed alone. P prompts, G completions of each, R live rows, V vocabulary, T tokens.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from wildreward.batching import token_batches
from wildreward.forked_cache import moved
from wildreward.row_cache import RowCache, Rows
from wildreward.sampling import draw, uniforms

READ_TOKENS_CPU = 512
"""Padded prompt tokens of one forward pass: beyond, a CPU gains nothing and pads more."""
READ_TOKENS_ELSEWHERE = 16384

ROWS = 8
"""Finished rows leave when so many can. A kernel is made, and kept, for every number of rows there is."""

Ids = Sequence[int]


@dataclass(frozen=True)
class Draws:
    """How many completions, how long, how drawn; `ends`: the tokens that end one. Temperature 0 is greedy."""

    completions: int
    max_new_tokens: int
    ends: frozenset[int]
    temperature: float = 1.0
    top_p: float = 1.0


class Decoder(Protocol):
    """A model and the rows it is writing."""

    device: torch.device

    def load(self, model: Any) -> None:
        """Take over the model's weights as they are now."""

    def read(self, prompts: Sequence[Ids], completions: int, max_new_tokens: int) -> Tensor:
        """Begin: logits_RV of the first token of every row, a prompt's completions side by side."""

    def step(self, ids_R: Tensor) -> Tensor:
        """Logits_RV of the token after these."""

    def keep(self, going_R: Tensor) -> tuple[Tensor, Tensor]:
        """Drop the rows that are not going on; the last ones take their places: (from, to)."""


@torch.inference_mode()
def complete(decoder: Decoder, prompts: Sequence[Ids], draws: Draws, seeds: Sequence[int]) -> list[list[list[int]]]:
    """Token ids up to and with the one that ends them, for each prompt and completion."""
    device, tokens = decoder.device, draws.max_new_tokens
    uniforms_RT = uniforms(seeds, draws.completions, tokens).to(device)
    rows = uniforms_RT.shape[0]
    written_RT = torch.zeros(rows, tokens, dtype=torch.long, device=device)
    lengths_R = torch.full((rows,), tokens, device=device)
    ends_E = torch.tensor(sorted(draws.ends), device=device)
    live_R = torch.arange(rows, device=device)
    done_R = torch.zeros(rows, dtype=torch.bool, device=device)
    logits_RV = decoder.read(prompts, draws.completions, tokens)
    for position in range(tokens):
        ids_R = draw(logits_RV, uniforms_RT[live_R, position], draws.temperature, draws.top_p)
        written_RT[live_R, position] = ids_R
        ended_R = torch.isin(ids_R, ends_E) & ~done_R
        lengths_R[live_R[ended_R]] = position + 1
        done_R = done_R | ended_R
        kept_R = worth_keeping(done_R)
        if not len(kept_R) or position + 1 == tokens:
            break
        if not bool(kept_R.all()):
            where, count = decoder.keep(kept_R), int(kept_R.sum())
            live_R, ids_R, done_R = (moved(where, count, values) for values in (live_R, ids_R, done_R))
        logits_RV = decoder.step(ids_R)
    flat = [row[:length] for row, length in zip(written_RT.tolist(), lengths_R.tolist(), strict=True)]
    return [flat[start : start + draws.completions] for start in range(0, rows, draws.completions)]


def worth_keeping(done_R: Tensor) -> Tensor:
    """Which rows go on: those that are not done, and so many that are as fill up a multiple of ROWS; none at the end.

    >>> worth_keeping(torch.tensor([True] * 5 + [False] * 5)).sum().item()
    8
    >>> worth_keeping(torch.tensor([True, True])).tolist()
    []
    """
    going = int((~done_R).sum())
    if not going:
        return done_R[:0]
    spare = -going % ROWS
    return ~done_R | (done_R & (done_R.cumsum(0) <= spare))


class ModelDecoder:
    """By the model's own forward pass."""

    def __init__(self, model: Any) -> None:
        self.model, self.device = model, model.device
        self.layers = model.config.get_text_config().num_hidden_layers

    @classmethod
    def of(cls, model: Any) -> Self | None:
        """None for a model that is not `drivable`."""
        return cls(model) if drivable(model) else None

    def load(self, model: Any) -> None:
        self.model = model

    def read(self, prompts: Sequence[Ids], completions: int, max_new_tokens: int) -> Tensor:
        width = max(map(len, prompts))
        cache = RowCache(self.layers, len(prompts), completions, width, width + max_new_tokens)
        self.rows = Rows.of([len(ids) for ids in prompts], completions, cache, self.model.dtype, self.device)
        first: list[Tensor | None] = [None] * len(prompts)
        limit = READ_TOKENS_CPU if self.device.type == "cpu" else READ_TOKENS_ELSEWHERE
        for group in token_batches([len(ids) for ids in prompts], limit):
            cache.read(group)
            logits_gV = self._read([prompts[index] for index in group], cache)
            for index, row in zip(group, logits_gV, strict=True):
                first[index] = row
        cache.write()
        return torch.stack([row for row in first if row is not None]).repeat_interleave(completions, 0)

    def _read(self, prompts: Sequence[Ids], cache: RowCache) -> Tensor:
        width = max(map(len, prompts))
        ids_PT = torch.tensor([[0] * (width - len(ids)) + list(ids) for ids in prompts], device=self.device)
        mask_PT = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts], device=self.device)
        logits: Tensor = self.model(
            input_ids=ids_PT,
            attention_mask=mask_PT,
            position_ids=(mask_PT.cumsum(1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits[:, -1]

    def step(self, ids_R: Tensor) -> Tensor:
        rows = self.rows
        logits: Tensor = self.model(
            input_ids=ids_R[:, None],
            attention_mask=rows.mask(),
            position_ids=rows.positions_R[:, None],
            past_key_values=rows.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        rows.advance()
        return logits[:, -1]

    def keep(self, going_R: Tensor) -> tuple[Tensor, Tensor]:
        return self.rows.keep(going_R)


def drivable(model: Any) -> bool:
    """Whether its forward pass can be told what to attend to and at which position: it has full attention in every
    layer, takes a prepared mask and positions, and keeps keys and values in a cache."""
    parameters = inspect.signature(model.forward).parameters
    needed = {"input_ids", "attention_mask", "position_ids", "past_key_values", "logits_to_keep"}
    if model.config.is_encoder_decoder or model._is_stateful or not needed <= parameters.keys():
        return False
    config = model.config.get_text_config()
    return config._attn_implementation in {"sdpa", "eager"} and full_attention(config)


def full_attention(config: Any) -> bool:
    """Whether every layer attends to all tokens before it, and keeps the keys and values of its own."""
    from transformers.cache_utils import get_layer_types_and_kwargs

    return set(get_layer_types_and_kwargs(config)[0]) == {"full_attention"}
