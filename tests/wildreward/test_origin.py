import os
from pathlib import Path

from wildreward.origin import changed, origin_of


def test_a_replaced_file_is_noticed_also_inside_a_directory(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    weights, data = tmp_path / "model" / "weights", tmp_path / "data"
    weights.write_text("1")
    data.write_text("1")
    paths = [str(tmp_path / "model"), str(data), "some-org/hub-id"]
    before = origin_of(paths)
    assert changed(before, origin_of(paths)) == []
    weights.write_text("2")
    os.utime(weights, (1, 1))
    assert changed(before, origin_of(paths)) == [str(weights)]
