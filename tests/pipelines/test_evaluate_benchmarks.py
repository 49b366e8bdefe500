"""Official benchmarks and candidate sets through everything that `evaluate` writes and prints, without a cluster."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.wildreward.benchmarks.sets import QUICK, score
from wildreward.benchmarks.inputs import read_sets
from wildreward.evaluation import Evaluation, evaluate
from wildreward.evaluation_console import print_evaluation
from wildreward.evaluation_files import ITEMS, REPORT, RESULTS, write_evaluation
from wildreward.reward_model import Score
from wildreward.scorer import Conversation, Unscored

SECRET = "a text that must not leave"


def _rows() -> dict[str, list[dict[str, Any]]]:
    replies = [SECRET + " x" * i for i in range(6)]
    styles = {"chosen": replies[3:], "rejected": replies[:3]}
    domains = ("chat", "code", "math", "safety-refuse", "safety-response")
    pair = {"chosen": replies[1], "rejected": replies[0], "chosen_model": "a", "rejected_model": "b", "id": 1}
    return {
        "styles": [
            {"id": f"{d}/{i}", "prompt": f"{SECRET} {i}", "domain": d, **styles} for d in domains for i in range(2)
        ],
        "best_of_four": [
            {
                "id": str(i),
                "prompt": SECRET,
                "chosen": replies[:1],
                "rejected": replies[1:4],
                "num_correct": 1,
                "subset": "Math",
            }
            for i in range(2)
        ],
        "official_pairs": [{"prompt": SECRET, "subset": "hep-go", **pair}],
        "candidates": [
            {"prompt": f"{SECRET} {i}", "responses": replies, "scores": [0, 0, 0, 0, 0, 1]} for i in range(12)
        ],
    }


def _by_length(conversations: list[Conversation]) -> list[Score | Unscored]:
    return [score(len(messages[-1]["content"])) for messages in conversations]


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("benchmarks")
    for name, rows in _rows().items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return evaluate(read_sets([str(folder)], "builtins:len"), _by_length, QUICK)


def test_all_outputs_are_written_and_hold_no_text(evaluation: Evaluation, tmp_path: Path) -> None:
    write_evaluation(str(tmp_path), evaluation, {"checkpoint": "x"}, QUICK)
    results = json.loads((tmp_path / RESULTS).read_text())["sets"]
    by_kind = {found["kind"]: found for found in results.values()}
    assert set(by_kind) == {"rm-bench", "rewardbench2", "rewardbench", "candidates"}
    assert by_kind["rm-bench"]["metrics"]["overall"]["value"] == 1.0
    assert by_kind["rm-bench"]["metrics"]["overall"]["baselines"]["length"]["value"] == 1.0
    assert by_kind["rewardbench2"]["metrics"]["overall"]["value"] is None
    assert by_kind["rewardbench2"]["extra"]["official"]["parts"]["Math"] == {"expected": 183, "rows": 2, "evaluated": 2}
    assert by_kind["candidates"]["metrics"]["best_of_6"]["value"] == 1.0
    assert by_kind["candidates"]["metrics"]["downstream"]["value"] == 12
    [styles] = [name for name, found in results.items() if found["kind"] == "rm-bench"]
    items = pq.read_table(tmp_path / ITEMS / f"{styles.replace('/', '-')}.parquet").to_pylist()
    assert items[0]["scores"] == [32, 34, 36, 26, 28, 30]
    assert items[0]["correct"] == [1] * 9
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert all(SECRET.encode() not in data for data in written)
    assert "PARTIAL" in (tmp_path / REPORT).read_text()


def test_a_partial_benchmark_says_so_before_its_numbers(evaluation: Evaluation) -> None:
    stream = io.StringIO()
    print_evaluation(evaluation, 0.95, stream)
    text = stream.getvalue()
    assert "PARTIAL, not comparable with published numbers: Factuality is absent (475 rows expected)" in text
    assert "overall: null, not enough is there to say it" in text
    assert "best_of_6" in text
    assert "worst_domain" in text
