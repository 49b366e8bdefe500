"""The reward model: saved, loaded, scored; a score depends on its item alone."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.checkpoints import calibrate_checkpoint, tiny_checkpoint
from wildreward.checkpoint import fingerprint
from wildreward.errors import CheckpointError, DataError
from wildreward.ordinal import HeadKind, decode
from wildreward.reward_model import RewardModel

FP32 = 1e-5
"""Tolerance of a fp32 score: other shapes round differently. The scale is 1 to 4."""

HEADS: tuple[HeadKind, ...] = ("coral", "corn", "independent")


def conversation(reply: str, prompt: str = "what is two plus two?") -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]


@pytest.fixture(scope="module", params=HEADS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp(request.param) / "checkpoint", request.param)


def test_a_score_does_not_depend_on_batch_mates_or_order(checkpoint: Path) -> None:
    model = RewardModel.load(checkpoint)
    items = [conversation("four " * n) for n in (1, 50, 7, 20, 1)]
    together = [score.score for score in model.score(items, batch_tokens=150)]
    alone = [model.score([item])[0].score for item in items]
    assert together == pytest.approx(alone, abs=FP32)
    assert [score.score for score in model.score(items[::-1])] == pytest.approx(alone[::-1], abs=FP32)


def test_transformers_loads_our_checkpoint_and_gives_the_same_logits(checkpoint: Path) -> None:
    ours = RewardModel.load(checkpoint)
    theirs = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    ids = torch.tensor([ours.encode(conversation("four")).input_ids])
    with torch.inference_mode():
        torch.testing.assert_close(theirs(input_ids=ids).logits, ours.model.raw_logits(ids, torch.ones_like(ids)))
    assert theirs.config.num_labels == (1 if ours.head == "coral" else 3)


def test_a_score_carries_a_distribution_and_its_cuts(checkpoint: Path) -> None:
    model = RewardModel.load(checkpoint)
    score = model.score([conversation("four " * 10, prompt="word " * 1000)])[0]
    assert 1 <= score.score <= 4
    assert score.probs is not None
    assert score.prompt_tokens_cut is not None
    assert sum(score.probs) == pytest.approx(1, abs=1e-6)
    assert score.score == pytest.approx(sum(k * p for k, p in enumerate(score.probs, start=1)), abs=1e-5)
    assert score.tokens == model.max_tokens
    assert score.prompt_tokens_cut > 0
    assert score.response_tokens_cut == 0


def test_a_published_three_label_checkpoint_loads_as_independent_with_a_template(tmp_path: Path) -> None:
    """The layout of the published WildReward checkpoints: three labels, nothing of ours in config.json."""
    checkpoint = tiny_checkpoint(tmp_path / "ours", "independent")
    foreign = _copy_without_our_files(checkpoint, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="--template"):
        RewardModel.load(foreign)
    loaded = RewardModel.load(foreign, template=str(checkpoint))
    assert loaded.score([conversation("four")]) == RewardModel.load(checkpoint).score([conversation("four")])


def test_a_scalar_checkpoint_without_cutpoints_is_refused(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "ours", "coral")
    foreign = _copy_without_our_files(checkpoint, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="no ordinal head"):
        RewardModel.load(foreign, template=str(checkpoint))


def _copy_without_our_files(checkpoint: Path, directory: Path) -> Path:
    directory.mkdir()
    for path in checkpoint.iterdir():
        if path.name != "wildreward_template.json":
            (directory / path.name).write_bytes(path.read_bytes())
    config = json.loads((directory / "config.json").read_text())
    del config["wildreward"]
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def test_missing_weights_are_an_error_not_a_random_head(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for path in checkpoint.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    save_file({key: value for key, value in weights.items() if "classifier" not in key}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing from the checkpoint.*classifier"):
        RewardModel.load(tmp_path)


def test_an_absent_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        RewardModel.load(tmp_path / "nowhere")


def test_a_template_longer_than_the_positions_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    template = tmp_path / "long.json"
    template.write_text('{"max_tokens": 100000}')
    with pytest.raises(CheckpointError, match="positions"):
        RewardModel.load(checkpoint, template=str(template))


def test_weights_that_are_not_numbers_give_no_score(checkpoint: Path) -> None:
    model = RewardModel.load(checkpoint)
    with torch.no_grad():
        next(model.model.backbone.parameters()).fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not numbers"):
        model.score([conversation("four")])


def test_a_conversation_that_cannot_be_scored_raises(checkpoint: Path) -> None:
    with pytest.raises(DataError, match="the reply to score is empty"):
        RewardModel.load(checkpoint).score([conversation("")])


TALKS = [conversation("four " * n) for n in (1, 9, 30)]
CUTPOINTS = (-0.5, 0.25, 1.5)


@pytest.fixture(scope="module", params=HEADS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same weights without a calibration and with one."""
    folder = tmp_path_factory.mktemp(request.param)
    made = [tiny_checkpoint(folder / name, request.param) for name in ("plain", "calibrated")]
    return made[0], calibrate_checkpoint(made[1], 1.6, CUTPOINTS)


def test_a_calibrated_checkpoint_gives_calibrated_scores_and_keeps_the_raw_ones(both: tuple[Path, Path]) -> None:
    plain, loaded = RewardModel.load(both[0]), RewardModel.load(both[1])
    for before, after in zip(plain.score(TALKS), loaded.score(TALKS), strict=True):
        assert before.raw_probs is None
        assert after.raw_probs == before.probs
        assert after.raw_score == pytest.approx(before.score, abs=FP32)
        assert after.logit == before.logit
        assert abs(after.score - before.score) > 0.01
    raw = loaded.raw_logits([loaded.encode(TALKS[0]).input_ids])
    expected = decode(loaded.head, (raw - torch.tensor(CUTPOINTS)) / 1.6)
    assert loaded.score(TALKS[:1])[0].probs == pytest.approx(expected.probs_BC[0].tolist(), abs=FP32)


def test_raw_scores_on_request_are_those_of_the_checkpoint_without_a_calibration(both: tuple[Path, Path]) -> None:
    raw = RewardModel.load(both[1], calibrated=False)
    assert raw.score(TALKS) == RewardModel.load(both[0]).score(TALKS)
    described = raw.describe()
    assert described["calibrated"] is False
    assert described["calibration"]["temperature"] == 1.6
    assert RewardModel.load(both[0]).describe()["calibration"] is None


def test_a_calibration_is_another_model_and_still_a_plain_one_for_transformers(both: tuple[Path, Path]) -> None:
    assert fingerprint(str(both[0])) != fingerprint(str(both[1]))
    loaded = AutoModelForSequenceClassification.from_pretrained(both[1])
    assert loaded.config.num_labels in (1, 3)


def test_a_tampered_calibration_is_refused_by_field(both: tuple[Path, Path], tmp_path: Path) -> None:
    for path in both[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["wildreward"]["calibration"]["cutpoints"] = [0.0, 1.0]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json: wildreward\.calibration\.cutpoints: found .*3 numbers"):
        RewardModel.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"calibration\.cutpoints"):
        RewardModel.load(tmp_path, calibrated=False)
