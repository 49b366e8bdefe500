"""A checkpoint as WildReward's own training script saves it loads and scores as its own server scores it.

Its script (github.com/THU-KEG/WildReward, train_rm/train_rank.py) loads a chat model with three labels in bfloat16,
sets problem_type and pad_token_id (to eos where the tokenizer has no pad token), and saves model, tokenizer and
training_args.bin. Its server (deploy_rm/serve_rank.py) scores 1 + sum of sigmoids of the three logits.
"""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from wildreward.policies import new_policy
from wildreward.scorer import CheckpointScorer, load_checkpoint

CONVERSATIONS = [
    [{"role": "user", "content": f"what is {n} plus {n}?"}, {"role": "assistant", "content": f"it is {n + n}"}]
    for n in range(6)
]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base, directory = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("published")
    new_policy(base, CONVERSATIONS, hidden=32, layers=2, heads=2, vocabulary=300)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = None
    tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3, dtype=torch.bfloat16)
    model.score.weight.data.mul_(50)  # scores that differ visibly between replies
    model.config.problem_type = "multi_label_classification"
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    torch.save({}, directory / "training_args.bin")
    return directory


def test_it_scores_as_the_published_server_does(published: Path) -> None:
    """Alone, as no padding is then in play; and in a batch of ours."""
    ours = load_checkpoint(CheckpointScorer(str(published), template="chat"))
    tokenizer = AutoTokenizer.from_pretrained(published)
    model = AutoModelForSequenceClassification.from_pretrained(published, dtype=torch.float32).eval()
    scores = ours.score(CONVERSATIONS)
    for conversation, score in zip(CONVERSATIONS, scores, strict=True):
        text = tokenizer.apply_chat_template(conversation, tokenize=False)
        with torch.inference_mode():
            logits = model(**tokenizer(text, return_tensors="pt", add_special_tokens=False)).logits
        assert score.score == pytest.approx(1 + torch.sigmoid(logits).sum().item(), abs=1e-5)
        assert score.probs is not None
        assert min(score.probs) >= 0
        assert sum(score.probs) == pytest.approx(1, abs=1e-5)
    assert len({round(score.score, 3) for score in scores}) > 1


def test_it_describes_itself_as_independent_thresholds_of_four_classes(published: Path) -> None:
    found = load_checkpoint(CheckpointScorer(str(published), template="chat")).describe()
    assert (found["head"], found["num_classes"], found["template"]) == ("independent", 4, "chat")
