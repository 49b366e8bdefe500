"""Llama and its kin (Qwen 2 and 3, Mistral without a window) writing text on a CPU: the same logits with less work.

    decoder = CpuLlama.of(model)                 # None where the model is another, or not on a CPU
    decoder.load(model)                          # after its weights changed

For one token of a few rows the cost is that of the calls, and of reading the weights. So queries, keys and values are
one product, rotations one complex multiplication, additions part of the product before them; linear layers are packed
(see packed_linear.py). Prompts are read end to end, without padding.

Rotation wants the two numbers of a pair side by side, so the rows of the query and key weights are put in that order:
their products with one another do not change. N tokens, R rows, H heads, D head size, V vocabulary.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from wildreward.batching import runs
from wildreward.decoding import READ_TOKENS_CPU, Ids, full_attention
from wildreward.forked_cache import ForkedCache
from wildreward.packed_linear import PackedLinear, can_pack

KINDS = frozenset({"llama", "mistral", "qwen2", "qwen3"})
FIXED_ROTATIONS = frozenset({"default", "linear", "llama3", "yarn"})
"""Those whose angles do not depend on how long the text becomes."""


FILLED = 16
"""Tokens of a pass over prompts are filled up to a multiple: one kernel is made and kept for each count."""

Span = tuple[int, int, int]
"""A prompt's position among all, and where it begins and ends in a pass that reads several."""


class CpuLlama:
    """The forward pass of one causal language model, and the rows it is writing."""

    device = torch.device("cpu")

    def __init__(self, model: Any) -> None:
        config = model.config
        self.heads, self.key_heads = config.num_attention_heads, config.num_key_value_heads
        self.rotary = model.model.rotary_emb
        self.load(model)

    @classmethod
    def of(cls, model: Any) -> Self | None:
        """None for what this does not compute: another architecture, activation, dtype or device."""
        config = model.config
        known = config.model_type in KINDS and config.hidden_act == "silu" and full_attention(config)
        if not known or not _turns_all(model.model):
            return None
        weight = model.get_input_embeddings().weight
        return cls(model) if weight.dtype == torch.float32 and can_pack(weight) else None

    @torch.no_grad()
    def load(self, model: Any) -> None:
        """Take over the model's weights as they are now."""
        self.words = model.model.embed_tokens.weight.detach()
        heads = self.heads, self.key_heads
        self.layers = [_Layer(layer, number, heads) for number, layer in enumerate(model.model.layers)]
        self.norm = _Norm(model.model.norm)
        self.head = PackedLinear(model.lm_head.weight, model.lm_head.bias)

    def read(self, prompts: Sequence[Ids], completions: int, max_new_tokens: int) -> Tensor:
        lengths = [len(ids) for ids in prompts]
        self.cache = ForkedCache(len(self.layers), lengths, completions, max_new_tokens)
        self.turns_LD = self._turns(max(lengths) + max_new_tokens)
        groups = runs(lengths, READ_TOKENS_CPU)
        last_PV = torch.cat([self._read([prompts[i] for i in group], group[0]) for group in groups])
        return last_PV.repeat_interleave(completions, 0)

    def _read(self, prompts: Sequence[Ids], first: int) -> Tensor:
        """Logits of the token after each of neighbouring prompts, of which the first has this position."""
        ends = list(accumulate(map(len, prompts)))
        spans = [(first + i, end - len(ids), end) for i, (ids, end) in enumerate(zip(prompts, ends, strict=True))]
        filling = [0] * (-ends[-1] % FILLED)
        x_NC = self.words[torch.tensor([token for ids in prompts for token in ids] + filling)]
        turns_ND = torch.cat([self.turns_LD[: len(ids)] for ids in prompts] + [self.turns_LD[:1]] * len(filling))
        for layer in self.layers:
            x_NC = layer.read(x_NC, turns_ND, spans, self.cache)
        return self.head(self.norm(x_NC[[end - 1 for end in ends]]))

    def step(self, ids_R: Tensor) -> Tensor:
        x_RC, turns_RD = self.words[ids_R], self.turns_LD[self.cache.positions_R]
        for layer in self.layers:
            x_RC = layer.write(x_RC, turns_RD, self.cache)
        self.cache.advance()
        return self.head(self.norm(x_RC))

    def keep(self, going_R: Tensor) -> tuple[Tensor, Tensor]:
        return self.cache.keep(going_R)

    def _turns(self, length: int) -> Tensor:
        """(length, 1, D / 2) complex: by how much each pair of numbers is turned at each position."""
        cos_1LD, sin_1LD = self.rotary(self.words, torch.arange(length)[None])
        half = cos_1LD.shape[-1] // 2
        return torch.complex(cos_1LD[0, :, None, :half], sin_1LD[0, :, None, :half])


class _Layer:
    """One layer of it."""

    def __init__(self, layer: Any, number: int, heads: tuple[int, int]) -> None:
        """`heads`: of queries, and of keys and values."""
        attention, mlp = layer.self_attn, layer.mlp
        self.number, (self.heads, self.key_heads) = number, heads
        self.size, self.scale = attention.head_dim, attention.scaling
        turned = [_paired(attention.q_proj, self.heads), _paired(attention.k_proj, self.key_heads)]
        self.qkv = _stacked([*turned, (attention.v_proj.weight, attention.v_proj.bias)])
        self.mix = PackedLinear(attention.o_proj.weight, attention.o_proj.bias)
        self.gate = PackedLinear(mlp.gate_proj.weight, mlp.gate_proj.bias)
        self.up = PackedLinear(mlp.up_proj.weight, mlp.up_proj.bias)
        self.down = PackedLinear(mlp.down_proj.weight, mlp.down_proj.bias)
        self.before, self.between = _Norm(layer.input_layernorm), _Norm(layer.post_attention_layernorm)
        norms = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]
        self.head_norms = [_Norm(norm, paired=True) for norm in norms if norm is not None]

    def read(self, x_NC: Tensor, turns_ND: Tensor, spans: Sequence[Span], cache: ForkedCache) -> Tensor:
        """All tokens of prompts that stand one behind another."""
        query, key, value = (x.transpose(0, 1)[None] for x in self._attended(x_NC, turns_ND))
        mixed_HND = torch.zeros_like(query[0])
        for prompt, start, end in spans:
            q, k, v = query[:, :, start:end], key[:, :, start:end], value[:, :, start:end]
            cache.put(self.number, prompt, k[0], v[0])
            mixed_HND[:, start:end] = functional.scaled_dot_product_attention(
                q, k, v, is_causal=True, scale=self.scale, enable_gqa=self.heads != self.key_heads
            )[0]
        return self._after(mixed_HND.transpose(0, 1).flatten(1), x_NC)

    def write(self, x_RC: Tensor, turns_RD: Tensor, cache: ForkedCache) -> Tensor:
        """One token of every row."""
        return self._after(cache.attend(self.number, *self._attended(x_RC, turns_RD), self.scale), x_RC)

    def _attended(self, x_NC: Tensor, turns_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (N, H, D), keys and values (N, key heads, D) of these tokens."""
        both = self.heads + self.key_heads
        qkv = self.qkv(self.before(x_NC)).view(len(x_NC), both + self.key_heads, self.size)
        query_key, value = qkv[:, :both], qkv[:, both:]
        if self.head_norms:
            query, key = query_key[:, : self.heads], query_key[:, self.heads :]
            query_key = torch.cat([norm(x) for norm, x in zip(self.head_norms, (query, key), strict=True)], 1)
        pairs = torch.view_as_complex(query_key.unflatten(-1, (-1, 2)))
        turned = torch.view_as_real(pairs * turns_ND).flatten(-2)
        return turned[:, : self.heads], turned[:, self.heads :], value

    def _after(self, mixed: Tensor, x: Tensor) -> Tensor:
        x = self.mix.add(mixed, x)
        inner = self.between(x)
        return self.down.add(functional.silu(self.gate(inner)) * self.up(inner), x)


class _Norm:
    """Root mean square norm."""

    def __init__(self, norm: Any, paired: bool = False) -> None:
        weight = norm.weight.detach()
        self.weight = _pairs(weight) if paired else weight
        self.eps = norm.variance_epsilon

    def __call__(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.weight.shape, self.weight, self.eps)


def _turns_all(model: Any) -> bool:
    """Whether all numbers of a head are turned, by angles known from the position alone."""
    rotary = model.rotary_emb
    whole = 2 * len(rotary.inv_freq) == model.layers[0].self_attn.head_dim
    return whole and rotary.rope_type in FIXED_ROTATIONS


def _paired(layer: nn.Linear, heads: int) -> tuple[Tensor, Tensor | None]:
    """Weight and bias whose outputs stand pair by pair within each head."""
    weight, bias = layer.weight, layer.bias
    weight = _pairs(weight.unflatten(0, (heads, -1)).transpose(1, 2)).transpose(1, 2).flatten(0, 1)
    return weight, None if bias is None else _pairs(bias.view(heads, -1)).flatten()


def _pairs(x: Tensor) -> Tensor:
    """(.., D) with number i beside number i + D / 2.

    >>> _pairs(torch.tensor([1, 2, 3, 4])).tolist()
    [1, 3, 2, 4]
    """
    return x.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)


def _stacked(parts: Sequence[tuple[Tensor, Tensor | None]]) -> PackedLinear:
    biases = [bias for _, bias in parts if bias is not None]
    return PackedLinear(torch.cat([weight for weight, _ in parts]), torch.cat(biases) if biases else None)
