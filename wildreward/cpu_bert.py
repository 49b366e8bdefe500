"""A BERT classifier on CPUs, about twice as fast as the plain model and with the same scores: no padding, no work that
the answer does not need, faster matrix kernels.

    fast = CpuBert.of(model)          # None where the model is no plain BERT, or not on a CPU
    fast.logits([[101, 7592, 102], [101, 102]])

- The texts of a batch stand one behind another instead of one padded row each; attention runs text by text.
- Linear layers are packed (see packed_linear.py), with the GELU and the additions that follow them.
- Of the last layer only the first token's output is read, so only it is computed; its keys and values still of all.
- Attention is two matrix products and a softmax: faster here than PyTorch's fused one. Of long texts in float32 it runs
  head by head with the kernels of the linear layers, in the core's cache.

What is computed for a text does not depend on its neighbours: a row of a matrix product does not depend on the others,
and the head sees one text at a time.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from wildreward.packed_linear import PackedLinear, can_pack, matmul_transposed

ROWS = 16
"""Tokens of a batch are filled up to a multiple: one kernel is made and kept for each count."""
LONG = 240
"""From this many tokens float32 attention runs head by head."""


class CpuBert:
    """The forward pass of one BertForSequenceClassification. N: tokens of all texts, H: hidden size, B: texts."""

    def __init__(self, model: Any) -> None:
        config, embeddings = model.config, model.bert.embeddings
        self.heads, self.hidden, self.eps = config.num_attention_heads, config.hidden_size, config.layer_norm_eps
        self.words = embeddings.word_embeddings.weight
        self.positions = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
        self.norm = embeddings.LayerNorm
        self.layers = [_Layer(layer, self.hidden // self.heads) for layer in model.bert.encoder.layer]
        self.pooler, self.classifier = _in_fp32(model.bert.pooler.dense), _in_fp32(model.classifier)

    @classmethod
    def of(cls, model: Any) -> Self | None:
        """None for what this does not compute: another architecture, activation, dtype or device."""
        config = model.config
        if config.model_type != "bert" or config.is_decoder or config.hidden_act != "gelu":
            return None
        if not can_pack(model.bert.embeddings.word_embeddings.weight):
            return None
        with torch.no_grad():
            return cls(model)

    @torch.inference_mode()
    def logits(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """(B, labels) raw logits in fp32 of token ids of any lengths, none empty."""
        x_NH, spans = self._embedded(ids)
        for layer in self.layers[:-1]:
            x_NH = layer(x_NH, spans, self.heads)
        first_BH = self.layers[-1].first(x_NH, spans, self.heads).float()
        # One text at a time: a product of other shape may round otherwise.
        return torch.stack([self.classifier(torch.tanh(self.pooler(row))) for row in first_BH])

    def _embedded(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, list[tuple[int, int]]]:
        """(N, H) filled up to ROWS, and where each text begins and ends."""
        ends = list(accumulate(map(len, ids)))
        spans = list(zip([0, *ends[:-1]], ends, strict=True))
        filling = [0] * (-ends[-1] % ROWS)
        tokens = torch.tensor([token for text in ids for token in text] + filling)
        places = torch.cat([torch.arange(end - start) for start, end in spans] + [torch.tensor(filling).long()])
        embedded = self.words[tokens] + self.positions[places]
        return functional.layer_norm(embedded, (self.hidden,), self.norm.weight, self.norm.bias, self.eps), spans


class _Layer:
    """One layer; queries carry the scale 1/sqrt(head size) in their weights."""

    def __init__(self, layer: Any, head_size: int) -> None:
        attention, scale = layer.attention, head_size**-0.5
        query, key, value = attention.self.query, attention.self.key, attention.self.value
        self.hidden = query.in_features
        self.qkv = PackedLinear.stacked([query, key, value], [scale, 1, 1])
        self.query = PackedLinear.stacked([query], [scale])
        self.kv = PackedLinear.stacked([key, value], [1, 1])
        self.mix = PackedLinear(attention.output.dense.weight, attention.output.dense.bias)
        self.widen = PackedLinear(layer.intermediate.dense.weight, layer.intermediate.dense.bias)
        self.narrow = PackedLinear(layer.output.dense.weight, layer.output.dense.bias)
        self.norms = attention.output.LayerNorm, layer.output.LayerNorm

    def __call__(self, x_NH: Tensor, spans: Sequence[tuple[int, int]], heads: int) -> Tensor:
        query, key, value = self.qkv(x_NH).split(self.hidden, -1)
        context = torch.zeros_like(x_NH)
        for start, end in spans:
            context[start:end] = attend(query[start:end], key[start:end], value[start:end], heads)
        return self._after(context, x_NH)

    def first(self, x_NH: Tensor, spans: Sequence[tuple[int, int]], heads: int) -> Tensor:
        """(B, H): the output at each text's first token."""
        key, value = self.kv(x_NH).split(self.hidden, -1)
        own = x_NH[[start for start, _ in spans]]
        query = self.query(own)
        context = [
            attend(query[i : i + 1], key[start:end], value[start:end], heads) for i, (start, end) in enumerate(spans)
        ]
        return self._after(torch.cat(context), own)

    def _after(self, context: Tensor, x: Tensor) -> Tensor:
        inner, outer = self.norms
        mixed = inner(self.mix.add(context, x))
        return outer(self.narrow.add(self.widen.gelu(mixed), mixed))


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """softmax(query key^T) value per head, of scaled queries: (Q, H), (T, H), (T, H) -> (Q, H)."""
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (query, key, value))
    if query.shape[1] < LONG or query.dtype != torch.float32:
        weights = torch.bmm(query, key.transpose(1, 2))
        torch.softmax(weights, -1, out=weights)
        return torch.bmm(weights, value).transpose(0, 1).flatten(-2)
    query, key, value = query.contiguous(), key.contiguous(), value.transpose(1, 2).contiguous()
    mixed = torch.empty(query.shape[1], heads, query.shape[2], dtype=query.dtype)
    for head in range(heads):
        weights = matmul_transposed(query[head], key[head])
        torch.softmax(weights, -1, out=weights)
        mixed[:, head] = matmul_transposed(weights, value[head])
    return mixed.flatten(-2)


def _in_fp32(layer: nn.Linear) -> nn.Linear:
    copy = nn.Linear(layer.in_features, layer.out_features)
    copy.load_state_dict({name: weight.float() for name, weight in layer.state_dict().items()})
    return copy.requires_grad_(False)
