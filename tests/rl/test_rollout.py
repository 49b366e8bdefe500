"""The transformers engine: reproducible, independent of padding, and never stale."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from rl.models import prompt_ids
from rl.rollout import EngineOptions, RolloutWorker, Sampling, TransformersEngine
from rl.weights import pack
from tests.rl.tiny import conversations, tiny_policy
from wildreward.pairs import Completion

GREEDY = Sampling(completions=1, max_new_tokens=8, temperature=0.0)
FREE = Sampling(completions=3, max_new_tokens=8)


@pytest.fixture(scope="module")
def worker(start: Path) -> RolloutWorker:
    return RolloutWorker("transformers", EngineOptions(str(start), threads=1))


@pytest.fixture(scope="module")
def prompts(worker: RolloutWorker) -> list[list[int]]:
    messages = [conversations()[0][:1], [{"role": "user", "content": "And why is wool warmer than silk, in short?"}]]
    return [prompt_ids(worker.engine.tokenizer, item) for item in messages]


def written(worker: RolloutWorker, prompts: list[list[int]], sampling: Sampling = FREE) -> list[list[Completion]]:
    return worker.generate(prompts, sampling, seeds(prompts), version=worker.version, weights=None).value


def seeds(prompts: list[list[int]]) -> list[int]:
    return [len(ids) for ids in prompts]


def test_the_same_seed_writes_the_same_and_another_seed_does_not(
    worker: RolloutWorker, prompts: list[list[int]]
) -> None:
    first = written(worker, prompts)
    assert [len(row) for row in first] == [3, 3]
    assert written(worker, prompts) == first
    assert worker.generate(prompts, FREE, [1, 2], version=0, weights=None).value != first


def test_a_prompt_is_continued_as_it_is_alone(worker: RolloutWorker, prompts: list[list[int]]) -> None:
    together = written(worker, prompts)
    assert len({len(ids) for ids in prompts}) == 2
    assert together == [written(worker, [ids])[0] for ids in prompts]


def test_greedy_output_equals_a_plain_argmax(worker: RolloutWorker, prompts: list[list[int]], start: Path) -> None:
    model, ids = AutoModelForCausalLM.from_pretrained(start).eval(), list(prompts[0])
    completion = written(worker, prompts[:1], GREEDY)[0][0]
    with torch.inference_mode():
        for token in completion.ids:
            assert model(input_ids=torch.tensor([ids])).logits[0, -1].argmax().item() == token
            ids.append(token)


def test_a_completion_that_did_not_end_is_flagged_as_cut_off(worker: RolloutWorker, prompts: list[list[int]]) -> None:
    ends = worker.engine.end_ids()
    for item in (item for row in written(worker, prompts) for item in row):
        assert item.cut_off == (item.ids[-1] not in ends)
    assert all(row[0].cut_off for row in written(worker, prompts, Sampling(1, max_new_tokens=1)))


def test_new_weights_write_what_a_model_with_these_weights_writes(
    start: Path, tmp_path: Path, prompts: list[list[int]]
) -> None:
    other = tiny_policy(tmp_path / "other", steps=5, seed=7)
    model = AutoModelForCausalLM.from_pretrained(other)
    worker = RolloutWorker("transformers", EngineOptions(str(start), threads=1))
    result = worker.generate(prompts, FREE, seeds(prompts), version=4, weights=pack(model, torch.float32)).value
    expected = TransformersEngine(EngineOptions(str(other), threads=1)).generate(prompts, FREE, seeds(prompts))
    assert [[list(item.ids) for item in row] for row in result] == expected
    assert {item.version for row in result for item in row} == {4}


def test_a_version_it_does_not_have_and_is_not_given_is_an_error(
    worker: RolloutWorker, prompts: list[list[int]]
) -> None:
    with pytest.raises(ValueError, match="version 9"):
        worker.generate(prompts, FREE, seeds(prompts), version=9, weights=None)


@pytest.mark.parametrize("sampling", [GREEDY, FREE], ids=["greedy", "free"])
def test_a_model_that_cannot_be_driven_is_left_to_transformers_generate(
    start: Path, prompts: list[list[int]], sampling: Sampling
) -> None:
    engine = TransformersEngine(EngineOptions(str(start), threads=1))
    driven = engine.generate(prompts, sampling, seeds(prompts))
    engine.decoder = None
    left = engine.generate(prompts, sampling, seeds(prompts))
    assert [len(row) for row in left] == [sampling.completions] * 2
    assert (left == driven) == (sampling is GREEDY)
    assert engine.generate(prompts, sampling, seeds(prompts)) == left
