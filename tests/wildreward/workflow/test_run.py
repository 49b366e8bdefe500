"""`wildreward run FILE` on a real local cluster: label with the lexicon, train a tiny model, evaluate it, and again."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.checkpoints import tiny_backbone
from wildreward.cli import main
from wildreward.synthetic.generate import write


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("run")
    write(str(folder / "data"), seed=0, conversations=150, shards=1)
    backbone = tiny_backbone(folder / "backbone")
    train = {"backbone": str(backbone), "max_tokens": 128, "max_steps": 4, "batch_rows": 16, "device": "cpu"}
    return {
        "output": str(folder / "out"),
        "input": [str(folder / "data/conversations")],
        "stages": {"label": {"test_rows": 20}, "train": train, "evaluate": {"bootstrap": 50}},
    }


def run(pipeline: dict[str, Any], folder: Path, *flags: str) -> int:
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(pipeline))
    return main(["run", str(file), *flags])


def manifest(pipeline: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(pipeline["output"], "manifest.json").read_text())["stages"]
    return found


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_does_what_is_not_done_and_nothing_else(
    pipeline: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(pipeline, tmp_path, "--dry-run") == 0
    assert "to do" in capsys.readouterr().out
    assert not Path(pipeline["output"]).exists()

    broken = pipeline | {"stages": pipeline["stages"] | {"evaluate": {"checkpoint": str(tmp_path / "none")}}}
    assert run(broken, tmp_path) == 2
    assert "stage evaluate:" in capsys.readouterr().err
    assert [entry["state"] for entry in manifest(pipeline).values()] == ["done", "done", "failed"]
    assert "no such directory" in manifest(pipeline)["evaluate"]["error"]

    assert run(pipeline, tmp_path) == 0
    shown = capsys.readouterr().out
    assert "$ wildreward evaluate" in shown
    assert "$ wildreward label" not in shown
    first = manifest(pipeline)
    for entry in first.values():
        assert entry["state"] == "done"
        assert entry["files"]["count"] > 0
        assert entry["code"]["source"]
    assert set(first["label"]["inputs"]) == {str(file) for file in Path(pipeline["input"][0]).iterdir()}
    assert Path(first["evaluate"]["output"], "results.json").is_file()

    assert run(pipeline, tmp_path) == 0
    assert "all stages are done" in capsys.readouterr().out
    assert manifest(pipeline) == first

    changed = pipeline | {"stages": pipeline["stages"] | {"evaluate": {"bootstrap": 60}}}
    assert run(changed, tmp_path, "--prune") == 0
    shown = capsys.readouterr().out
    assert "changed: bootstrap" in shown
    assert "$ wildreward train" not in shown
    second = manifest(pipeline)
    assert {name: second[name] == first[name] for name in first} == {"label": True, "train": True, "evaluate": False}
    assert not Path(first["evaluate"]["output"]).exists()
    assert Path(second["evaluate"]["output"], "results.json").is_file()


def test_serving_needs_a_cluster_that_stays(
    pipeline: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(pipeline | {"stages": {"serve": {"checkpoint": "x"}}}, tmp_path) == 2
    assert "needs a cluster that outlives this command" in capsys.readouterr().err


def test_a_manifest_of_something_else_is_not_overwritten(
    pipeline: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_text('{"files": []}')
    assert run(pipeline | {"output": str(tmp_path)}, tmp_path) == 1
    assert "not the manifest of a run" in capsys.readouterr().err
    assert (tmp_path / "manifest.json").read_text() == '{"files": []}'
