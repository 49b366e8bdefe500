"""Writing completions: what transformers' generate writes, whoever else is in the batch."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from wildreward.cpu_llama import CpuLlama
from wildreward.decoding import Decoder, Draws, ModelDecoder, complete
from wildreward.sampling import draw, uniforms

PROMPTS = [[1, 5, 6, 7], [1, 9, 8, 7, 6, 5, 4, 3, 7, 8], [1, 3], [1, 4, 4, 9], [1, 8, 3], [7]]
ENDS = frozenset(range(2, 90, 9))
SIZES: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GROUPED = SIZES | {"num_key_value_heads": 2}
CONFIGS = {
    "llama": LlamaConfig(**GROUPED),
    "llama3": LlamaConfig(
        **GROUPED,
        attention_bias=True,
        mlp_bias=True,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10_000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    ),
    "mistral": MistralConfig(**GROUPED, sliding_window=None, head_dim=16),
    "qwen2": Qwen2Config(**GROUPED),
    "qwen3": Qwen3Config(**GROUPED, head_dim=16),
    "gpt_neox": GPTNeoXConfig(**SIZES),
    "gpt2": GPT2Config(vocab_size=90, n_embd=32, n_layer=2, n_head=4, n_positions=64),
}
LLAMAS = ("llama", "llama3", "mistral", "qwen2", "qwen3")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """For matrices so small, threads only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model(kind: str, seed: int = 0) -> Any:
    """Random, with logits far apart."""
    made = AutoModelForCausalLM.from_config(CONFIGS[kind], dtype=torch.float32).eval()
    scatter(made, seed)
    return made


def scatter(made: Any, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)


def decoder(kind: str, made: Any, fast: bool) -> Decoder:
    found = CpuLlama.of(made) if fast else ModelDecoder.of(made)
    assert found is not None, kind
    return found


@pytest.fixture(params=[(kind, False) for kind in CONFIGS] + [(kind, True) for kind in LLAMAS], ids=str)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Decoder]:
    kind, fast = request.param
    made = model(kind)
    return made, decoder(kind, made, fast)


def greedy(made: Any, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    """One by one, by transformers' own generate."""
    found = []
    for ids in prompts:
        row = made.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=False,
            max_new_tokens=tokens,
            eos_token_id=sorted(ENDS),
            pad_token_id=0,
        )
        found.append(row[0, len(ids) :].tolist())
    return found


def drawn_from_plain_logits(made: Any, prompt: list[int], uniforms_T: torch.Tensor, draws: Draws) -> list[int]:
    """One token after the other, each from a forward pass over all of the text before it."""
    ids, written = list(prompt), []
    for uniform in uniforms_T:
        with torch.inference_mode():
            logits_RV = made(input_ids=torch.tensor([ids])).logits[:, -1]
        token = int(draw(logits_RV, uniform[None], draws.temperature, draws.top_p))
        ids.append(token)
        written.append(token)
        if token in draws.ends:
            break
    return written


def test_greedy_completions_are_transformers_token_for_token(pair: tuple[Any, Decoder]) -> None:
    made, writer = pair
    found = complete(writer, PROMPTS, Draws(2, 16, ENDS, temperature=0), range(6))
    assert found == [[ids, ids] for ids in greedy(made, PROMPTS, 16)]


def test_sampled_completions_are_drawn_from_the_plain_models_logits(pair: tuple[Any, Decoder]) -> None:
    made, writer = pair
    draws = Draws(5, 12, ENDS, temperature=0.8, top_p=0.95)
    found = complete(writer, PROMPTS, draws, range(6))
    numbers = uniforms(range(6), 5, 12)
    expected = [
        [drawn_from_plain_logits(made, prompt, numbers[5 * p + g], draws) for g in range(5)]
        for p, prompt in enumerate(PROMPTS)
    ]
    assert found == expected
    assert len({len(ids) for row in found for ids in row}) > 2, "rows that leave at different times are what is tested"


@pytest.mark.parametrize("fast", [False, True], ids=["model", "cpu_llama"])
def test_a_prompts_completions_do_not_depend_on_the_others(fast: bool) -> None:
    writer = decoder("llama", model("llama"), fast)
    draws = Draws(2, 12, ENDS)
    together = complete(writer, PROMPTS, draws, range(6))
    assert [complete(writer, [ids], draws, [seed])[0] for seed, ids in enumerate(PROMPTS)] == together
    assert complete(writer, PROMPTS[::-1], draws, range(5, -1, -1)) == together[::-1]


@pytest.mark.parametrize("fast", [False, True], ids=["model", "cpu_llama"])
def test_new_weights_are_written_with_once_loaded(fast: bool) -> None:
    made = model("qwen3")
    writer = decoder("qwen3", made, fast)
    draws = Draws(1, 12, ENDS, temperature=0)
    before = complete(writer, PROMPTS, draws, range(6))
    scatter(made, seed=5)
    writer.load(made)
    after = complete(writer, PROMPTS, draws, range(6))
    assert after == [[ids] for ids in greedy(made, PROMPTS, 12)] != before


def test_what_cannot_be_driven_is_left_to_generate() -> None:
    windowed = AutoModelForCausalLM.from_config(MistralConfig(**GROUPED, sliding_window=8))
    assert ModelDecoder.of(windowed) is None
    assert CpuLlama.of(windowed) is None
    assert CpuLlama.of(model("gpt2")) is None
    assert CpuLlama.of(model("llama").to(torch.bfloat16)) is None
