"""The judge cache: what was put is got, by several processes, after faults, and in little memory."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wildreward.errors import DataError, UsageError
from wildreward.judge import cache_segments
from wildreward.judge.cache import MERGE_FILES, CachedAnswer, JudgeCache, digest, to_merge
from wildreward.judge.cache_segments import GROUP_ROWS, Segment, heads_of

PROBS = (0.1, 0.2, 0.3, 0.15, 0.25)


def answer(number: int) -> CachedAnswer:
    return CachedAnswer(
        question="feedback",
        value=1 + number % 5,
        probs=PROBS if number % 2 else None,
        raw=f"[[{1 + number % 5}]] 因为 {number}",
        judge="model",
        prompt_version="1",
        attempts=1 + number % 3,
        prompt_tokens=number,
        completion_tokens=None if number % 7 else 5,
        asker=digest(["run", number]),
    )


def keys(first: int, last: int) -> list[bytes]:
    return [digest(number) for number in range(first, last)]


def filled(directory: Path, first: int, last: int, flush_every: int = 10**9) -> JudgeCache:
    cache = JudgeCache(str(directory))
    for number in range(first, last):
        cache.put(digest(number), answer(number))
        if (number + 1 - first) % flush_every == 0:
            cache.flush()
    cache.flush()
    return cache


def all_there(cache: JudgeCache, first: int, last: int) -> bool:
    return cache.get_many(keys(first, last)) == {digest(number): answer(number) for number in range(first, last)}


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.parquet"))


def test_an_answer_comes_back_alike_before_and_after_it_is_written_and_to_another_process(tmp_path: Path) -> None:
    cache = JudgeCache(str(tmp_path / "new"))
    assert cache.get_many(keys(0, 3)) == {}
    cache.put(digest(1), answer(1))
    assert (cache.get_many(keys(0, 3)), cache.pending) == ({digest(1): answer(1)}, 1)
    cache.flush()
    assert (cache.get_many(keys(0, 3)), cache.pending) == ({digest(1): answer(1)}, 0)
    assert JudgeCache(str(tmp_path / "new")).get_many(keys(0, 3)) == {digest(1): answer(1)}


def test_thousands_of_answers_over_many_row_groups_are_found_with_12_bytes_each(tmp_path: Path) -> None:
    filled(tmp_path, 0, 3 * GROUP_ROWS + 5)
    cache = JudgeCache(str(tmp_path))
    assert all_there(cache, 0, 3 * GROUP_ROWS + 5)
    assert cache.get_many(keys(10**6, 10**6 + 50)) == {}
    [segment] = cache._segments.values()
    assert segment.heads.nbytes + segment.places.nbytes == 12 * len(cache) == 12 * (3 * GROUP_ROWS + 5)


def test_small_segments_are_merged_on_the_way_and_nothing_is_lost(tmp_path: Path) -> None:
    cache = filled(tmp_path, 0, 120, flush_every=1)
    assert len(files(tmp_path)) < 2 * MERGE_FILES
    assert len(cache) == 120
    assert all_there(cache, 0, 120)
    assert all_there(JudgeCache(str(tmp_path)), 0, 120)


def test_what_many_short_runs_left_is_merged_before_the_next_and_repeated_answers_are_dropped(tmp_path: Path) -> None:
    for _ in range(2):
        for first in range(0, 2 * MERGE_FILES, 2):
            filled(tmp_path, first, first + 2)
    cache = JudgeCache(str(tmp_path))
    assert len(cache) == 4 * MERGE_FILES
    cache.tidy()
    assert len(files(tmp_path)) == 2
    again = JudgeCache(str(tmp_path))
    assert all_there(again, 0, 2 * MERGE_FILES)


def test_a_reader_follows_when_another_process_has_merged_the_files_it_knew(tmp_path: Path) -> None:
    for first in range(MERGE_FILES):
        filled(tmp_path, first, first + 1)
    reader, writer = JudgeCache(str(tmp_path)), JudgeCache(str(tmp_path))
    writer.tidy()
    assert len(files(tmp_path)) == 1
    assert all_there(reader, 0, MERGE_FILES)


def test_two_processes_that_merge_at_once_lose_nothing(tmp_path: Path) -> None:
    for first in range(3 * MERGE_FILES):
        filled(tmp_path, 2 * first, 2 * first + 2)
    caches = [JudgeCache(str(tmp_path)) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(JudgeCache.tidy, caches)) == [None, None]
    for cache in [*caches, JudgeCache(str(tmp_path))]:
        assert all_there(cache, 0, 6 * MERGE_FILES)
        assert cache.ignored == {}


def test_a_process_whose_files_were_all_merged_by_another_merges_nothing_and_finds_everything(tmp_path: Path) -> None:
    for first in range(MERGE_FILES):
        filled(tmp_path, first, first + 1)
    slow, fast = JudgeCache(str(tmp_path)), JudgeCache(str(tmp_path))
    fast.tidy()
    slow.tidy()
    assert len(files(tmp_path)) == 1
    assert all_there(slow, 0, MERGE_FILES)


def test_files_merged_between_their_listing_and_their_opening_are_found_where_they_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in range(MERGE_FILES):
        filled(tmp_path, first, first + 1)
    other = JudgeCache(str(tmp_path))
    listings: list[list[str]] = []
    listed = cache_segments.listed

    def merged_meanwhile(directory: str) -> list[str]:
        paths = listed(directory)
        if not listings:
            listings.append(paths)
            other.tidy()
        return paths

    monkeypatch.setattr(cache_segments, "listed", merged_meanwhile)
    cache = JudgeCache(str(tmp_path))
    assert len(listings) == 1
    assert all_there(cache, 0, MERGE_FILES)


def test_a_name_that_leads_nowhere_is_no_reason_to_list_for_ever(tmp_path: Path) -> None:
    filled(tmp_path, 0, 5)
    (tmp_path / "gone.parquet").symlink_to(tmp_path / "nowhere")
    assert all_there(JudgeCache(str(tmp_path)), 0, 5)


def test_a_merge_that_was_killed_before_it_deleted_its_parts_changes_nothing(tmp_path: Path) -> None:
    for first in range(MERGE_FILES):
        filled(tmp_path, first, first + 1)
    parts = {path: path.read_bytes() for path in files(tmp_path)}
    JudgeCache(str(tmp_path)).tidy()
    for path, content in parts.items():
        path.write_bytes(content)
    cache = JudgeCache(str(tmp_path))
    assert all_there(cache, 0, MERGE_FILES)
    cache.tidy()
    assert all_there(cache, 0, MERGE_FILES)
    assert (len(cache), len(files(tmp_path))) == (2 * MERGE_FILES, 2)


def test_new_answers_of_others_are_seen_without_opening_the_cache_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = JudgeCache(str(tmp_path))
    filled(tmp_path, 0, 5)
    assert first.get_many(keys(0, 5)) == {}  # listed a moment ago
    monkeypatch.setattr("wildreward.judge.cache.REFRESH_S", -1.0)
    assert all_there(first, 0, 5)


def test_files_that_are_cut_off_or_foreign_are_named_and_never_trusted(tmp_path: Path) -> None:
    filled(tmp_path, 0, 2000)
    [good] = files(tmp_path)
    (tmp_path / "cut.parquet").write_bytes(good.read_bytes()[:-100])
    (tmp_path / "empty.parquet").write_bytes(b"")
    (tmp_path / "text.parquet").write_text("PAR1 and nothing else")
    pq.write_table(pa.table({"key": [digest(9000)]}), tmp_path / "other.parquet")
    pq.write_table(pq.read_table(good), tmp_path / "groups.parquet", row_group_size=100)
    (tmp_path / "half.parquet.123.tmp").write_bytes(good.read_bytes()[:1000])
    cache = JudgeCache(str(tmp_path))
    assert {Path(path).stem for path in cache.ignored} == {"cut", "empty", "text", "other", "groups"}
    assert "other columns" in cache.ignored[str(tmp_path / "other.parquet")]
    assert all_there(cache, 0, 2000)
    cache.tidy()
    assert (tmp_path / "cut.parquet").exists()


def test_a_damaged_page_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    filled(tmp_path, 0, 5000)
    [path] = files(tmp_path)
    column = pq.read_metadata(path).row_group(4).column(7)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 255
    path.write_bytes(content)
    cache = JudgeCache(str(tmp_path))
    assert all_there(cache, 0, 4000)
    assert cache.get_many(keys(4500, 4600)) == {}
    assert list(cache.ignored) == [str(path)]


@pytest.mark.parametrize("wrong", [{"value": 6}, {"question": "refusal", "value": 5}, {"probs": (1.0,)}])
def test_a_value_outside_the_alphabet_is_never_an_answer(tmp_path: Path, wrong: dict[str, object]) -> None:
    cache = JudgeCache(str(tmp_path))
    cache.put(digest(1), replace(answer(1), **wrong))  # type: ignore[arg-type] # that is the point
    cache.flush()
    cache = JudgeCache(str(tmp_path))
    assert cache.get_many(keys(1, 2)) == {}
    assert len(cache.ignored) == 1


def test_the_whole_key_is_compared(tmp_path: Path) -> None:
    cache = filled(tmp_path, 0, 3)
    assert cache.get_many([digest(1)[:8] + bytes(8)]) == {}


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"--judge-cache .*file/cache: cannot be written"):
        JudgeCache(str(tmp_path / "file" / "cache")).tidy()
    cache = JudgeCache(str(tmp_path / "file" / "cache"))
    cache.put(digest(1), answer(1))
    with pytest.raises(DataError, match="cannot be written"):
        cache.flush()
    assert cache.pending == 1


def segment(name: int, rows: int, size_bytes: int = 0) -> Segment:
    heads = heads_of(keys(0, 1)).repeat(rows)
    return Segment(f"{name:03d}", size_bytes or rows, heads, heads)


def test_equal_sizes_are_merged_oldest_first_and_full_segments_never() -> None:
    assert to_merge([segment(n, 20) for n in range(MERGE_FILES - 1)]) == []
    small = [segment(n, 20 + n) for n in range(MERGE_FILES + 3)]
    assert to_merge(small[::-1]) == small[:MERGE_FILES]
    assert to_merge([segment(n, 2**16) for n in range(MERGE_FILES)]) == []
    assert len(to_merge([segment(n, 20, size_bytes=2**25) for n in range(MERGE_FILES)])) == 2
    mixed = [segment(n, 16**2 if n % 2 else 4000) for n in range(2 * MERGE_FILES)]
    assert len(to_merge(mixed)) == MERGE_FILES


def test_a_segment_on_another_filesystem_is_read_alike() -> None:
    cache = JudgeCache("memory://judge-cache-test")
    for number in range(MERGE_FILES + 1):
        cache.put(digest(number), answer(number))
        cache.flush()
    assert len(cache_segments.listed("memory://judge-cache-test")) == 2
    assert all_there(JudgeCache("memory://judge-cache-test"), 0, MERGE_FILES + 1)
