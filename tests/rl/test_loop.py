"""The loop on a real cluster with a tiny policy: it learns, resumes exactly, survives dead actors."""

import json
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl.lines import read_lines
from rl.loop import ScoringError, refuse_failing_scorer
from rl.models import load_tokenizer, prompt_ids
from rl.program import improve, run
from rl.ray_metrics import RayMetrics
from rl.report import Shown, _samples
from rl.roles import Roles, Scored, _get
from rl.rollout import Sampling
from rl.scoring import RunScorers
from tests.browser import requested, screenshot
from tests.pipelines.prometheus import samples
from tests.rl.tiny import FewWords, ShareOfE, conversations, settings
from wildreward.errors import UsageError, WildrewardError
from wildreward.prompt_store import PolicyPrompt
from wildreward.prompts import prompts_of_row
from wildreward.report import Report
from wildreward.settings.dpo import DpoSettings

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, start: Path) -> DpoSettings:
    return settings(tmp_path_factory.mktemp("dpo"), policy=str(start))


@pytest.fixture(scope="module")
def finished(base: DpoSettings) -> tuple[DpoSettings, dict[str, Any]]:
    """An undisturbed run of twelve steps with a second scorer, and one prompt among the others that is too long."""
    long = [{"role": "user", "content": "How is " + "very " * 80 + "old cheese made?"}]
    path = Path(base.output).parent / "long.jsonl"
    path.write_text(json.dumps({"messages": long}) + "\n", encoding="utf-8")
    changed = {"steps": 12, "eval_completions": 8, "prompts_per_step": 8, "lr": 3e-3, "checkpoint_every_steps": 5}
    changed |= {"eval_every_steps": 4, "sample_every_steps": 5}
    given = base.model_copy(update=changed | {"input": (*base.input, str(path))})
    return given, improve(given, ShareOfE, FewWords)


def policies_equal(one: Path, other: Path, name: str = "policy") -> bool:
    a, b = load_file(one / f"{name}/model.safetensors"), load_file(other / f"{name}/model.safetensors")
    return a.keys() == b.keys() and all(bool((a[key] == b[key]).all()) for key in a)


def test_a_run_writes_all_it_promises(finished: tuple[DpoSettings, dict[str, Any]]) -> None:
    given, summary = finished
    output = Path(given.output)
    steps = [row for row in read_lines(output / "metrics.jsonl") if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 13))
    for name in ("reward/mean", "reward/margin", "implicit/accuracy", "kl", "entropy", "completion/cut_off_frac"):
        assert all(name in row for row in steps), name
    for row in steps:
        assert row["reward/min"] <= row["reward/p10"] <= row["reward/p50"] <= row["reward/p90"] <= row["reward/max"]
        assert row["reward/rejected"] < row["reward/chosen"] <= row["reward/max"] + 1e-9  # of a mean
    for role in ("rollout", "scorer", "reference", "learner"):
        assert all(row[f"tokens_per_s/{role}"] > 0 for row in steps)
    assert all(row["staleness"] == 0 for row in steps)
    for reason, count in summary["skipped_pairs"].items():
        assert sum(row[f"skipped/{reason}"] for row in steps) == count
    assert summary["pairs"] + sum(summary["skipped_pairs"].values()) == 12 * given.prompts_per_step
    assert summary["completions"]["written"] == 12 * given.prompts_per_step * given.completions_per_prompt
    assert json.loads((output / "summary.json").read_text()) == summary


def test_evaluations_are_by_both_scorers_and_the_best_is_published(
    finished: tuple[DpoSettings, dict[str, Any]],
) -> None:
    given, summary = finished
    output = Path(given.output)
    rows = [row for row in read_lines(output / "metrics.jsonl") if "eval/reward" in row]
    assert [row["step"] for row in rows] == [0, 4, 8, 12]
    assert (rows[0]["eval/difference"], rows[0]["eval/win_rate"], rows[0]["eval/second/win_rate"]) == (0, 0.5, 0.5)
    for row in rows:
        for name in ("eval/reward", "eval/second/reward", "eval/win_rate", "eval/second/win_rate"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    best = max(rows[1:], key=lambda row: row["eval/difference"])["step"]
    assert summary["best"]["step"] == best
    assert summary["second"]["reward"]["after"]["mean"] == rows[-1]["eval/second/reward"]
    saved = output / "checkpoints" / f"step_{best:06d}"
    assert (saved / "policy/model.safetensors").read_bytes() == (output / "policy_best/model.safetensors").read_bytes()


def test_tensorboard_has_the_rewards_as_histograms(finished: tuple[DpoSettings, dict[str, Any]]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(Path(finished[0].output) / "tensorboard"), size_guidance={"histograms": 0})
    events.Reload()
    assert [event.step for event in events.Histograms("rewards")] == list(range(1, 13))
    assert events.Histograms("rewards")[0].histogram_value.num == 8 * finished[0].completions_per_prompt
    assert {"reward/mean", "eval/second/win_rate", "tokens_per_s/rollout"} <= set(events.Tags()["scalars"])


def test_samples_have_the_conversation_the_scores_and_what_became_of_them(
    finished: tuple[DpoSettings, dict[str, Any]],
) -> None:
    rows = list(read_lines(Path(finished[0].output) / "samples.jsonl"))
    assert [row["step"] for row in rows if row["kind"] == "step"] == [1, 1, 6, 6, 11, 11]
    assert [row["step"] for row in rows if row["kind"] == "evaluation"] == [0, 0, 4, 4, 8, 8, 12, 12]
    for row in rows:
        assert row["messages"][-1]["role"] == "user"
        roles = [item["role"] for item in row["completions"] if "role" in item]
        assert sorted(roles) in ([], ["chosen", "rejected"])
        assert all(("second" in item) == (row["kind"] == "evaluation") for item in row["completions"])
    by_role = {item["role"]: item["reward"] for row in rows for item in row["completions"] if "role" in item}
    assert by_role["chosen"] > by_role["rejected"]


def test_prometheus_sees_the_run(finished: tuple[DpoSettings, dict[str, Any]], tmp_path: Path) -> None:
    steps = [row for row in read_lines(Path(finished[0].output) / "metrics.jsonl") if "loss" in row]
    [evaluated] = [row for row in read_lines(Path(finished[0].output) / "metrics.jsonl") if row.get("eval/seconds")][
        -1:
    ]
    metrics = RayMetrics(str(tmp_path))
    for row in steps[-2:]:
        metrics.step(row)
    metrics.evaluation(evaluated)
    expected = {
        "reward_mean": steps[-1]["reward/mean"],
        "kl": steps[-1]["kl"],
        "step": 12,
        "pairs_total": steps[-1]["pairs"] + steps[-2]["pairs"],
        "role_tokens_per_s rollout": steps[-1]["tokens_per_s/rollout"],
        "eval_reward reward": evaluated["eval/reward"],
        "eval_win_rate second": evaluated["eval/second/win_rate"],
    }
    found: dict[str, float] = {}
    deadline = time.monotonic() + 60
    while not expected.items() <= found.items() and time.monotonic() < deadline:
        time.sleep(0.1)
        for name, tags, value in samples("wildreward_dpo"):
            if tags["run"] == str(tmp_path):
                tag = next((tags[key] for key in ("role", "scorer", "reason") if key in tags), "")
                found[f"{name} {tag}".strip()] = value
    metrics.close()
    assert expected.items() <= found.items()


def test_the_report_is_one_page_that_shows_texts_as_text(
    browser: Any, finished: tuple[DpoSettings, dict[str, Any]]
) -> None:
    requested(browser)  # by the tests before
    browser.get(f"file://{finished[0].output}/report.html")
    assert browser.title == "Online DPO"
    images = browser.find_elements("tag name", "img")
    assert len(images) >= 10
    assert all(image.get_property("naturalWidth") > 0 for image in images)
    for fold in browser.find_elements("css selector", "details"):
        fold.find_element("tag name", "summary").click()
    text = browser.find_element("tag name", "body").text
    for expected in ("second scorer", "win rate", "How is", "chosen, reward", "skipped: too_long", "policy_best"):
        assert expected in text, expected
    assert {address.split(":")[0] for address in requested(browser)} == {"file", "data"}
    screenshot(browser, "dpo_report")


def test_markup_in_what_the_policy_writes_stays_text() -> None:
    completion = {"text": "<img src=x onerror=alert(1)>", "reward": 2.0, "tokens": 3, "cut_off": False}
    row = {"step": 1, "kind": "step", "messages": [{"role": "user", "content": "<b>bold</b>"}]}
    shown = Shown(step_samples=deque([row | {"completions": [completion]}]))
    report = Report("x")
    _samples(report, shown)
    assert "<img" not in report.html()
    assert "<b>bold" not in report.html()


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
    assert improve(finished[0], ShareOfE, FewWords).items() >= finished[1].items()
    assert "already finished" in capsys.readouterr().out


def test_resumed_with_more_engines_equals_undisturbed(
    finished: tuple[DpoSettings, dict[str, Any]], tmp_path: Path
) -> None:
    given = finished[0].model_copy(update={"output": str(tmp_path), "steps": 5})
    improve(given, ShareOfE, FewWords)
    continued = improve(given.model_copy(update={"steps": 12, "rollout_engines": 2, "scorers": 2}), ShareOfE, FewWords)
    assert policies_equal(tmp_path, Path(finished[0].output))
    assert policies_equal(tmp_path, Path(finished[0].output), "policy_best") or continued["best"]["step"] == 5
    assert [continued[name] for name in ("reward", "second", "completions")] == [
        finished[1][name] for name in ("reward", "second", "completions")
    ]


def test_the_reward_rises(finished: tuple[DpoSettings, dict[str, Any]]) -> None:
    assert finished[1]["reward"]["difference"]["low"] > 0


def test_a_prompt_that_is_too_long_is_counted(finished: tuple[DpoSettings, dict[str, Any]]) -> None:
    assert finished[1]["skipped_prompts"]["too_long"] == 1


def test_another_setting_in_the_same_output_is_refused_by_name(finished: tuple[DpoSettings, dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match="beta"):
        improve(finished[0].model_copy(update={"beta": 0.2}), ShareOfE)


def test_a_run_is_not_continued_with_other_prompts_or_another_scorer(
    finished: tuple[DpoSettings, dict[str, Any]],
) -> None:
    again = finished[0].model_copy(update={"steps": 13})
    with pytest.raises(UsageError, match="what scores changed since"):
        improve(again, ShareOfE, FewWords, identity=lambda: "other")
    rows = Path(again.input[-1])
    before = rows.read_text(encoding="utf-8")
    rows.write_text(before + json.dumps({"prompt": "one more"}) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match="the prompts in it changed since"):
        improve(again, ShareOfE, FewWords)
    rows.write_text(before, encoding="utf-8")


def test_a_failing_scorer_stops_the_run_and_says_why() -> None:
    failed = Scored([], 0, [], [[None, 2.0], [None, None]], Counter({"DataError: this one cannot be scored": 3}))
    refuse_failing_scorer(failed, limit=0.75)
    with pytest.raises(ScoringError, match=r"3 of 4 .* this one cannot be scored"):
        refuse_failing_scorer(failed, limit=0.5)


def test_a_checkpoint_that_is_none_is_one_clear_error(base: DpoSettings, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UsageError, match="not a reward model"):
        run(base.model_copy(update={"output": str(tmp_path / "run"), "checkpoint": str(tmp_path / "nothing")}))


def test_more_actors_than_the_cluster_holds_are_refused(base: DpoSettings, tmp_path: Path) -> None:
    with pytest.raises(WildrewardError, match="dpo: the cluster can never give"):
        improve(base.model_copy(update={"output": str(tmp_path), "cpus_per_actor": 64}), ShareOfE)


@contextmanager
def roles_of(given: DpoSettings) -> Iterator[Roles]:
    roles = Roles(given, RunScorers(ShareOfE))
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


def test_a_long_wait_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    wait, timeouts = ray.wait, [True]

    def slow_once(refs: list[Any], **options: Any) -> Any:
        return ([], refs) if timeouts and timeouts.pop() else wait(refs, **options)

    monkeypatch.setattr(ray, "wait", slow_once)
    assert _get([ray.put(1), ray.put(2)]) == [1, 2]
    assert "dpo: 2 calls have no answer for 600 s" in capsys.readouterr().out
