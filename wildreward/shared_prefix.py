"""Several replies to one prompt: a decoder reads the prompt once, and each reply with the keys and values it left.

Which texts share is found in their token ids alone, so it works for any template and any caller that puts the replies
to one prompt side by side.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

MIN_SHARED = 32
"""Tokens; below, a pass of its own for the prompt costs more than it saves."""
DECODERS = frozenset({"llama", "qwen2", "qwen3"})

Ids = Sequence[int]


def can_share(config: Any) -> bool:
    """Decoders whose every layer keeps all keys and values, so that they can be cut back to the prompt's."""
    layers = getattr(config, "layer_types", None) or []
    return config.model_type in DECODERS and all(layer == "full_attention" for layer in layers)


def shared_runs(ids: Sequence[Ids], max_tokens: int, longest_run: int | None = None) -> Iterator[range]:
    """Positions in order, neighbours with a common beginning of MIN_SHARED tokens together, at most `max_tokens` read
    for one run (or a single text).

    >>> prompt = list(range(40))
    >>> list(shared_runs([[*prompt, 1], [*prompt, 2, 3], [7, 8], [7, 8]], max_tokens=100))
    [range(0, 2), range(2, 3), range(3, 4)]
    >>> list(shared_runs([[*prompt, 1], [*prompt, 2]], max_tokens=41))
    [range(0, 1), range(1, 2)]
    """
    start, prefix, read = 0, 0, 0
    for position, text in enumerate(ids):
        common = _common(ids[start], text, prefix or len(text)) if position > start else 0
        total = common + sum(len(ids[i]) - common for i in range(start, position + 1))
        if position > start and (common < MIN_SHARED or total > max_tokens):
            yield range(start, position)
            start, common = position, 0
        prefix, read = common, position + 1
    if read > start:
        yield range(start, read)


def _common(a: Ids, b: Ids, at_most: int) -> int:
    """How many tokens two texts begin with alike; one of each is left over, to be read after the shared ones."""
    limit = min(len(a) - 1, len(b) - 1, at_most)
    return next((i for i in range(limit) if a[i] != b[i]), max(0, limit))


def common_prefix(ids: Sequence[Ids], pad_token_id: int | None) -> int:
    """Tokens that all texts begin with, short of the one that the head reads: each text's last that is no padding."""
    last_read = [max((i for i, token in enumerate(text) if token != pad_token_id), default=0) for text in ids]
    length = min(last_read)
    for text in ids[1:]:
        length = _common(ids[0], text, length)
    return length


def shared_logits(classifier: Any, ids: Sequence[Ids], prefix: int) -> Tensor:
    """(B, labels) raw logits of texts whose first `prefix` tokens are alike, of a decoder of `can_share`."""
    from transformers import DynamicCache

    device = next(classifier.parameters()).device
    cache = DynamicCache(config=classifier.config)
    body = getattr(classifier, classifier.base_model_prefix)
    body(input_ids=torch.tensor([ids[0][:prefix]], device=device), past_key_values=cache, use_cache=True)
    rows = []
    for text in ids:
        rest = torch.tensor([text[prefix:]], device=device)
        rows.append(classifier(input_ids=rest, past_key_values=cache, use_cache=True).logits)
        cache.crop(prefix - len(text))  # how many tokens to take away, as a negative number
    return torch.cat(rows).float()
