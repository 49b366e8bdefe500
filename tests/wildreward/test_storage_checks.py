"""Paths are looked at before work begins: those that cannot be written to, and disks with too little room."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import tiny_backbone
from wildreward import storage
from wildreward.cli import main
from wildreward.errors import UsageError, WildrewardError
from wildreward.resources import Nodes
from wildreward.settings.label import LabelSettings
from wildreward.settings.train import TrainSettings
from wildreward.shared_paths import Seen, filesystem_of, look, require_shared, sight_of
from wildreward.storage_checks import Place, check_places, places, room_needed, weights_of


def test_the_places_of_settings_are_its_paths_and_urls_and_nothing_else() -> None:
    settings = TrainSettings(input=("/data/a", "s3://b/c"), output="gs://x/y", backbone="owner/name")
    assert [(place.flag, place.written) for place in places(settings)] == [
        ("--input /data/a", False),
        ("--input s3://b/c", False),
        ("--output gs://x/y", True),
    ]
    label = LabelSettings(input=("hf://datasets/a",), output="/out", judge_cache="none", embedder="minilm")
    assert [place.path for place in places(label)] == ["hf://datasets/a", "/out"]


def test_a_place_that_is_written_to_is_left_as_it_was(tmp_path: Path) -> None:
    check_places(LabelSettings(output=str(tmp_path / "new" / "out")))
    assert list(tmp_path.iterdir()) == []
    check_places(LabelSettings(output="memory://bucket-of-checks/out"))
    fs, inner = storage.filesystem("memory://bucket-of-checks/out")
    assert fs.find(inner) == []


def test_an_output_below_a_file_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    output = str(tmp_path / "file" / "out")
    assert main(["label", "--input", str(tmp_path), "--output", output]) == 2
    assert f"--output {output}: cannot be written to: {tmp_path}/file is a file" in capsys.readouterr().err


def test_a_directory_that_takes_no_files_is_refused() -> None:
    with pytest.raises(UsageError, match="--output /proc/none/out: cannot be written to"):
        check_places(LabelSettings(output="/proc/none/out"))


def test_a_disk_without_room_for_one_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone(tmp_path / "backbone")
    settings = TrainSettings(input=("x",), output=str(tmp_path / "out"), backbone=str(backbone))
    weights = weights_of(str(backbone)) or 0
    assert weights == pytest.approx((backbone / "model.safetensors").stat().st_size / 4, rel=0.01)
    needed, why = room_needed(settings) or (0, "")
    assert needed == 12 * weights
    check_places(settings)
    full: Any = shutil.disk_usage(tmp_path)._replace(free=needed - 1)
    monkeypatch.setattr("wildreward.storage_checks.shutil.disk_usage", lambda _: full)
    with pytest.raises(UsageError, match=rf"0\.0. GB are free there, and this run takes at least 0\.0. GB \({why}"):
        check_places(settings)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "done.json").write_text("{}")
    check_places(settings)  # a finished run writes nothing


def test_what_a_model_takes_is_not_known_of_a_hub_id_or_an_adapter() -> None:
    assert room_needed(TrainSettings(backbone="owner/name")) is None
    assert room_needed(TrainSettings(backbone="minilm", lora_rank=8)) is None
    assert weights_of("minilm") == pytest.approx(22.7e6, rel=0.01)


def seen(path: Path, written: bool, sight: str) -> Seen:
    return Seen(Place("output" if written else "input", str(path), written), sight)


def test_a_node_tells_what_it_does_not_see(tmp_path: Path) -> None:
    """`look` is what runs on every other node; here on this one, of a place that is not what the driver saw."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "marker").touch()
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"123")
    same = sight_of(str(folder))
    good = [seen(folder, True, "marker"), seen(file, False, "a file of 3 bytes"), seen(folder, False, same)]
    assert look(good) == ["", "", ""]
    bad = [
        seen(folder, True, "another"),
        seen(tmp_path / "none", True, "marker"),
        seen(tmp_path / "none", False, "a file of 3 bytes"),
        seen(file, False, "a file of 4 bytes"),
    ]
    assert look(bad) == [
        "there it is another directory",
        "there it is not",
        "there it is nothing: No such file or directory",
        "there it differs",
    ]
    assert [path.name for path in folder.iterdir()] == ["marker"]
    assert sight_of(f"{tmp_path}/*.parquet") == sight_of(str(tmp_path))


def test_an_output_on_a_disk_of_one_machine_is_refused_where_nodes_may_be_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster of one node whose autoscaler may add others, as `ray up` leaves it."""
    settings = LabelSettings(input=("/data/chats",), output=str(tmp_path / "out"))
    monkeypatch.setattr("wildreward.shared_paths._other_nodes", dict)
    monkeypatch.setattr("wildreward.resources.autoscaled_nodes", lambda: [Nodes({"CPU": 32.0}, 4)])
    monkeypatch.setattr("wildreward.shared_paths.filesystem_of", lambda path: "ext4")
    said = (
        r"label: --output .*/out: lies on a disk of this machine \(ext4\), which nodes .* \(4 x \(32 CPU\)\) will not"
    )
    with pytest.raises(WildrewardError, match=said):
        require_shared("label", settings)
    require_shared("calibrate", settings, here_only={"output"})
    monkeypatch.setattr("wildreward.shared_paths.filesystem_of", lambda path: "nfs4")
    require_shared("label", settings)


def test_the_file_system_of_a_path_is_that_of_the_closest_mount() -> None:
    assert filesystem_of("/proc/self") == filesystem_of("/proc/no/such/path") == "proc"
