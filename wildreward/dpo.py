"""Direct preference optimisation: the losses and the log-probabilities they need. Pure torch, no Ray.

Shapes: B sequences, P pairs, T tokens of a padded row, C of its completion part, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from wildreward.prompt_sharing import Row, batches_of_rows, can_share, collate_rows, rows_of, shared_logits

LossKind = Literal["sigmoid", "ipo"]


class PolicySequence(NamedTuple):
    """One completion behind its prompt, as token ids of the policy."""

    prompt: Sequence[int]
    completion: Sequence[int]


@dataclass(frozen=True)
class Batch:
    """Rows padded left, so that none is wider than the longest, and all end together: [pad.. prompt completion]."""

    ids_BT: Tensor
    mask_BT: Tensor
    positions_BT: Tensor
    completion_mask_BC: Tensor

    @property
    def completion_ids_BC(self) -> Tensor:  # noqa: N802  shape suffixes are the house style
        return self.ids_BT[:, -self.completion_mask_BC.shape[1] :]


@dataclass(frozen=True)
class Objective:
    """What is minimised in a step; see the settings of the same names."""

    beta: float
    kind: LossKind = "sigmoid"
    label_smoothing: float = 0.0
    sft_weight: float = 0.0
    length_normalized: bool = False


@dataclass(frozen=True)
class PairLoss:
    """`loss_P` is what is minimised; the implicit rewards are beta times the log-ratio to the reference."""

    loss_P: Tensor
    chosen_P: Tensor
    rejected_P: Tensor

    @property
    def loss(self) -> Tensor:
        return self.loss_P.mean()


def collate(sequences: Sequence[PolicySequence], pad: int) -> Batch:
    """Sequences as one padded batch.

    >>> batch = collate([PolicySequence([5, 6], [7]), PolicySequence([8], [9, 10])], pad=0)
    >>> batch.ids_BT.tolist(), batch.completion_mask_BC.tolist()
    ([[5, 6, 7], [8, 9, 10]], [[0, 1], [1, 1]])
    """
    width = max(len(prompt) + len(completion) for prompt, completion in sequences)
    after = max(len(completion) for _, completion in sequences)
    rows, masks, completions = [], [], []
    for prompt, completion in sequences:
        left = width - len(prompt) - len(completion)
        rows.append([pad] * left + list(prompt) + list(completion))
        masks.append([0] * left + [1] * (width - left))
        completions.append([0] * (after - len(completion)) + [1] * len(completion))
    mask_BT = torch.tensor(masks)
    positions_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
    return Batch(torch.tensor(rows), mask_BT, positions_BT, torch.tensor(completions))


def completion_logits(model: Any, batch: Batch) -> Tensor:
    """Float32 logits_BCV that predict the completion's tokens; the head is not run on the prompt."""
    width = batch.completion_mask_BC.shape[1]
    device = model.device
    logits = model(
        input_ids=batch.ids_BT.to(device),
        attention_mask=batch.mask_BT.to(device),
        position_ids=batch.positions_BT.to(device),
        logits_to_keep=width + 1,
        use_cache=False,
    ).logits
    return logits[:, -(width + 1) : -1].float()


def token_logps(logits_BCV: Tensor, ids_BC: Tensor, mask_BC: Tensor) -> Tensor:
    """Log-probability of every completion token, zero where masked: logps_BC.

    >>> token_logps(torch.zeros(1, 2, 4), torch.tensor([[1, 0]]), torch.tensor([[1, 0]])).tolist()
    [[-1.386..., 0.0]]
    """
    ids_BC, mask_BC = ids_BC.to(logits_BCV.device), mask_BC.to(logits_BCV.device)
    nll = functional.cross_entropy(logits_BCV.flatten(0, 1), ids_BC.flatten(), reduction="none")
    return torch.where(mask_BC.bool(), -nll.view(ids_BC.shape), 0.0)


def token_entropies(logits_BCV: Tensor, mask_BC: Tensor) -> Tensor:
    """Entropy in nats of every predicted distribution, zero where masked: entropies_BC."""
    logps_BCV = logits_BCV.log_softmax(-1)
    entropies_BC = -(logps_BCV.exp() * logps_BCV).sum(-1)
    return torch.where(mask_BC.to(logits_BCV.device).bool(), entropies_BC, 0.0)


def pair_loss(
    chosen_P: Tensor,
    rejected_P: Tensor,
    reference_chosen_P: Tensor,
    reference_rejected_P: Tensor,
    *,
    beta: float,
    kind: LossKind = "sigmoid",
    label_smoothing: float = 0.0,
) -> PairLoss:
    """Loss of each pair, from log-probabilities of whole completions under the policy and the reference.

    sigmoid: -(1 - s) log sigmoid(beta h) - s log sigmoid(-beta h), DPO (arXiv 2305.18290, eq. 7) with smoothing s
    (cDPO: Mitchell 2023, "A note on DPO with noisy preferences", eq. 3);
    ipo: (h - 1 / (2 beta))^2 (arXiv 2310.12036, eq. 17); h is the difference of the two log-ratios.

    >>> one = torch.tensor([0.0])
    >>> pair_loss(one, one, one, one, beta=0.1).loss.item()
    0.6931...
    >>> pair_loss(one, one, one, one, beta=0.1, kind="ipo").loss.item()
    25.0
    """
    chosen_ratio_P = chosen_P - reference_chosen_P
    rejected_ratio_P = rejected_P - reference_rejected_P
    h_P = chosen_ratio_P - rejected_ratio_P
    if kind == "ipo":
        loss_P = (h_P - 1 / (2 * beta)) ** 2
    else:
        forward_P, backward_P = functional.logsigmoid(beta * h_P), functional.logsigmoid(-beta * h_P)
        loss_P = -(1 - label_smoothing) * forward_P - label_smoothing * backward_P
    return PairLoss(loss_P, (beta * chosen_ratio_P).detach(), (beta * rejected_ratio_P).detach())


def per_token(logps_B: Tensor, lengths_B: Tensor) -> Tensor:
    """Log-probabilities of completions divided by their length in tokens.

    As length-normalised DPO (Tulu 3, arXiv 2411.15124, eq. 6) and SimPO (arXiv 2405.14734, eq. 3) have them: a pair's
    gap then no longer grows with the longer completion.

    >>> per_token(torch.tensor([-6.0, -6.0]), torch.tensor([2, 3])).tolist()
    [-3.0, -2.0]
    """
    return logps_B / lengths_B


def sft_loss(chosen_P: Tensor, lengths_P: Tensor) -> Tensor:
    """Negative log-likelihood of each chosen completion per token: the term added in RPO (arXiv 2404.19733, eq. 1).

    >>> sft_loss(torch.tensor([-6.0]), torch.tensor([3])).tolist()
    [2.0]
    """
    return -per_token(chosen_P, lengths_P)


def objective_loss(
    policy_B: Tensor, reference_B: Tensor, lengths_B: Tensor, objective: Objective
) -> tuple[PairLoss, Tensor]:
    """(loss of each pair with every term in it, the SFT term alone) of all chosen completions, then all rejected.

    >>> logps_B, lengths_B = torch.tensor([-6.0, -8.0]), torch.tensor([3, 2])
    >>> result, sft_P = objective_loss(logps_B, logps_B, lengths_B, Objective(beta=0.1, sft_weight=0.5))
    >>> result.loss_P.tolist(), sft_P.tolist()
    ([1.693...], [2.0])
    """
    count = len(policy_B) // 2
    sft_P = sft_loss(policy_B[:count], lengths_B[:count])
    if objective.length_normalized:
        policy_B, reference_B = per_token(policy_B, lengths_B), per_token(reference_B, lengths_B)
    pairs = pair_loss(
        *(policy_B[:count], policy_B[count:], reference_B[:count], reference_B[count:]),
        beta=objective.beta,
        kind=objective.kind,
        label_smoothing=objective.label_smoothing,
    )
    return replace(pairs, loss_P=pairs.loss_P + objective.sft_weight * sft_P), sft_P


def sequence_logps(model: Any, sequences: Sequence[PolicySequence], pad: int, max_tokens: int) -> list[float]:
    """Log-probability of each completion given its prompt, summed over its tokens, in order. Where the model allows it
    a prompt is read once for all its completions; what is there twice is computed once anyway."""
    logps = [0.0] * len(sequences)
    for group in batches_of_rows(rows_to_read(model, sequences), max_tokens):
        for place, value in placed_logps(model, group, pad):
            logps[place] = value
    return logps


def rows_to_read(model: Any, sequences: Sequence[PolicySequence]) -> list[Row]:
    """Rows with all distinct completions of a prompt, or with one each where the model cannot share the prompt."""
    rows = rows_of(sequences)
    if can_share(model):
        return rows
    return [Row(row.prompt, [c], [p]) for row in rows for c, p in zip(row.completions, row.places, strict=True)]


def placed_logps(model: Any, rows: Sequence[Row], pad: int) -> Iterator[tuple[int, float]]:
    """(place, log-probability) of every sequence that these rows, which have equally many completions, stand for."""
    for row, sums_K in zip(rows, row_logps(model, rows, pad).tolist(), strict=True):
        for places, value in zip(row.places, sums_K, strict=True):
            yield from ((place, value) for place in places)


def pair_logps(model: Any, pairs: Sequence[tuple[PolicySequence, PolicySequence]], pad: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities and lengths in tokens (2 P,) of the completions of pairs, which have their prompt in common:
    all chosen, then all rejected."""
    lengths_B = torch.tensor([len(pair[side].completion) for side in (0, 1) for pair in pairs])
    rows = [Row(chosen.prompt, [chosen.completion, rejected.completion], []) for chosen, rejected in pairs]
    logps_B = row_logps(model, rows, pad).t().flatten()
    return logps_B, lengths_B.to(logps_B)


def pair_tokens(model: Any, pairs: Sequence[tuple[PolicySequence, PolicySequence]]) -> list[int]:
    """What each pair costs `pair_logps`, in tokens with the padding inside the pair."""
    if can_share(model):
        return [Row(chosen.prompt, [chosen.completion, rejected.completion], []).tokens for chosen, rejected in pairs]
    return [2 * max(len(prompt) + len(completion) for prompt, completion in pair) for pair in pairs]


def row_logps(model: Any, rows: Sequence[Row], pad: int) -> Tensor:
    """(R, K) log-probabilities of the completions of rows that have equally many."""
    if len(rows[0].completions) > 1 and can_share(model):
        shared = collate_rows(rows, pad, next(model.parameters()).dtype)
        logits, ids, mask = shared_logits(model, shared), shared.completion_ids_RKC, shared.completion_mask_RKC
        logps_BC = token_logps(logits.flatten(0, 1), ids.flatten(0, 1), mask.flatten(0, 1))
    else:
        batch = collate([PolicySequence(row.prompt, c) for row in rows for c in row.completions], pad)
        logps_BC = token_logps(completion_logits(model, batch), batch.completion_ids_BC, batch.completion_mask_BC)
    return logps_BC.sum(1).unflatten(0, (len(rows), -1))
