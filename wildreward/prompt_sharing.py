"""Log-probabilities of several completions of a prompt from one reading of it, in training too.

A row is [pad.. prompt | completion pad.. | completion pad..]: every completion begins at the position after the prompt,
attends to the prompt and to itself, and not to the other one ("prefix sharing", arXiv 2410.20305). With a prompt as
long as its two completions together that is three quarters of the tokens of two rows, with longer ones close to half.
And what is asked for twice is computed once.

Shapes: R rows, K completions a row, T tokens of a row, C of a completion part, V vocabulary, N sequences.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wildreward.batching import token_batches
from wildreward.decoding import drivable

Ids = Sequence[int]


@dataclass(frozen=True)
class Row:
    """A prompt and distinct completions of it; `places[k]`: which of the given sequences are completion k."""

    prompt: Ids
    completions: list[Ids]
    places: list[list[int]]

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.completions) * max(map(len, self.completions))


@dataclass(frozen=True)
class SharedBatch:
    """Rows with equally many completions. `columns_KC`: where the logits of every completion's tokens are."""

    ids_RT: Tensor
    positions_RT: Tensor
    bias_R1TT: Tensor
    columns_KC: Tensor
    completion_ids_RKC: Tensor
    completion_mask_RKC: Tensor


def can_share(model: Any) -> bool:
    """Whether attention can be told what to attend to. `model` may be wrapped by DeepSpeed."""
    return drivable(getattr(model, "module", model))


def rows_of(sequences: Sequence[tuple[Ids, Ids]]) -> list[Row]:
    """(prompt, completion) pairs by prompt, in the order of their first appearance.

    >>> rows_of([([1], [5]), ([2], [6]), ([1], [7]), ([1], [5])])[0]
    Row(prompt=[1], completions=[[5], [7]], places=[[0, 3], [2]])
    """
    rows: dict[tuple[int, ...], Row] = {}
    known: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for place, (prompt, completion) in enumerate(sequences):
        key = tuple(prompt), tuple(completion)
        if key not in known:
            row = rows.setdefault(key[0], Row(prompt, [], []))
            row.completions.append(completion)
            row.places.append(known.setdefault(key, []))
        known[key].append(place)
    return list(rows.values())


def batches_of_rows(rows: Sequence[Row], max_tokens: int) -> Iterator[list[Row]]:
    """Rows with equally many completions and of similar length together, at most `max_tokens` (or one row)."""
    for count in sorted({len(row.completions) for row in rows}):
        alike = [row for row in rows if len(row.completions) == count]
        for group in token_batches([row.tokens for row in alike], max_tokens):
            yield [alike[index] for index in group]


def collate_rows(rows: Sequence[Row], pad: int, dtype: torch.dtype) -> SharedBatch:
    """Rows with equally many completions as one padded batch.

    >>> batch = collate_rows([Row([5, 6], [[7], [8, 9]], []), Row([4], [[3, 2], [1]], [])], 0, torch.float32)
    >>> batch.ids_RT.tolist(), batch.positions_RT.tolist()
    ([[5, 6, 7, 0, 8, 9], [0, 4, 3, 2, 1, 0]], [[0, 1, 2, 3, 2, 3], [0, 0, 1, 2, 1, 2]])
    >>> batch.columns_KC.tolist(), batch.bias_R1TT[1, 0, 4].tolist()[:2] == [torch.finfo(torch.float32).min, 0.0]
    ([[1, 2], [1, 4]], True)
    """
    count = len(rows[0].completions)
    before, width = max(len(row.prompt) for row in rows), max(len(c) for row in rows for c in row.completions)
    prompts_RP = torch.tensor([[pad] * (before - len(row.prompt)) + list(row.prompt) for row in rows])
    completions_RKC = torch.tensor([[list(c) + [pad] * (width - len(c)) for c in row.completions] for row in rows])
    lengths_RK = torch.tensor([[len(c) for c in row.completions] for row in rows])
    prompt_lengths_R1 = torch.tensor([[len(row.prompt)] for row in rows])
    inner_C = torch.arange(width)
    own_RP = (torch.arange(before) - (before - prompt_lengths_R1)).clamp(min=0)
    behind_RT = (prompt_lengths_R1 + inner_C.repeat(count)).expand(len(rows), -1)
    starts_K1 = before + width * torch.arange(count)[:, None]
    columns_KC = torch.cat([torch.full((count, 1), before - 1), starts_K1 + inner_C[:-1]], 1)
    return SharedBatch(
        torch.cat([prompts_RP, completions_RKC.flatten(1)], 1),
        torch.cat([own_RP, behind_RT], 1),
        _bias(before, width, count, prompt_lengths_R1, dtype),
        columns_KC,
        completions_RKC,
        inner_C < lengths_RK[..., None],
    )


def _bias(before: int, width: int, count: int, prompt_lengths_R1: Tensor, dtype: torch.dtype) -> Tensor:
    """Added to attention: a token sees the prompt and its own completion, up to itself."""
    column_T = torch.arange(before + width * count)
    block_T = torch.where(column_T < before, -1, (column_T - before) // width)
    earlier_TT = column_T <= column_T[:, None]
    own_TT = (block_T < 0) | (block_T == block_T[:, None])
    padding_RT = column_T < before - prompt_lengths_R1
    hidden_RTT = ~(earlier_TT & own_TT) | padding_RT[:, None]
    return torch.zeros(hidden_RTT.shape, dtype=dtype).masked_fill_(hidden_RTT, torch.finfo(dtype).min)[:, None]


def shared_logits(model: Any, batch: SharedBatch) -> Tensor:
    """Float32 logits (R, K, C, V) that predict the completions' tokens; the head is not run on the prompts."""
    device = model.device
    logits: Tensor = model(
        input_ids=batch.ids_RT.to(device),
        attention_mask=batch.bias_R1TT.to(device),
        position_ids=batch.positions_RT.to(device),
        logits_to_keep=batch.columns_KC.flatten().to(device),
        use_cache=False,
    ).logits
    return logits.unflatten(1, batch.columns_KC.shape).float()
