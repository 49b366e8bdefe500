"""Keys and values of a batch of completions under way, in one place from the first token to the last.

transformers' own cache is copied whole for every token (`torch.cat`), and keeps the rows that are finished. Here each
layer has room for all tokens from the start; the completions of a prompt share the reading of it; and a finished row's
place is taken by a live one, so that rows 0..live-1 are always those still being written.

Prompts end in the same column (they are padded left). R rows, H heads, L columns, D head size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from wildreward.forked_cache import moved, moves


class RowCache(Cache):
    """Cache of `prompts * completions` rows, a prompt's side by side; `width`: the column behind the prompts."""

    def __init__(self, layers: int, prompts: int, completions: int, width: int, columns: int) -> None:
        self.own = [RowLayer(self) for _ in range(layers)]
        super().__init__(layers=list(self.own))
        self.prompts, self.completions, self.width, self.columns = prompts, completions, width, columns
        self.live, self.filled = prompts * completions, width
        self.reading: Tensor | None = None

    def read(self, prompts: Sequence[int]) -> None:
        """The next forward pass reads these prompts (their positions), ending in the column before `width`."""
        self.reading = torch.tensor(prompts)

    def write(self) -> None:
        """The next forward passes read one token of every live row each."""
        self.reading = None

    def advance(self) -> None:
        self.filled += 1

    def keep(self, going_R: Tensor) -> tuple[Tensor, Tensor]:
        """Only the live rows marked True go on. The last of them move into the gaps: (from, to)."""
        sources, gaps = moves(going_R)
        for layer in self.own:
            for tensor in (layer.keys, layer.values):
                tensor[gaps, :, : self.filled] = tensor[sources, :, : self.filled]
        self.live = int(going_R.sum())
        return sources, gaps


class RowLayer(CacheLayerMixin):
    """One layer of it. Its tensors are made at first use, when heads, size and dtype are known."""

    is_sliding = False
    keys: Any
    values: Any

    def __init__(self, cache: RowCache) -> None:
        super().__init__()
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        cache = self.cache
        rows = cache.prompts * cache.completions
        self.keys, self.values = (
            torch.zeros(rows, x.shape[1], cache.columns, x.shape[3], dtype=x.dtype, device=x.device)
            for x in (key_states, value_states)
        )
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """(keys, values) that the queries attend to: (R, H, columns so far, D), or those of the prompts just read."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        cache = self.cache
        if cache.reading is None:
            live, end = cache.live, cache.filled + 1
            self.keys[:live, :, end - 1 : end] = key_states
            self.values[:live, :, end - 1 : end] = value_states
            return self.keys[:live, :, :end], self.values[:live, :, :end]
        first = cache.width - key_states.shape[2]
        for own, given in ((self.keys, key_states), (self.values, value_states)):
            by_prompt = own.view(cache.prompts, cache.completions, *own.shape[1:])
            by_prompt[cache.reading, :, :, first : cache.width] = given[:, None]
        return key_states, value_states

    def get_seq_length(self) -> int:
        return self.cache.filled if self.cache.reading is None else 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return self.cache.columns


@dataclass
class Rows:
    """Where every live row is: its cache, the position of its next token, and what its padding adds to attention."""

    cache: RowCache
    positions_R: Tensor
    bias_R11L: Tensor | None

    @classmethod
    def of(
        cls, lengths: Sequence[int], completions: int, cache: RowCache, dtype: torch.dtype, device: torch.device
    ) -> Self:
        positions_R = torch.tensor(lengths, device=device).repeat_interleave(completions)
        if len(set(lengths)) == 1:
            return cls(cache, positions_R, None)
        padded_RL = torch.arange(cache.columns, device=device) < (cache.width - positions_R)[:, None]
        bias_RL = torch.zeros(padded_RL.shape, dtype=dtype, device=device)
        bias_RL.masked_fill_(padded_RL, torch.finfo(dtype).min)
        return cls(cache, positions_R, bias_RL[:, None, None])

    def mask(self) -> Tensor | None:
        """Added to the attention of one more token of every row: (R, 1, 1, columns); None where nothing is padded."""
        return None if self.bias_R11L is None else self.bias_R11L[:, :, :, : self.cache.filled + 1]

    def advance(self) -> None:
        self.positions_R = self.positions_R + 1
        self.cache.advance()

    def keep(self, going_R: Tensor) -> tuple[Tensor, Tensor]:
        where = self.cache.keep(going_R)
        self.positions_R = moved(where, self.cache.live, self.positions_R)
        if self.bias_R11L is not None:
            self.bias_R11L = moved(where, self.cache.live, self.bias_R11L)
        return where
