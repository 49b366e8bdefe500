"""DPO's losses against vectors computed by hand, and log-probabilities against a plain forward pass."""

import math
from typing import Any

import pytest
import torch

from wildreward.dpo import (
    Objective,
    PolicySequence,
    collate,
    completion_logits,
    objective_loss,
    pair_logps,
    pair_loss,
    sequence_logps,
    token_entropies,
)

POLICY = (torch.tensor([-10.0, -8.0]), torch.tensor([-12.0, -7.0]))
REFERENCE = (torch.tensor([-11.0, -8.0]), torch.tensor([-11.0, -9.0]))
RATIO_GAPS = (2.0, -2.0)  # (-10+11) - (-12+11), (-8+8) - (-7+9)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_the_sigmoid_loss_is_the_hand_computed_one() -> None:
    result = pair_loss(*POLICY, *REFERENCE, beta=0.5)
    expected = sum(-math.log(sigmoid(0.5 * gap)) for gap in RATIO_GAPS) / 2
    assert result.loss.item() == pytest.approx(expected, rel=1e-6)
    assert result.chosen_P.tolist() == [0.5, 0.0]
    assert result.rejected_P.tolist() == [-0.5, 1.0]


def test_label_smoothing_mixes_in_the_swapped_pair() -> None:
    result = pair_loss(*POLICY, *REFERENCE, beta=0.5, label_smoothing=0.1)
    one = [-0.9 * math.log(sigmoid(0.5 * gap)) - 0.1 * math.log(sigmoid(-0.5 * gap)) for gap in RATIO_GAPS]
    assert result.loss.item() == pytest.approx(sum(one) / 2, rel=1e-6)


def test_the_ipo_loss_pulls_the_gap_to_half_over_beta() -> None:
    result = pair_loss(*POLICY, *REFERENCE, beta=0.25, kind="ipo")
    assert result.loss.item() == pytest.approx(((2 - 2) ** 2 + (-2 - 2) ** 2) / 2)


def test_the_gradient_raises_the_chosen_and_lowers_the_rejected() -> None:
    chosen, rejected = (tensor.clone().requires_grad_() for tensor in POLICY)
    pair_loss(chosen, rejected, *REFERENCE, beta=0.5).loss.backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert (chosen.grad < 0).all()
    assert (rejected.grad > 0).all()


SEQUENCES = [PolicySequence([1, 5, 6], [7, 8]), PolicySequence([1], [9, 10, 11, 2]), PolicySequence([1, 4], [2])]


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    return LlamaForCausalLM(config).eval()


@torch.inference_mode()
def test_padded_log_probabilities_equal_an_unpadded_forward_pass(model: torch.nn.Module) -> None:
    for sequence, found in zip(SEQUENCES, sequence_logps(model, SEQUENCES, pad=0, max_tokens=64), strict=True):
        ids = torch.tensor([[*sequence.prompt, *sequence.completion]])
        logps = model(input_ids=ids).logits.log_softmax(-1)[0]
        start = len(sequence.prompt)
        expected = sum(logps[start + i - 1, token].item() for i, token in enumerate(sequence.completion))
        assert found == pytest.approx(expected, abs=1e-5)


@torch.inference_mode()
def test_log_probabilities_do_not_depend_on_batching(model: torch.nn.Module) -> None:
    alone = [sequence_logps(model, [sequence], pad=0, max_tokens=1)[0] for sequence in SEQUENCES]
    assert sequence_logps(model, SEQUENCES, pad=0, max_tokens=64) == pytest.approx(alone, abs=1e-5)


@torch.inference_mode()
def test_the_entropy_is_that_of_the_predicted_distribution(model: torch.nn.Module) -> None:
    batch = collate(SEQUENCES[:1], pad=0)
    logits_BCV = completion_logits(model, batch)
    expected = torch.distributions.Categorical(logits=logits_BCV).entropy()
    assert torch.allclose(token_entropies(logits_BCV, batch.completion_mask_BC), expected, atol=1e-6)


LENGTHS = torch.tensor([2.0, 4.0, 3.0, 2.0])


def test_length_normalised_the_gap_is_per_token() -> None:
    """Tulu 3 (arXiv 2411.15124), eq. 6: every log-ratio is divided by its own completion's length."""
    policy_B, reference_B = torch.cat(POLICY), torch.cat(REFERENCE)
    result, _ = objective_loss(policy_B, reference_B, LENGTHS, Objective(beta=0.5, length_normalized=True))
    gaps = (1 / 2 - -1 / 3, 0 / 4 - 2 / 2)
    assert result.loss_P.tolist() == pytest.approx([-math.log(sigmoid(0.5 * gap)) for gap in gaps], rel=1e-6)
    assert result.chosen_P.tolist() == pytest.approx([0.25, 0.0])


def test_the_sft_term_is_the_negative_log_likelihood_of_the_chosen_per_token() -> None:
    """RPO (arXiv 2404.19733), eq. 1, on top of the sigmoid loss; it is not length-normalised twice."""
    policy_B, reference_B = torch.cat(POLICY), torch.cat(REFERENCE)
    for normalized in (False, True):
        plain, mixed = (Objective(0.5, sft_weight=weight, length_normalized=normalized) for weight in (0.0, 0.25))
        alone, _ = objective_loss(policy_B, reference_B, LENGTHS, plain)
        result, sft_P = objective_loss(policy_B, reference_B, LENGTHS, mixed)
        assert sft_P.tolist() == [10 / 2, 8 / 4]
        assert (result.loss_P - alone.loss_P).tolist() == pytest.approx([0.25 * 5, 0.25 * 2], rel=1e-5)


PAIRS = [
    (PolicySequence([1, 5, 6, 3], [7, 8]), PolicySequence([1, 5, 6, 3], [9, 10, 11, 2])),
    (PolicySequence([4], [2]), PolicySequence([4], [5, 5, 2])),
]


def plain_logps(model: torch.nn.Module, sequences: list[PolicySequence]) -> torch.Tensor:
    """One after the other, unpadded."""
    found = []
    for prompt, completion in sequences:
        logps = model(input_ids=torch.tensor([[*prompt, *completion]])).logits.log_softmax(-1)[0]
        found.append(sum(logps[len(prompt) + i - 1, token] for i, token in enumerate(completion)))
    return torch.stack(found)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_prompt_read_once_for_both_completions_gives_the_same_numbers_and_gradients(
    model: Any, attention: str
) -> None:
    model.set_attn_implementation(attention)
    sequences = [pair[side] for side in (0, 1) for pair in PAIRS]
    weights_B = torch.tensor([1.0, -0.5, 2.0, 0.3])
    found = []
    for logps_B in (pair_logps(model, PAIRS, pad=0)[0], plain_logps(model, sequences)):
        model.zero_grad()
        (logps_B * weights_B).sum().backward()
        found.append([logps_B.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)
    assert pair_logps(model, PAIRS, pad=0)[1].tolist() == [2, 1, 4, 3]
    model.set_attn_implementation("sdpa")


@torch.inference_mode()
def test_what_is_asked_for_twice_is_computed_once(model: torch.nn.Module) -> None:
    sequences = [SEQUENCES[0], PAIRS[0][0], SEQUENCES[0], PAIRS[0][1], SEQUENCES[2]]
    read: list[int] = []
    handle = model.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    found = sequence_logps(model, sequences, pad=0, max_tokens=64)
    handle.remove()
    assert found == pytest.approx(plain_logps(model, sequences).tolist(), abs=1e-5)
    assert sum(read) == 2 * (3 + 2) + (4 + 4 + 4)


@torch.inference_mode()
def test_a_model_whose_attention_cannot_be_told_reads_every_sequence_alone() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    windowed = MistralForCausalLM(
        MistralConfig(
            vocab_size=16, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, sliding_window=3,
        )
    ).eval()  # fmt: skip
    sequences = [pair[side] for side in (0, 1) for pair in PAIRS]
    expected = plain_logps(windowed, sequences)
    assert sequence_logps(windowed, sequences, pad=0, max_tokens=64) == pytest.approx(expected.tolist(), abs=1e-5)
    torch.testing.assert_close(pair_logps(windowed, PAIRS, pad=0)[0], expected)
