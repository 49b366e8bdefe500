"""The loop on a real cluster with a tiny policy: it learns, resumes exactly, survives dead actors."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl.loop import ScoringError, refuse_failing_scorer
from rl.models import load_tokenizer, prompt_ids
from rl.program import improve, run
from rl.recorder import read_lines
from rl.roles import PolicyPrompt, Roles, Scored
from rl.rollout import Sampling
from tests.rl.tiny import ShareOfE, conversations, settings
from wildreward.errors import UsageError, WildrewardError
from wildreward.prompts import prompts_of_row
from wildreward.settings.dpo import DpoSettings

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, start: Path) -> DpoSettings:
    return settings(tmp_path_factory.mktemp("dpo"), policy=str(start))


@pytest.fixture(scope="module")
def finished(base: DpoSettings) -> tuple[DpoSettings, dict[str, Any]]:
    """An undisturbed run of twelve steps, with one prompt among the others that is too long."""
    long = [{"role": "user", "content": "How is " + "very " * 80 + "old cheese made?"}]
    path = Path(base.output).parent / "long.jsonl"
    path.write_text(json.dumps({"messages": long}) + "\n", encoding="utf-8")
    changed = {"steps": 12, "eval_completions": 8, "prompts_per_step": 8, "lr": 3e-3, "checkpoint_every_steps": 5}
    given = base.model_copy(update=changed | {"input": (*base.input, str(path))})
    return given, improve(given, ShareOfE)


def policies_equal(one: Path, other: Path) -> bool:
    a, b = load_file(one / "policy/model.safetensors"), load_file(other / "policy/model.safetensors")
    return a.keys() == b.keys() and all(bool((a[name] == b[name]).all()) for name in a)


def test_a_run_writes_all_it_promises(finished: tuple[DpoSettings, dict[str, Any]]) -> None:
    given, summary = finished
    output = Path(given.output)
    steps = [row for row in read_lines(output / "metrics.jsonl") if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 13))
    for name in ("reward/mean", "reward/margin", "implicit/accuracy", "kl", "entropy", "completion/cut_off_frac"):
        assert all(name in row for row in steps), name
    for role in ("rollout", "scorer", "reference", "learner"):
        assert all(row[f"tokens_per_s/{role}"] > 0 for row in steps)
    assert all(row["staleness"] == 0 for row in steps)
    assert summary["pairs"] + sum(summary["skipped_pairs"].values()) == 12 * given.prompts_per_step
    assert json.loads((output / "summary.json").read_text()) == summary
    assert (output / "report.html").stat().st_size > 10_000
    assert list((output / "tensorboard").iterdir())


def test_the_policy_written_is_a_chat_model(finished: tuple[DpoSettings, dict[str, Any]]) -> None:
    policy = Path(finished[0].output) / "policy"
    tokenizer = AutoTokenizer.from_pretrained(policy)
    model: Any = AutoModelForCausalLM.from_pretrained(policy)
    inputs: Any = tokenizer.apply_chat_template(
        conversations()[0][:1], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    assert model.generate(**inputs, max_new_tokens=2).shape[1] > inputs["input_ids"].shape[1]


def test_a_finished_run_is_not_done_again(
    finished: tuple[DpoSettings, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert improve(finished[0], ShareOfE) == finished[1]
    assert "already finished" in capsys.readouterr().out


def test_resumed_with_more_engines_equals_undisturbed(
    finished: tuple[DpoSettings, dict[str, Any]], tmp_path: Path
) -> None:
    given = finished[0].model_copy(update={"output": str(tmp_path), "steps": 5})
    improve(given, ShareOfE)
    continued = improve(given.model_copy(update={"steps": 12, "rollout_engines": 2, "scorers": 2}), ShareOfE)
    assert policies_equal(tmp_path, Path(finished[0].output))
    assert continued["reward"] == finished[1]["reward"]


def test_the_reward_rises(finished: tuple[DpoSettings, dict[str, Any]]) -> None:
    assert finished[1]["reward"]["difference"]["low"] > 0


def test_a_prompt_that_is_too_long_is_counted(finished: tuple[DpoSettings, dict[str, Any]]) -> None:
    assert finished[1]["skipped_prompts"]["too_long"] == 1


def test_another_setting_in_the_same_output_is_refused_by_name(finished: tuple[DpoSettings, dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match="beta"):
        improve(finished[0].model_copy(update={"beta": 0.2}), ShareOfE)


def test_with_overlap_completions_are_one_version_old(base: DpoSettings, tmp_path: Path) -> None:
    improve(base.model_copy(update={"output": str(tmp_path), "staleness": 1, "steps": 4}), ShareOfE)
    rows = [row for row in read_lines(tmp_path / "metrics.jsonl") if "loss" in row]
    assert [row["staleness"] for row in rows] == [0, 1, 1, 1]


def test_a_failing_scorer_stops_the_run_and_says_why() -> None:
    failed = Scored([], 0, [], [[None, 2.0], [None, None]], Counter({"DataError: this one cannot be scored": 3}))
    refuse_failing_scorer(failed, limit=0.75)
    with pytest.raises(ScoringError, match=r"3 of 4 .* this one cannot be scored"):
        refuse_failing_scorer(failed, limit=0.5)


def test_a_checkpoint_that_is_none_is_one_clear_error(base: DpoSettings, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(WildrewardError, match="wildreward_template"):
        run(base.model_copy(update={"output": str(tmp_path / "run"), "checkpoint": str(tmp_path / "nothing")}))


def test_a_policy_without_a_chat_template_is_refused(base: DpoSettings, start: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(start)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="chat template"):
        improve(base.model_copy(update={"policy": str(tmp_path)}), ShareOfE)


def test_more_actors_than_the_cluster_holds_are_refused(base: DpoSettings, tmp_path: Path) -> None:
    with pytest.raises(WildrewardError, match="dpo: the cluster can never give"):
        improve(base.model_copy(update={"output": str(tmp_path), "cpus_per_actor": 64}), ShareOfE)


@contextmanager
def roles_of(given: DpoSettings) -> Iterator[Roles]:
    roles = Roles(given, ShareOfE)
    try:
        yield roles
    finally:
        roles.close()


def kill(actor: Any) -> None:
    os.kill(ray.get(actor.__ray_call__.remote(lambda self: os.getpid())), signal.SIGKILL)


def test_dead_engines_and_scorers_are_replaced_and_a_dead_learner_stops_the_run(base: DpoSettings) -> None:
    tokenizer = load_tokenizer(base.policy)
    rows = [prompts_of_row({"messages": messages})[0] for messages in conversations()[::8]]
    prompts = [PolicyPrompt(prompt, tuple(prompt_ids(tokenizer, prompt.messages))) for prompt in rows]
    with roles_of(base) as roles:
        roles._publish(1)
        expected = roles.collect(roles.order(prompts, Sampling(2, 6), "seed"))
        kill(roles.engines[0])
        kill(roles.scorers[0])
        again = roles.collect(roles.order(prompts, Sampling(2, 6), "seed"))
        kill(roles.learner.workers[0])
        with pytest.raises(WildrewardError, match="continues from the last checkpoint"):
            roles.learn([], [])
    assert again.completions_PG == expected.completions_PG
    assert again.rewards_PG == expected.rewards_PG
    assert {item.version for row in again.completions_PG for item in row} == {1}
