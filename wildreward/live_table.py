"""A table that grows a line at a time, for a run that is watched: its header comes again after every screenful."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

REPEAT_HEADER = 20


@dataclass(frozen=True)
class Column:
    """`name` is the header, `key` the value's name in a row, `form` a format string for it."""

    name: str
    key: str
    form: str
    width: int = 7


class LiveTable:
    """Rows are mappings; a value that is not there is a dash."""

    def __init__(self, columns: Sequence[Column], stream: TextIO | None = None) -> None:
        self._columns, self._stream, self._rows = columns, stream, 0

    def row(self, values: Mapping[str, Any]) -> None:
        if self._rows % REPEAT_HEADER == 0:
            self._print([column.name for column in self._columns])
        self._rows += 1
        self._print([c.form.format(values[c.key]) if c.key in values else "-" for c in self._columns])

    def _print(self, cells: Sequence[str]) -> None:
        text = " ".join(cell.rjust(column.width) for cell, column in zip(cells, self._columns, strict=True))
        print(text, file=self._stream or sys.stdout, flush=True)
