"""A list of checkpoints that was cut off is replaced by the one before; without one the run starts again."""

from pathlib import Path

from train.checkpoint_list import BEFORE, LIST, keep_list, mend_list


def test_a_list_that_was_cut_off_is_replaced_by_the_one_before(tmp_path: Path) -> None:
    keep_list(str(tmp_path))
    assert not (tmp_path / BEFORE).exists()
    (tmp_path / LIST).write_text('{"checkpoint_results": ["ckpt_000002"]}')
    keep_list(str(tmp_path))
    (tmp_path / LIST).write_text('{"checkpoint_results": ["ckpt_0000')
    keep_list(str(tmp_path))  # half a list is never kept
    mend_list(str(tmp_path))
    assert (tmp_path / LIST).read_text() == '{"checkpoint_results": ["ckpt_000002"]}'


def test_a_list_that_can_be_read_stays(tmp_path: Path) -> None:
    (tmp_path / BEFORE).write_text("{}")
    (tmp_path / LIST).write_text('{"new": 1}')
    mend_list(str(tmp_path))
    assert (tmp_path / LIST).read_text() == '{"new": 1}'


def test_without_a_copy_the_run_starts_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LIST).write_text("{")
    mend_list(str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
