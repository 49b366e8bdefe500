"""Drawing the next token of every row from one uniform number a token: no other random numbers, and no sort unless
top_p asks for one. Shapes: R rows, V vocabulary, T tokens, C candidates in descending order.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def draw(logits_RV: Tensor, uniforms_R: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """Token ids (R,), distributed as softmax(logits / temperature) cut to the nucleus of mass top_p; temperature 0 is
    argmax. Inverse transform sampling: the same logits and the same uniforms in [0, 1) give the same tokens.

    >>> logits = torch.tensor([0.7, 0.2, 0.1]).log().expand(4, 3)
    >>> draw(logits, torch.tensor([0.0, 0.69, 0.71, 0.95])).tolist()
    [0, 0, 1, 2]
    >>> draw(logits, torch.tensor([0.0, 0.69, 0.71, 0.95]), top_p=0.8).tolist()
    [0, 0, 0, 1]
    """
    if temperature == 0:
        return logits_RV.argmax(-1)
    scaled_RV = logits_RV.float() if temperature == 1 else logits_RV.float() / temperature
    if top_p >= 1:
        return _pick(scaled_RV.softmax(-1), uniforms_R)
    probs_RC, tokens_RC = scaled_RV.softmax(-1).sort(-1, descending=True)
    before_RC = probs_RC.cumsum(-1) - probs_RC
    chosen_R = _pick(probs_RC.masked_fill(before_RC >= top_p, 0.0), uniforms_R)
    return tokens_RC.gather(-1, chosen_R[:, None])[:, 0]


def _pick(weights_RC: Tensor, uniforms_R: Tensor) -> Tensor:
    """The first candidate at which the running sum of weights is over uniform times their total, so never one of
    weight zero: rounding may lift the product to the total, which would be past the last."""
    sums_RC = weights_RC.cumsum(-1)
    total_R1 = sums_RC[:, -1:]
    below_R1 = torch.minimum(uniforms_R[:, None] * total_R1, total_R1.nextafter(torch.zeros_like(total_R1)))
    return torch.searchsorted(sums_RC, below_R1, right=True)[:, 0]


def uniforms(seeds: Sequence[int], completions: int, tokens: int) -> Tensor:
    """(prompts * completions, T) in [0, 1): what a prompt's completions are drawn with depends on its seed alone."""
    rows = [torch.rand(completions, tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.cat(rows)
