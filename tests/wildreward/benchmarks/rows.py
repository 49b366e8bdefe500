"""Rows of the official benchmarks as their files have them, and whole benchmarks at their official sizes."""

from collections.abc import Iterator
from typing import Any

from wildreward.benchmarks import judgebench, ppe_correctness, ppe_human, rewardbench, rewardbench2, rmbench

Row = dict[str, Any]

SIGN = {
    "mmlu_pro": "options",
    "math": "level",
    "gpqa": "Record ID",
    "mbpp_plus": "test_list",
    "ifeval": "instruction_id_list",
}
"""A column that only the file of this part of PPE has."""


def rewardbench_row(subset: str, number: int = 0) -> Row:
    return {
        "prompt": "hi", "chosen": f"right {number}", "chosen_model": "a", "rejected": "no", "rejected_model": "b",
        "subset": subset, "id": number,
    }  # fmt: skip


def rewardbench2_row(subset: str, name: str, right: int, wrong: int, prompt: str = "") -> Row:
    return {
        "id": name,
        "prompt": prompt or f"{subset} {name}",
        "chosen": [f"right {i}" for i in range(right)],
        "rejected": [f"wrong {i}" for i in range(wrong)],
        "num_correct": right,
        "num_incorrect": wrong,
        "total_completions": right + wrong,
        "models": ["m"],
        "subset": subset,
    }


def rmbench_row(name: str, domain: str, prompt: str = "") -> Row:
    return {
        "id": name,
        "prompt": prompt or name,
        "chosen": ["c", "cc", "ccc"],
        "rejected": ["r", "rr", "rrr"],
        "domain": domain,
    }


def judgebench_row(name: str, source: str, label: str, model: str = "gpt-4o-2024-05-13") -> Row:
    return {
        "pair_id": name,
        "original_id": name,
        "source": source,
        "question": "q",
        "response_model": model,
        "response_A": "first reply",
        "response_B": "second",
        "label": label,
    }


def ppe_human_row(name: str, winner: object, **more: object) -> Row:
    flags = dict.fromkeys(ppe_human.FLAGS, False)
    return {
        "question_id": name, "model_a": "a", "model_b": "b", "winner": winner, "prompt": "hi",
        "response_1": "first", "response_2": "second", "language": "English", **flags, **more,
    }  # fmt: skip


def ppe_correctness_row(benchmark: str, name: str, scores: list[bool], pairs: list[list[int]]) -> Row:
    responses = {f"response_{i + 1}": f"reply {'x' * i}" for i in range(len(scores))}
    return {
        "question_id": name, "prompt": name, "model_name": "m", "scores": scores, "sampled_conflict_pairs": pairs,
        SIGN[benchmark]: [], **responses,
    }  # fmt: skip


def candidates_row(name: str, quality: list[Any], field: str = "scores", **more: object) -> Row:
    responses = [f"reply {'x' * i}" for i in range(len(quality))]
    return {"id": name, "prompt": name, "responses": responses, field: quality, **more}


def wildfb_row(label: object, reply: str = "yes") -> Row:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": reply}]
    return {"messages": messages, "label": label}


SOURCES = {
    "mmlu-pro-computer science": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}
"""A source of JudgeBench, and the group it belongs to."""


def official_rows(kind: str) -> list[Row]:
    """As many rows as the official files have, with nothing missing, and no prompt twice."""
    made = {
        "rewardbench": _rewardbench,
        "rewardbench2": _rewardbench2,
        "rm-bench": _rmbench,
        "judgebench": _judgebench,
        "ppe-human": _ppe_human,
        "ppe-correctness": _ppe_correctness,
    }
    asked = "question" if kind == "judgebench" else "prompt"
    return [row | {asked: f"prompt {number}"} for number, row in enumerate(made[kind]())]


def _rewardbench() -> Iterator[Row]:
    for subset, count in rewardbench.COUNTS.items():
        yield from (rewardbench_row(subset, number) for number in range(count))


def _rewardbench2() -> Iterator[Row]:
    for subset, count in rewardbench2.COUNTS.items():
        if subset != rewardbench2.TIES:
            yield from (rewardbench2_row(subset, str(number), 1, 3) for number in range(count))
    for number in range(rewardbench2.COUNTS[rewardbench2.TIES] // 2):
        yield rewardbench2_row(rewardbench2.TIES, f"tied:{number}", 2, 3)
        yield rewardbench2_row(rewardbench2.TIES, f"ref:{number}", 1, 3)


def _rmbench() -> Iterator[Row]:
    for domain, count in rmbench.COUNTS.items():
        yield from (rmbench_row(f"{domain}/{number}", domain) for number in range(count))


def _judgebench() -> Iterator[Row]:
    for source, group in SOURCES.items():
        for number in range(judgebench.GPT_COUNTS[group]):
            yield judgebench_row(f"{source} {number}", source, judgebench.LABELS[number % 2])


def _ppe_human() -> Iterator[Row]:
    winners = ("model_a", "model_b", "tie", "tie (bothbad)")
    for number in range(ppe_human.TOTAL):
        flags = {flag: number % 7 == place for place, flag in enumerate(ppe_human.FLAGS)}
        language = ("English", "Chinese", "German")[number % 3]
        yield ppe_human_row(str(number), winners[number % 4], language=language, **flags)


def _ppe_correctness() -> Iterator[Row]:
    for benchmark, count in ppe_correctness.COUNTS.items():
        for number in range(count):
            yield ppe_correctness_row(benchmark, str(number), [True, False, True, False], [[0, 1], [3, 2]])
