"""Settings of the label stage: what is refused, and what the short words mean."""

from typing import Any

import pytest
import yaml

from wildreward.errors import UsageError
from wildreward.settings.label import FILTERS, LabelSettings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"judge": "openai", "judge_url": "http://x/v1"}, "judge_model: required with judge openai"),
        ({"judge": "openai", "judge_model": "m"}, "judge_url: required"),
        ({"judge": "vllm"}, "judge_model: required with judge vllm"),
        ({"judge_gpus_per_actor": 1, "judge_engine": {"tensor_parallel_size": 2}}, "over 2 GPUs"),
        ({"filters": ["media", "typo"]}, "unknown filter 'typo'"),
        ({"hindsight_min_similarity": 1.5}, "hindsight_min_similarity"),
        ({"judge_concurrency": 0}, "judge_concurrency"),
        ({"class_map": "six"}, "class_map"),
        ({"export": ["csv"]}, "export.0: found 'csv'; Input should be 'jsonl'"),
        ({"export": ["jsonl"], "class_map": "five"}, "export: jsonl is a layout of four classes; class_map is five"),
        ({"card_license": "My License"}, "card_license"),
        ({"report_samples": -1}, "report_samples"),
        ({"judge_ur": "x"}, "did you mean judge_url"),
        ({"judge_url": "127.0.0.1:8001/v1"}, "judge_url: number 1 is no URL"),
        ({"judge_url": ["http://x/v1", "ftp://y"]}, "judge_url: number 2 is no URL"),
        ({"judge_url": "http://x/v1?a=b"}, r"judge_url: number 1 has a \?query"),
        ({"judge_url": ["http://x/v1", "http://x/v1"]}, "judge_url: the same URL is given twice"),
        ({"judge_extra_body": {"stream": True}}, "judge_extra_body: stream cannot be set here"),
        ({"judge_requests_per_minute": 0}, "judge_requests_per_minute"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LabelSettings.parse(given)


@pytest.mark.parametrize(
    "given",
    [
        {"judge_url": "https://user:sk-secret@x/v1"},
        {"judge_url": ["http://x/v1", "https://sk-secret@y/v1"]},
        {"judge_url": "https://x:sk-secret/v1"},
        {"judge_url": "https://x/v1?key=sk-secret"},
        {"judge_extra_body": {"api_key": "sk-secret"}},
    ],
)
def test_a_key_in_a_setting_is_refused_and_not_repeated(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        LabelSettings.parse(given | {"judge": "openai", "judge_model": "m"})
    assert "secret" not in str(refused.value)
    assert "judge_" in str(refused.value)


def test_one_url_is_a_list_of_one() -> None:
    assert LabelSettings.parse({"judge_url": "http://x/v1"}).judge_url == ("http://x/v1",)
    assert LabelSettings.parse({"judge_url": None}).judge_url == ()


def test_none_and_all_are_words_for_nothing_and_everything() -> None:
    settings = LabelSettings(filters=("none",), languages=("all",))
    assert (settings.filters, settings.languages) == ((), ())
    assert LabelSettings().filters == FILTERS


def test_written_settings_are_read_back_alike() -> None:
    settings = LabelSettings(filters=("none",), languages=("all",), judge_engine={"max_model_len": 4096})
    assert LabelSettings.parse(yaml.safe_load(settings.to_yaml())) == settings


@pytest.mark.parametrize(("name", "classes"), [("four", [1, 2, None, 3, 4]), ("binary", [1, 1, None, 2, 2])])
def test_class_maps_drop_neutral_turns(name: Any, classes: list[int | None]) -> None:
    settings = LabelSettings(class_map=name)
    assert [settings.classes.get(level) for level in range(1, 6)] == classes


def test_five_classes_keep_neutral_turns() -> None:
    assert LabelSettings(class_map="five").classes[3] == 3
