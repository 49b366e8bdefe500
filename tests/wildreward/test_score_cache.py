from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from wildreward import storage
from wildreward.errors import DataError
from wildreward.reward_model import Score
from wildreward.score_cache import KEPT, ScoreCache
from wildreward.score_table import scored_columns
from wildreward.scorer import Unscored

SCORE = Score(2.5, (0.1, 0.4, 0.4, 0.1), 0.8, -0.25, 17, 3, 0)
BARE = Score(-4.0)
KEYS = {name: name * 32 for name in "abcd"}


def _block(results: Mapping[str, Score | Unscored]) -> pa.Table:
    keys = pa.array([KEYS[name] for name in results], pa.string())
    return scored_columns(list(results.values())).add_column(0, "key", keys).cast(KEPT)


def _filled(folder: Path, results: Mapping[str, Score | Unscored], identity: str = "model") -> ScoreCache:
    cache = ScoreCache(str(folder), identity)
    cache.add(_block(results))
    cache.flush()
    return cache


def test_scores_come_back_as_they_were_in_the_order_asked_for(tmp_path: Path) -> None:
    cache = _filled(tmp_path, {"a": SCORE, "b": BARE, "c": Unscored("nan_score", "score is nan")})
    kept = cache.read([KEYS[name] for name in "cbda"])
    assert kept.missing == [2]
    assert [kept[i] for i in (0, 1, 3)] == [Unscored("nan_score", "score is nan"), BARE, SCORE]


def test_a_failure_that_may_pass_is_not_kept_but_can_be_told_beside(tmp_path: Path) -> None:
    refused = Unscored("refused_text_too_long", "200,001 characters")
    cache = _filled(tmp_path, {"a": SCORE, "b": refused})
    keys = [KEYS["a"], KEYS["b"]]
    assert cache.read(keys).missing == [1]
    kept = cache.read(keys, {1: refused})
    assert not kept.missing
    assert list(kept) == [SCORE, refused]


def test_files_of_several_runs_add_up_and_other_models_are_apart(tmp_path: Path) -> None:
    _filled(tmp_path, {"a": SCORE})
    _filled(tmp_path, {"a": SCORE, "b": BARE})
    _filled(tmp_path, {"c": BARE}, identity="another")
    kept = ScoreCache(str(tmp_path), "model").read([KEYS[name] for name in "abc"])
    assert kept.missing == [2]
    assert list(kept[:2]) == [SCORE, BARE]


def test_a_finished_block_is_on_disk_at_once_and_fast_ones_share_a_file(tmp_path: Path) -> None:
    cache = ScoreCache(str(tmp_path), "model")
    for name in "abcd":
        cache.add(_block({name: BARE}))
    files = sorted((tmp_path / "model").glob("*.parquet"))
    assert len(files) == 1
    assert ScoreCache(str(tmp_path), "model").read([KEYS["a"]]).missing == []
    cache.flush()
    assert len(sorted((tmp_path / "model").glob("*.parquet"))) == 2
    assert cache.read(list(KEYS.values())).missing == []


def test_it_works_on_any_filesystem_and_keeps_what_the_scorer_said() -> None:
    cache = ScoreCache("memory://cache-test", "model")
    assert cache.description() == {}
    cache.describe({"head": "coral"})
    cache.add(_block({"a": SCORE}))
    cache.flush()
    again = ScoreCache("memory://cache-test", "model")
    assert again.description() == {"head": "coral"}
    assert list(again.read([KEYS["a"]])) == [SCORE]


def test_a_file_that_is_none_of_ours_is_named(tmp_path: Path) -> None:
    storage.write_text(str(tmp_path / "model" / "x.parquet"), "no parquet")
    with pytest.raises(DataError, match=r"x\.parquet: not a file of scores"):
        ScoreCache(str(tmp_path), "model").read([KEYS["a"]])
