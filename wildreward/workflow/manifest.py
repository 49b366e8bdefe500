"""manifest.json of a run: for each stage its state, settings, inputs, code version and outputs."""

import hashlib
import json
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from wildreward import __version__, storage
from wildreward.cli import ROOT
from wildreward.errors import DataError
from wildreward.logs import run_id
from wildreward.origin import changed
from wildreward.workflow.plan import Step

NAME = "manifest.json"
PACKAGES = ("wildreward", "pipelines", "train", "serve", "rl", "tune")
DONE = "done"


@dataclass
class Manifest:
    """The stages of the last plan, by name."""

    path: str
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def load(cls, output: str) -> "Manifest":
        """An empty one where there is none. Raises DataError for a file that is no manifest."""
        path = storage.join(output, NAME)
        if not storage.exists(path):
            return cls(path)
        try:
            return cls(path, dict(json.loads(storage.read_text(path))["stages"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not the manifest of a run ({error}); take another --output") from error

    def state(self, step: Step) -> str:
        """done, interrupted, failed, changed (done with other settings or inputs) or new."""
        entry = self.stages.get(step.name)
        if entry is None:
            return "new"
        if entry["key"] != step.key:
            return "changed"
        if entry["state"] == DONE and not storage.exists(entry["output"]):
            return "new"
        return "interrupted" if entry["state"] == "running" else str(entry["state"])

    def differing(self, step: Step) -> list[str]:
        """Settings and inputs of a changed stage that are not what they were."""
        then = self.stages[step.name]
        now = step.settings.model_dump(mode="json")
        settings = [
            name for name, value in now.items() if name != "output" and then["settings"].get(name, value) != value
        ]
        files = len(changed(then["inputs"], step.inputs))
        return settings + [f"{files} input file{'s' * (files != 1)}"] * bool(files)

    def begin(self, step: Step) -> None:
        self.stages[step.name] = {
            "state": "running",
            "key": step.key,
            "output": step.output,
            "run_id": run_id(),
            "code": code_version(),
            "inputs": step.inputs,
            "settings": step.settings.model_dump(mode="json"),
            "started": _now(),
        }
        self._write()

    def end(self, step: Step, seconds: float, error: str | None = None) -> None:
        entry = self.stages[step.name]
        entry |= {"state": "failed" if error else DONE, "ended": _now(), "seconds": round(seconds, 1)}
        entry |= {"error": error} if error else {"files": made_files(step.output)}
        self._write()

    def _write(self) -> None:
        text = json.dumps({"stages": self.stages}, indent=2, ensure_ascii=False)
        storage.write_text(self.path, text + "\n")


def made_files(output: str) -> dict[str, int]:
    """How many files a stage left, and their bytes."""
    fs, inner = storage.filesystem(output)
    found = fs.find(inner, detail=True) if fs.exists(inner) else {}
    return {"count": len(found), "bytes": sum(int(info.get("size") or 0) for info in found.values())}


@cache
def code_version() -> dict[str, str | None]:
    """Version, git commit (null outside a checkout, "+" where it was changed), and a hash of the source files."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return {"version": __version__, "commit": _commit(), "source": digest.hexdigest()[:12]}


def _commit() -> str | None:
    if not (ROOT / ".git").exists():
        return None
    try:
        said = [
            subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.CalledProcessError):  # no git here, or a checkout of somebody else's
        return None
    return said[0] + "+" * bool(said[1])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
