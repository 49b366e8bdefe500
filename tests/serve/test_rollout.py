"""Updates of a running scorer under load: each answer from one model, no request failed, a bad checkpoint refused."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from serve.client import HandleClient, HttpClient
from serve.program import start
from serve.rollout import running
from tests.checkpoints import tiny_checkpoint
from tests.serve.rolling import CONVERSATIONS, load, replica_pids, settings_of
from tests.serve.test_engine import FP32_TOLERANCE
from wildreward.cli import main
from wildreward.errors import UsageError, WildrewardError
from wildreward.reward_model import RewardModel
from wildreward.settings.serve import ServeSettings

APP = "rolling"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("rollout") / "other", seed=1)


@pytest.fixture(scope="module")
def url(scorer_url: str, checkpoint: Path) -> Iterator[str]:
    from ray import serve as ray_serve

    yield start(settings_of(checkpoint, APP))
    ray_serve.delete(APP)


def scores_of(path: Path) -> list[float]:
    return [score.score for score in RewardModel.load(path).score(CONVERSATIONS)]


def test_an_update_under_load_fails_no_request_and_mixes_no_models(url: str, checkpoint: Path, other: Path) -> None:
    before = replica_pids(APP)
    with load(url, clients=4) as answers:
        assert start(settings_of(other, APP)) == url
        with HttpClient(url) as scorer:
            new = scorer.model().id
    assert not answers.failed
    [old] = answers.models - {new}
    expected = {new: scores_of(other), old: scores_of(checkpoint)}
    for turn, model, score in answers.scored:
        assert score == pytest.approx(expected[model][turn], abs=FP32_TOLERANCE)
    assert not before & replica_pids(APP)


def command(checkpoint: Path) -> list[str]:
    """`wildreward serve` with the settings of the running one."""
    settings = settings_of(checkpoint, APP).model_dump(exclude_defaults=True)
    return [
        "serve",
        *(str(part) for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)),
    ]


def test_the_same_again_replaces_nothing_and_returns(url: str, other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(settings_of(other, APP))
    before = replica_pids(APP)
    assert main(command(other)) == 0
    assert replica_pids(APP) == before
    assert f"It stays in the cluster as application {APP}." in capsys.readouterr().out


def with_nan(path: Path) -> None:
    weights = load_file(path / "model.safetensors")
    weights["bert.encoder.layer.0.output.dense.weight"] *= torch.nan
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})


def with_other_template(path: Path) -> None:
    values = json.loads((path / "wildreward_template.json").read_text())
    values["prefixes"]["user"] = "human:"
    (path / "wildreward_template.json").write_text(json.dumps(values))


def with_other_head(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    config["wildreward"]["cutpoints"].append(9.0)
    config["wildreward"]["num_classes"] = 5
    (path / "config.json").write_text(json.dumps(config))


BAD = {
    "no weights": (lambda path: (path / "model.safetensors").unlink(), "no weights to load"),
    "half a file": (lambda path: (path / "model.safetensors").write_bytes(b"\0" * 64), "cannot be loaded"),
    "NaN weights": (with_nan, "number"),
    "another template": (with_other_template, "template is"),
    "five classes": (with_other_head, "num_classes is 5, and 4"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_checkpoint_is_refused_with_its_reason_and_the_old_one_serves_on(
    url: str, other: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil: Callable[[Path], None]
    spoil, said = BAD[kind]
    bad = shutil.copytree(other, tmp_path / "bad")
    spoil(bad)
    before = replica_pids(APP)
    with load(url, clients=1) as answers:
        assert main(command(bad)) == 1
    assert said in capsys.readouterr().err
    assert not answers.failed
    assert replica_pids(APP) == before


def test_an_update_that_finds_no_room_is_undone(url: str, checkpoint: Path) -> None:
    before = replica_pids(APP)
    with load(url, clients=1) as answers, pytest.raises(WildrewardError, match=r"(?s)64 CPUs.*serves as before"):
        start(settings_of(checkpoint, APP, cpus_per_replica=64, start_timeout_s=3))
    assert not answers.failed
    assert len(answers.models) == 1
    assert replica_pids(APP) == before
    assert len(HandleClient.of(APP).score(CONVERSATIONS)) == len(CONVERSATIONS)


def test_an_update_does_not_take_the_tokens_away(url: str, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = running(settings_of(other, APP))
    assert found is not None
    assert found.digests == []
    monkeypatch.setattr("serve.rollout.running", lambda _: replace(found, digests=["digest"]))
    with pytest.raises(UsageError, match="--token-env"):
        start(settings_of(other, APP))


def test_a_running_scorer_that_does_not_answer_is_left_alone(
    url: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.serve.exceptions import RayServeException

    def busy(_: str) -> None:
        raise RayServeException("busy")

    before = replica_pids(APP)
    monkeypatch.setattr("ray.serve.get_app_handle", busy)
    with pytest.raises(WildrewardError, match="does not answer, and is left as it is: busy"):
        start(settings_of(checkpoint, APP))
    assert replica_pids(APP) == before


def test_a_target_beyond_what_a_replica_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="target_ongoing_requests: found 300"):
        ServeSettings(checkpoint="unused", max_replicas=2, target_ongoing_requests=300)
