"""Ordinal heads: their losses, and what their logits mean.

Classes are 1..C, thresholds k = 1..K with K = C - 1, and every head models P(class > k):

    coral        logit_k = f(x) - c_k, one scalar f and ordered cutpoints: P falls with k by construction.
                 Cao, Mirjalili, Raschka 2020, arXiv 1901.07884, eq. 4
    corn         logit_k is conditional: P(class > k | class > k-1); the chain rule gives P(class > k).
                 Shi, Cao, Raschka 2021, arXiv 2111.08851, eq. 5-7
    independent  K free logits, the layout of the published WildReward checkpoints (arXiv 2602.08829)

Shapes: B batch, C classes, K = C - 1 thresholds.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

HeadKind = Literal["coral", "corn", "independent"]


def hard_targets(labels_B: Tensor, num_classes: int) -> Tensor:
    """P(class > k) of hard labels: (B,) ints in 1..C -> (B, K) of 0 and 1.

    >>> hard_targets(torch.tensor([1, 3, 4]), num_classes=4)
    tensor([[0., 0., 0.],
            [1., 1., 0.],
            [1., 1., 1.]])
    """
    thresholds_K = torch.arange(1, num_classes, device=labels_B.device)
    return (labels_B[:, None] > thresholds_K).float()


def soft_targets(probs_BC: Tensor) -> Tensor:
    """P(class > k) of class distributions: (B, C) rows summing to 1 -> (B, K) tail sums.

    The expected extended label of CORAL (section 3.2) when the class is only known in distribution; the threshold
    losses are linear in their targets, so the loss is the expected loss under that distribution.

    >>> soft_targets(torch.tensor([[0.1, 0.2, 0.3, 0.4]]))
    tensor([[0.9000, 0.7000, 0.4000]])
    """
    return probs_BC.flip(1).cumsum(1).flip(1)[:, 1:].clamp(0, 1)


def loss(
    kind: HeadKind,
    logits_BK: Tensor,
    targets_BK: Tensor,
    weights_K: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Scalar: mean over the batch of the summed threshold losses.

    `weights_K` are importance weights per threshold (CORAL eq. 4), `label_smoothing` moves targets towards 1/2.

        coral, independent   - sum_k w_k [ log(s(z_k)) y_k + log(1 - s(z_k)) (1 - y_k) ]              CORAL eq. 4
        corn                 - sum_k w_k y_{k-1} [ log(s(z_k)) y_k / y_{k-1} + log(1 - s(z_k)) (1 - y_k / y_{k-1}) ]
                             with y_0 = 1; for hard labels the sum runs over the examples above k - 1   CORN eq. 8

    >>> logits = torch.tensor([[2.1, 1.8, -2.1, -1.8], [1.9, -1.0, -1.5, -1.3], [1.9, 1.8, 1.7, 1.6]])
    >>> levels = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    >>> round(loss("coral", logits, levels).item(), 4)
    0.692
    """
    return row_losses(kind, logits_BK, targets_BK, weights_K, label_smoothing).mean()


def row_losses(
    kind: HeadKind,
    logits_BK: Tensor,
    targets_BK: Tensor,
    weights_K: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """(B,) the summed threshold losses of each example.

    For corn, threshold k counts as much as the example is known to lie above k-1 (all of it, or none, for hard labels),
    and its target is the conditional probability.

    >>> logits = torch.tensor([[2.1, 1.8, -2.1, -1.8], [1.9, -1.0, -1.5, -1.3], [1.9, 1.8, 1.7, 1.6]])
    >>> levels = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    >>> row_losses("coral", logits, levels)
    tensor([0.5370, 0.8951, 0.6441])
    >>> row_losses("corn", logits, levels)
    tensor([0.3840, 0.4526, 0.6441])
    """
    smoothed_BK = targets_BK * (1 - label_smoothing) + label_smoothing / 2
    if kind == "corn":
        above_BK = torch.cat([torch.ones_like(smoothed_BK[:, :1]), smoothed_BK[:, :-1]], dim=1)
        conditional_BK = torch.where(above_BK > 0, smoothed_BK / above_BK.clamp_min(1e-12), 0.0)
        terms_BK = above_BK * _cross_entropy(logits_BK, conditional_BK)
    else:
        terms_BK = _cross_entropy(logits_BK, smoothed_BK)
    return (terms_BK if weights_K is None else terms_BK * weights_K).sum(1)


def _cross_entropy(logits_BK: Tensor, targets_BK: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits_BK.float(), targets_BK.float(), reduction="none")


def balanced_weights(labels: Tensor, num_classes: int) -> Tensor:
    """(K,) importance weights: the rarer one side of a threshold is in the data, the more it counts; mean 1.

    Source: CORAL section 3.3 (sqrt of the larger side), turned round so that the rare thresholds are not drowned:
    w_k is proportional to 1 / sqrt(p_k (1 - p_k)) with p_k = P(class > k) in the data.

    >>> balanced_weights(torch.tensor([1, 2, 3, 4]), 4)
    tensor([1.0467, 0.9065, 1.0467])
    """
    p_K = hard_targets(labels, num_classes).mean(0).clamp(1e-3, 1 - 1e-3)
    weights_K = (p_K * (1 - p_K)).rsqrt()
    return weights_K / weights_K.mean()


@dataclass(frozen=True)
class Decoded:
    """score_B = 1 + sum_k P(class > k), in 1..C; probs_BC rows are >= 0 and sum to 1; uncertainty_B is their standard
    deviation in classes."""

    score_B: Tensor
    probs_BC: Tensor
    uncertainty_B: Tensor


def decode(kind: HeadKind, logits_BK: Tensor) -> Decoded:
    """Scores and class probabilities from logits (B, K).

    >>> out = decode("coral", torch.tensor([[2.0, 0.0, -2.0]]))
    >>> round(out.score_B.item(), 4), [round(p, 4) for p in out.probs_BC[0].tolist()]
    (2.5, [0.1192, 0.3808, 0.3808, 0.1192])

    Independent logits may cross; the probabilities are then the nearest ones that do not, with the same score.

    >>> out = decode("independent", torch.tensor([[0.0, 2.0, -2.0]]))
    >>> round(out.score_B.item(), 4), [round(p, 4) for p in out.probs_BC[0].tolist()]
    (2.5, [0.3096, 0.0, 0.5712, 0.1192])
    """
    above_BK = above_probabilities(kind, logits_BK)
    ones_B1, zeros_B1 = torch.ones_like(above_BK[:, :1]), torch.zeros_like(above_BK[:, :1])
    probs_BC = torch.cat([ones_B1, above_BK], dim=1) - torch.cat([above_BK, zeros_B1], dim=1)
    classes_C = torch.arange(1, probs_BC.shape[1] + 1, dtype=probs_BC.dtype, device=probs_BC.device)
    score_B = 1 + above_BK.sum(1)
    variance_B = (probs_BC * (classes_C - score_B[:, None]) ** 2).sum(1)
    return Decoded(score_B, probs_BC, variance_B.sqrt())


def above_probabilities(kind: HeadKind, logits_BK: Tensor) -> Tensor:
    """P(class > k), (B, K), never rising with k."""
    sigmoid_BK = torch.sigmoid(logits_BK.float())
    if kind == "corn":
        return sigmoid_BK.cumprod(1)
    # Of ordered cutpoints cummin changes nothing but what rounding did.
    return _nonincreasing(sigmoid_BK) if kind == "independent" else sigmoid_BK.cummin(1).values


def _nonincreasing(values_BK: Tensor) -> Tensor:
    """Isotonic (least-squares) projection by its min-max formula; keeps the row sums, hence the score."""
    K = values_BK.shape[1]
    sums = functional.pad(values_BK.double().cumsum(1), (1, 0))
    means = {(i, j): (sums[:, j + 1] - sums[:, i]) / (j + 1 - i) for i in range(K) for j in range(i, K)}
    columns = []
    for k in range(K):
        tops = [torch.stack([means[i, j] for j in range(k, K)]).amax(0) for i in range(k + 1)]
        columns.append(torch.stack(tops).amin(0))
    return torch.stack(columns, dim=1).to(values_BK.dtype).cummin(1).values


class Cutpoints(torch.nn.Module):
    """Ordered cutpoints c_1 < ... < c_K: the first, and the softplus of the gaps, are the free parameters.

    >>> Cutpoints([-1.0, 0.0, 2.0])().tolist()
    [-1.0, 0.0, 2.0]
    """

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        gaps = torch.tensor(values, dtype=torch.float64).diff()
        if not bool((gaps > 0).all()):
            raise ValueError(f"cutpoints: found {values}; they must rise")
        self.first = torch.nn.Parameter(torch.tensor(values[:1], dtype=torch.float32))
        self.gaps = torch.nn.Parameter(torch.log(torch.expm1(gaps)).float())

    def forward(self) -> Tensor:
        """(K,) the cutpoints."""
        return ordered(self.first, self.gaps)


def ordered(first: Tensor, gaps: Tensor) -> Tensor:
    """(K,) rising values in fp32 from the first (1,) and the free parameters of the K - 1 gaps."""
    first, gaps = first.float(), gaps.float()  # bf16 sums would put close cutpoints on one another
    return torch.cat([first, first + functional.softplus(gaps).cumsum(0)])


def frequency_cutpoints(labels: Tensor, num_classes: int) -> list[float]:
    """Cutpoints at which f(x) = 0 predicts the class frequencies of the data: c_k = -logit P(class > k).

    >>> [round(c, 4) for c in frequency_cutpoints(torch.tensor([1, 2, 3, 4]), 4)]
    [-1.0986, 0.0, 1.0986]
    """
    p_K = hard_targets(labels, num_classes).double().mean(0).clamp(1e-3, 1 - 1e-3)
    values = torch.logit(1 - p_K).tolist()
    for k in range(1, len(values)):  # an absent class has an empty interval; keep a sliver so that cutpoints rise
        values[k] = max(values[k], values[k - 1] + 1e-2)
    return values
