"""Benchmarks by name: the layouts of the Hub and of repositories, laid out locally, and a Hub that is not there."""

import json
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wildreward.benchmarks import catalog
from wildreward.benchmarks.catalog import BENCHMARKS
from wildreward.benchmarks.inputs import read_sets
from wildreward.errors import UsageError

PAIR = {
    "prompt": "hi", "chosen": "yes", "chosen_model": "a", "rejected": "no", "rejected_model": "b", "subset": "hep-go",
    "id": 1,
}  # fmt: skip
STYLES = {"id": "1", "prompt": "hi", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"], "domain": "chat"}
BEST_OF_FOUR = {
    "id": "1", "prompt": "hi", "chosen": ["a"], "rejected": ["b", "c", "d"], "num_correct": 1, "num_incorrect": 3,
    "total_completions": 4, "models": ["m"], "subset": "Math",
}  # fmt: skip
JUDGED = {
    "pair_id": "1", "original_id": "1", "source": "livebench-math", "question": "q", "response_model": "gpt-4o",
    "response_A": "a", "response_B": "b", "label": "A>B",
}  # fmt: skip
BATTLE = {
    "question_id": "1", "model_a": "a", "model_b": "b", "winner": "model_a", "prompt": "hi", "response_1": "x",
    "response_2": "y", "language": "English",
}  # fmt: skip
BEST_OF_K = {
    "question_id": "1", "prompt": "hi", "model_name": "m", "scores": [True, False], "response_1": "x",
    "response_2": "y", "sampled_conflict_pairs": [[0, 1]],
}  # fmt: skip


def _write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=2))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data sets as they lie on the Hub, with what else is there."""
    monkeypatch.setattr(catalog, "HUB", str(tmp_path))
    _write(tmp_path / "allenai/reward-bench/data/raw-00000-of-00001.parquet", PAIR, PAIR | {"id": 2})
    _write(tmp_path / "allenai/reward-bench/data/filtered-00000-of-00001.parquet", PAIR)
    _write(tmp_path / "allenai/reward-bench-2/data/test-00000-of-00001.parquet", BEST_OF_FOUR)
    _write(tmp_path / "THU-KEG/RM-Bench/total_dataset.json", STYLES, STYLES | {"id": "2"})
    _write(tmp_path / "ScalerLab/JudgeBench/data/gpt-00000-of-00001.jsonl", JUDGED)
    _write(tmp_path / "ScalerLab/JudgeBench/data/claude-00000-of-00001.jsonl", JUDGED | {"response_model": "claude"})
    _write(tmp_path / "lmarena-ai/PPE-Human-Preference-V1/data/test-00000-of-00001.parquet", BATTLE)
    signs = {
        "MMLU-Pro": "options",
        "MATH": "level",
        "GPQA": "Record ID",
        "MBPP-Plus": "test_list",
        "IFEval": "instruction_id_list",
    }
    for name, sign in signs.items():
        _write(tmp_path / f"lmarena-ai/PPE-{name}-Best-of-K/data/train-00000-of-00001.parquet", BEST_OF_K | {sign: "x"})
    return tmp_path


def test_every_benchmark_is_found_by_its_name(hub: Path) -> None:
    sets = read_sets(list(BENCHMARKS))
    assert {found.name: (found.kind, len(found.items)) for found in sets} == {
        "rewardbench": ("rewardbench", 1),
        "rewardbench2": ("rewardbench2", 1),
        "rm-bench": ("rm-bench", 2),
        "judgebench": ("judgebench", 1),
        "judgebench-claude": ("judgebench", 1),
        "ppe-human": ("ppe-human", 1),
        "ppe-correctness": ("ppe-correctness", 5),
    }
    assert all(found.skipped == {} for found in sets)


def test_a_local_copy_is_named_with_its_path(hub: Path) -> None:
    [found] = read_sets([f"RewardBench={hub}/allenai/reward-bench"])
    assert [path.rpartition("/")[2] for path in found.files] == ["filtered-00000-of-00001.parquet"]
    [found] = read_sets([f"judgebench={hub}/ScalerLab/JudgeBench/data/claude-00000-of-00001.jsonl"])
    assert found.items[0]["response_model"] == "claude"


def test_the_repository_of_rm_bench_holds_the_whole_and_its_parts(tmp_path: Path) -> None:
    _write(tmp_path / "data/total_dataset.json", STYLES, STYLES | {"id": "2", "domain": "code"})
    _write(tmp_path / "data/chat_filtered.json", STYLES)
    _write(tmp_path / "package.json", {"name": "not rows"})
    [found] = read_sets([f"rm-bench={tmp_path}"])
    assert (len(found.items), found.skipped) == (2, {})
    (tmp_path / "data/total_dataset.json").unlink()
    _write(tmp_path / "data/code_filtered.json", STYLES | {"id": "2", "domain": "code"})
    [found] = read_sets([f"rm-bench={tmp_path}"])
    assert [item["domain"] for item in found.items] == ["chat", "code"]


def test_a_hub_without_one_of_the_files_is_no_benchmark(hub: Path) -> None:
    (hub / "lmarena-ai/PPE-MATH-Best-of-K/data/train-00000-of-00001.parquet").unlink()
    with pytest.raises(UsageError, match=r"PPE-MATH-Best-of-K.*no file there.*--input ppe-correctness=PATH"):
        read_sets(["ppe-correctness"])


def test_an_unreachable_hub_says_how_to_give_local_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    fsspec.get_filesystem_class("hf").clear_instance_cache()
    with pytest.raises(
        UsageError, match=r"rewardbench: hf://datasets/allenai.*cannot be read.*--input rewardbench=PATH"
    ):
        read_sets(["rewardbench"])
    fsspec.get_filesystem_class("hf").clear_instance_cache()


def test_a_local_copy_with_other_columns_and_a_misspelt_name_are_told(tmp_path: Path) -> None:
    path = _write(tmp_path / "pairs.jsonl", {"prompt": "hi", "chosen": "a", "rejected": "b"})
    with pytest.raises(UsageError, match=r"none of its 1 files has the columns of rm-bench: id, prompt.*domain"):
        read_sets([f"rm-bench={path}"])
    with pytest.raises(
        UsageError,
        match=r"no file found.*did you mean rm-bench\? Benchmarks known by name: rewardbench, rewardbench2, rm-",
    ):
        read_sets(["rmbench"])
