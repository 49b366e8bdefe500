"""A scalar reward model of another maker scores exactly as transformers does with its own chat template."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.checkpoints import tiny_backbone
from wildreward.errors import CheckpointError
from wildreward.scorer import CheckpointScorer, score_each
from wildreward.template import InputTemplate

CHAT = "{% for m in messages %}[CLS] {{ m['role'] }}: {{ m['content'] }} [SEP]{% endfor %}"
TALKS = [
    [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": reply}]
    for reply in ("4", "It is five, I think.", "Let me see: two and two are four. " * 4)
]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")
    torch.manual_seed(0)
    backbone = tiny_backbone(tmp_path_factory.mktemp("backbone"))
    AutoModelForSequenceClassification.from_pretrained(
        backbone, num_labels=1, ignore_mismatched_sizes=True
    ).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    return folder


def _theirs(folder: Path) -> list[float]:
    """As its own model card would: one text at a time, the chat template's text without further special tokens."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    logits = []
    for talk in TALKS:
        text = tokenizer.apply_chat_template(talk, tokenize=False)
        with torch.inference_mode():
            logits.append(model(**tokenizer(text, add_special_tokens=False, return_tensors="pt")).logits[0, 0].item())
    return logits


@pytest.mark.parametrize("template", [None, "chat"])
def test_its_raw_logit_is_the_score_and_nothing_is_made_up(foreign: Path, template: str | None) -> None:
    scorer = CheckpointScorer(str(foreign), template).load()
    scores = scorer.score(TALKS)
    assert [score.score for score in scores] == pytest.approx(_theirs(foreign), abs=1e-5)
    assert all(score.logit == score.score and score.probs is None and score.uncertainty is None for score in scores)
    described = scorer.describe()
    assert described["head"] == "scalar"
    assert "chat template, at most 128 tokens" in described["note"]


def test_without_a_pad_token_texts_are_read_one_by_one_with_the_same_scores(foreign: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(foreign)
    model = AutoModelForSequenceClassification.from_pretrained(foreign)
    tokenizer.pad_token = None
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    scores = CheckpointScorer(str(tmp_path)).load().score(TALKS)
    assert [score.score for score in scores] == pytest.approx(_theirs(foreign), abs=1e-5)


def test_without_a_chat_template_a_template_file_is_asked_for_and_used(foreign: Path, tmp_path: Path) -> None:
    model, tokenizer = tmp_path / "model", AutoTokenizer.from_pretrained(foreign)
    tokenizer.chat_template = None
    AutoModelForSequenceClassification.from_pretrained(foreign).save_pretrained(model)
    tokenizer.save_pretrained(model)
    with pytest.raises(CheckpointError, match="its tokenizer has no chat template; give --template FILE"):
        CheckpointScorer(str(model)).load()
    InputTemplate(max_tokens=64).save(tmp_path)
    scorer = CheckpointScorer(str(model), str(tmp_path / "wildreward_template.json")).load()
    assert "plain template, at most 64 tokens" in scorer.describe()["note"]
    assert len(score_each(scorer, TALKS)) == len(TALKS)
