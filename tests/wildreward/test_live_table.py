"""A table that is watched for hours has its header in sight."""

import io

from wildreward.live_table import REPEAT_HEADER, Column, LiveTable


def test_the_header_comes_again_and_what_is_not_there_is_a_dash() -> None:
    stream = io.StringIO()
    table = LiveTable([Column("step", "step", "{}", 4), Column("loss", "loss", "{:.2f}", 6)], stream)
    for step in range(REPEAT_HEADER + 1):
        table.row({"step": step} | ({"loss": 0.5} if step else {}))
    lines = stream.getvalue().splitlines()
    assert lines[:3] == ["step   loss", "   0      -", "   1   0.50"]
    assert [place for place, line in enumerate(lines) if "loss" in line] == [0, REPEAT_HEADER + 1]
