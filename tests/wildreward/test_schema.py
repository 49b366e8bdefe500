"""The documented schemas: every column has a meaning, and a table has them whatever is null."""

import io

import pyarrow.parquet as pq
import pytest

from wildreward.schema import (
    FEEDBACK,
    FEEDBACK_COLUMNS,
    JUDGED_TURN,
    JUDGED_TURN_COLUMNS,
    QUARANTINE,
    QUARANTINE_COLUMNS,
    WILDFB,
    WILDFB_COLUMNS,
    table,
)


def test_every_column_is_documented_in_words_of_its_own() -> None:
    for columns in (JUDGED_TURN_COLUMNS, FEEDBACK_COLUMNS, QUARANTINE_COLUMNS, WILDFB_COLUMNS):
        assert all(len(column.meaning) >= 8 and "|" not in column.meaning for column in columns)
        assert len({column.name for column in columns}) == len(columns)
    assert [field.name for field in JUDGED_TURN] == [column.name for column in JUDGED_TURN_COLUMNS]


@pytest.mark.parametrize("schema", [FEEDBACK, QUARANTINE, WILDFB], ids=["feedback", "quarantine", "wildfb"])
@pytest.mark.parametrize("rows", [[], [{}], [{}, {}]], ids=["empty", "all null", "two"])
def test_a_written_table_has_the_schema_whatever_is_null(schema: object, rows: list[dict[str, object]]) -> None:
    buffer = io.BytesIO()
    pq.write_table(table(rows, schema), buffer)
    assert pq.read_schema(buffer).equals(schema)


def test_turns_without_any_error_level_or_verdict_keep_their_types() -> None:
    made = table([{"turns": [{"turn": 0}]}, {"turns": None}], FEEDBACK)
    assert made.schema.equals(FEEDBACK)
    with pytest.raises(ValueError, match="unknown columns"):
        table([{"levels": 3}], FEEDBACK)
