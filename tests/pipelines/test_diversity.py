"""Duplicates and users' shares across all groups of rows: the same rows go however the data is cut."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
import ray

from pipelines import diversity
from pipelines.diversity import drop_reasons, rounds
from wildreward.schema import WILDFB, table
from wildreward.settings.label import LabelSettings

SETTINGS = LabelSettings(drop_duplicate_prompts="near", max_rows_per_user=3)
TOPICS = (
    "the tides of the northern sea",
    "a bridge made of paper",
    "how bread rises in a cold oven",
    "old train timetables",
)


def row(number: int, prompt: str, user: str | None, conversation: str | None = None) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": f"reply {number}"}]
    return {
        "id": f"{number:05d}/0",
        "conversation_hash": conversation or f"chat {number}",
        "messages": messages,
        "user": user,
    }


def rows() -> list[dict[str, Any]]:
    """Each topic as it stands, again in capitals, and nearly the same; users with many rows, and rows without one."""
    texts = [f"Please write a detailed essay for beginners about {topic}, in four paragraphs." for topic in TOPICS]
    repeated = [text.upper() for text in texts] + [text.replace("four", "five") for text in texts]
    made = [row(number, text, None) for number, text in enumerate(texts + repeated)]
    rng = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(500)])
    others = [" ".join(rng.choice(words, 30)) for _ in range(40)]
    made += [row(100 + n, text, ("anna", "ben", None, None)[n % 4]) for n, text in enumerate(others)]
    twice = "Compare two kinds of apples for a pie and give a recipe for the better one of the two."
    return [*made, row(200, twice, None, "same"), row(201, twice.replace("two kinds", "all kinds"), None, "same")]


def decided(groups: list[list[dict[str, Any]]]) -> dict[str, str]:
    """Row id -> reason, of the rows that go."""
    given = [ray.put({"rows": table(group, WILDFB)}) for group in groups]
    names = [question.reason for question in rounds(SETTINGS)]
    reasons = ray.get(drop_reasons(given, sum(map(len, groups)), SETTINGS))
    return {
        row["id"]: names[number - 1]
        for group, numbers in zip(groups, reasons, strict=True)
        for row, number in zip(group, numbers, strict=True)
        if number
    }


@pytest.mark.usefixtures("ray_cluster")
def test_the_same_rows_go_in_one_group_and_in_many_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    together = decided([rows()])
    backwards = rows()[::-1]
    monkeypatch.setattr(diversity, "PARTITION_ROWS", 20)
    assert decided([backwards[:7], [], backwards[7:30], backwards[30:]]) == together

    by_topic: defaultdict[int, list[int]] = defaultdict(list)
    for number in range(12):
        by_topic[number % 4].append(f"{number:05d}/0" not in together)
    assert all(sum(stays) == 1 for stays in by_topic.values())
    reasons = Counter(together.values())
    assert reasons["duplicate_prompt"] + reasons["near_duplicate_prompt"] == 8
    assert reasons["duplicate_prompt"] == 4
    assert reasons["user_cap"] == 2 * (10 - 3)
    assert not {"00200/0", "00201/0"} & set(together)  # two turns of one conversation


def test_all_is_off_by_default_and_users_are_last() -> None:
    assert rounds(LabelSettings()) == []
    assert [question.reason for question in rounds(SETTINGS)][::17] == ["duplicate_prompt", "user_cap"]
