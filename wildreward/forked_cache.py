"""Keys and values of completions of shared prompts on a CPU: a prompt's are kept, and read, once for all of them.

Decoding waits for memory. With 8 completions of a prompt, each token of each row reads the keys and values of the whole
text before it: kept row by row, eight times those of the prompt. Here attention runs in two parts, all rows of a prompt
over the prompt, and each row over what it has written; the parts are put together by their logarithms of the sums.

Rows 0..live-1 are being written: the last takes the place of a finished one, of prompts as of rows. Prompts are padded
left. P prompts, R rows, G rows of one prompt at most, H key heads, Q queries that share a key head, D head size,
W tokens of the longest prompt, T new tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


class ForkedCache:
    """Of `completions` rows for each prompt; `lengths` are the prompts' in tokens."""

    def __init__(self, layers: int, lengths: Sequence[int], completions: int, new_tokens: int) -> None:
        self.lengths, self.width, self.new_tokens = lengths, max(lengths), new_tokens
        self.prompts, self.live, self.written = len(lengths), len(lengths) * completions, 0
        self.positions_R = torch.tensor(lengths).repeat_interleave(completions)
        self.layers: list[list[Tensor]] = [[] for _ in range(layers)]
        self._prompt_R = torch.arange(self.prompts).repeat_interleave(completions)
        self._bias_P11W = self._bias()
        self._group()

    def put(self, layer: int, prompt: int, keys_HND: Tensor, values_HND: Tensor) -> None:
        """All of one prompt."""
        if not self.layers[layer]:
            self.layers[layer] = self._room(keys_HND)
        for kept, given in zip(self.layers[layer], (keys_HND, values_HND), strict=False):
            kept[prompt, :, self.width - given.shape[1] :] = given

    def attend(self, layer: int, queries: Tensor, keys_RHD: Tensor, values_RHD: Tensor, scale: float) -> Tensor:
        """Keep the keys and values of one more token of every row; what its queries (R, H Q, D) find: (R, H Q D)."""
        prompt_keys, prompt_values, keys, values = self.layers[layer]
        live, end = self.live, self.written + 1
        keys[:live, :, end - 1], values[:live, :, end - 1] = keys_RHD, values_RHD
        queries_RHQD = queries.unflatten(1, (keys_RHD.shape[1], -1))
        own, own_sums = _attend(queries_RHQD, keys[:live, :, :end], values[:live, :, :end], scale=scale)
        bias = None if self._bias_P11W is None else self._bias_P11W[: self.prompts]
        shared, shared_sums = _attend(
            self._by_prompt(queries_RHQD),
            *(x[: self.prompts] for x in (prompt_keys, prompt_values)),
            attn_mask=bias,
            scale=scale,
        )
        share = torch.sigmoid(self._by_row(shared_sums) - own_sums)
        return torch.lerp(own, self._by_row(shared), share[..., None]).flatten(1)

    def advance(self) -> None:
        self.written += 1
        self.positions_R = self.positions_R + 1

    def keep(self, going_R: Tensor) -> tuple[Tensor, Tensor]:
        """Only the rows marked True go on. The last of them move into the gaps: (from, to)."""
        rows = moves(going_R)
        self.live = int(going_R.sum())
        for _, _, keys, values in self.layers:
            for kept in (keys, values):
                kept[rows[1], :, : self.written] = kept[rows[0], :, : self.written]
        self.positions_R = moved(rows, self.live, self.positions_R)
        self._prompt_R = moved(rows, self.live, self._prompt_R)
        self._drop_prompts()
        self._group()
        return rows

    def _drop_prompts(self) -> None:
        """Those all of whose rows are finished."""
        wanted_P = torch.bincount(self._prompt_R, minlength=self.prompts) > 0
        prompts = moves(wanted_P)
        self.prompts = int(wanted_P.sum())
        for keys, values, *_ in self.layers:
            for kept in (keys, values):
                kept[prompts[1]] = kept[prompts[0]]
        if self._bias_P11W is not None:
            self._bias_P11W = moved(prompts, self.prompts, self._bias_P11W)
        renamed = torch.arange(len(wanted_P)).index_copy(0, *prompts)
        self._prompt_R = renamed[self._prompt_R]

    def _group(self) -> None:
        """Where the rows of each prompt are, `_rows_PG`, and where each row is among them; None where they stand so."""
        order_R = self._prompt_R.argsort(stable=True)
        counts_P = torch.bincount(self._prompt_R, minlength=self.prompts)
        most = int(counts_P.max()) if self.live else 0
        ranks_R = torch.arange(self.live) - (counts_P.cumsum(0) - counts_P)[self._prompt_R[order_R]]
        places_R = torch.empty_like(order_R).index_copy(0, order_R, self._prompt_R[order_R] * most + ranks_R)
        self._most, self._rows_PG, self._places_R = most, None, None
        if self.live != self.prompts * most or not torch.equal(places_R, torch.arange(self.live)):
            rows_PG = torch.zeros(self.prompts * most, dtype=torch.long)
            rows_PG[places_R] = torch.arange(self.live)
            self._rows_PG, self._places_R = rows_PG, places_R

    def _by_prompt(self, x_RHQD: Tensor) -> Tensor:
        """(P, H, G Q, D)."""
        grouped = x_RHQD if self._rows_PG is None else x_RHQD[self._rows_PG]
        return grouped.unflatten(0, (self.prompts, self._most)).transpose(1, 2).flatten(2, 3)

    def _by_row(self, x_PHG: Tensor) -> Tensor:
        """(P, H, G Q, ..) -> (R, H, Q, ..)."""
        grouped = x_PHG.unflatten(2, (self._most, -1)).transpose(1, 2).flatten(0, 1)
        return grouped if self._places_R is None else grouped[self._places_R]

    def _room(self, like_HND: Tensor) -> list[Tensor]:
        """Keys and values of prompts, then of rows."""
        heads, _, size = like_HND.shape
        ofs = [(self.prompts, self.width)] * 2 + [(self.live, self.new_tokens)] * 2
        return [torch.zeros(count, heads, tokens, size, dtype=like_HND.dtype) for count, tokens in ofs]

    def _bias(self) -> Tensor | None:
        """Added to attention to prompts; None where none is padded."""
        if len(set(self.lengths)) == 1:
            return None
        padded_PW = torch.arange(self.width) < (self.width - torch.tensor(self.lengths))[:, None]
        return torch.zeros(padded_PW.shape).masked_fill_(padded_PW, -torch.inf)[:, None, None]


def moves(going_R: Tensor) -> tuple[Tensor, Tensor]:
    """From which of the last places into which gaps, so that those that go on stand first.

    >>> [x.tolist() for x in moves(torch.tensor([True, False, True, False, True]))]
    [[4], [1]]
    """
    count = int(going_R.sum())
    return going_R[count:].nonzero()[:, 0] + count, (~going_R[:count]).nonzero()[:, 0]


def moved(where: tuple[Tensor, Tensor], count: int, values: Tensor) -> Tensor:
    """Values by place, after these moves.

    >>> moved((torch.tensor([4]), torch.tensor([1])), 3, torch.tensor([10, 11, 12, 13, 14])).tolist()
    [10, 14, 12]
    """
    sources, gaps = where
    return values.index_copy(0, gaps, values[sources])[:count]
