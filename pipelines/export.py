"""`label --export jsonl`: wildfb/{train,test}/*.parquet -> export/{train,test}-*.jsonl, one task a file.

Line n of an exported file is row n of the parquet file with the same part number. An export asks no judge and makes no
row: a finished output gets one by the same command with --export.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pyarrow.parquet as pq

from pipelines.label_state import LabelState
from wildreward import storage
from wildreward.export import json_line, read_template, wildfb_record
from wildreward.progress import Progress
from wildreward.settings.label import LabelSettings

FOLDER = "export"
COLUMNS = ["conversation_hash", "turn", "messages", "follow_up", "label"]
BATCH_ROWS = 256


@dataclass(frozen=True)
class Export:
    """What is to be exported from an output, and with which template."""

    output: str
    formats: tuple[str, ...]
    template: str

    @classmethod
    def of(cls, settings: LabelSettings) -> Self:
        """Raises UsageError for a template that cannot be used, before anything is judged."""
        template = read_template(settings.export_template) if settings.export else ""
        return cls(settings.output, settings.export, template)

    def done(self, state: LabelState) -> bool:
        """Whether the export is there, made from these rows; with nothing to export it always is."""
        if not self.formats:
            return True
        return storage.exists(self._marker) and json.loads(storage.read_text(self._marker)) == self._made_from(state)

    def write(self, state: LabelState) -> None:
        """Write every file anew, and then the marker. Does nothing when it is done."""
        import ray

        if self.done(state):
            return
        discard(self.output)
        task = ray.remote(_write_jsonl).options(name="WriteJsonl")
        writing: list[Any] = [task.remote(source, target, self.template) for source, target in self._files()]
        with Progress("label: export", total=len(writing)) as progress:
            for made in writing:
                ray.get(made)
                progress.advance()
        storage.write_text(self._marker, json.dumps(self._made_from(state), ensure_ascii=False) + "\n")

    def _files(self) -> Iterator[tuple[str, str]]:
        """Parquet file of rows -> the file it becomes."""
        for side in ("train", "test"):
            for source in storage.expand([storage.join(self.output, "wildfb", side)], [".parquet"]):
                part = source.rpartition("/")[2].removesuffix(".parquet").removeprefix("part-")
                yield source, storage.join(self.output, FOLDER, f"{side}-{part}.jsonl")

    def _made_from(self, state: LabelState) -> Mapping[str, Any]:
        return {"rows": state.rows, "formats": list(self.formats), "template": self.template}

    @property
    def _marker(self) -> str:
        return marker(self.output)


def marker(output: str) -> str:
    return storage.join(output, ".state", "export.json")


def discard(output: str) -> None:
    """Delete what was exported: its rows are about to change."""
    storage.remove(marker(output))
    storage.remove(storage.join(output, FOLDER))


def _write_jsonl(source: str, target: str, template: str) -> None:
    """Row by row, so that memory does not grow with the file; a retried task overwrites itself with the same bytes."""
    with storage.open_file(source) as handle, pq.ParquetFile(handle) as rows, storage.writing(target) as lines:
        for batch in rows.iter_batches(BATCH_ROWS, columns=COLUMNS):
            for row in batch.to_pylist():
                lines.write(json_line(wildfb_record(row, template)))
