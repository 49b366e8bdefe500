"""The data set card: a header the Hub reads, facts of the run, no text of a user."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard

from tests.wildreward.test_label_report import summary
from wildreward.card import MADE_BY, data_card, write_card
from wildreward.schema import WILDFB
from wildreward.settings.label import LabelSettings

MADE_WITH = {
    "judge": "openai", "judge_model": "/home/me/models/Judge-8B", "prompt_version": "feedback-1",
    "hindsight_min_similarity": 0.5, "filters": [], "languages": [], "report_samples": 5, "limit": None,
}  # fmt: skip


def card(**given: Any) -> DatasetCard:
    settings = LabelSettings(judge="openai", judge_url="http://secret.example/v1", judge_model="m", **given)
    return DatasetCard(data_card(settings, summary(), MADE_WITH))


def test_the_header_is_what_the_hub_reads() -> None:
    data = card(card_license="odc-by", card_name="Our: chats", export=("jsonl",)).data.to_dict()
    assert data["license"] == "odc-by"
    assert data["pretty_name"] == "Our: chats"
    assert data["language"] == ["en"]
    assert data["size_categories"] == ["n<1K"]
    assert set(data["task_categories"]) == {"text-classification", "reinforcement-learning"}
    [config] = data["configs"]
    assert config["config_name"] == "default"
    assert [file["split"] for file in config["data_files"]] == ["train", "test"]


def test_no_license_is_claimed_unless_one_is_given() -> None:
    made = card()
    assert "license" not in made.data.to_dict()
    assert "No license is claimed" in made.text


def test_the_card_says_how_the_rows_were_made_and_hides_where() -> None:
    text = card().text
    for fact in (
        "feedback-1",
        "Judge-8B",
        "hindsight_min_similarity | 0.5",
        "dropped: neutral | 1",
        "English | 2 | 3 | 1",
    ):
        assert fact in text
    assert "| filters | none |" in text
    assert "| languages | all |" in text
    assert "report_samples" not in text
    assert "/home/me" not in text
    assert "secret.example" not in text


def test_every_column_of_the_schema_is_in_the_card() -> None:
    text = card().text
    assert all(f"| `{name}` | `" in text for name in WILDFB.names)


def test_a_name_from_the_log_cannot_break_a_table_or_bring_markup_in() -> None:
    found = summary()
    found["by_language"] = {"a|b\n<img src=x>": {"conversations": 1}}
    assert "| a\\|b &lt;img src=x> | 1 | 0 | 0 |" in data_card(LabelSettings(), found, {})


def test_the_lexicon_says_what_it_is() -> None:
    assert "no reader" in data_card(LabelSettings(), summary(), {"judge": "lexicon"})


def test_somebody_elses_readme_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = LabelSettings(output=str(tmp_path))
    write_card(settings, summary(), MADE_WITH)
    assert MADE_BY in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("# mine")
    write_card(settings, summary(), MADE_WITH)
    assert (tmp_path / "README.md").read_text() == "# mine"
    assert "left as it is" in capsys.readouterr().out
