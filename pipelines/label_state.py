"""What an earlier `label` run left in --output: whether its judgements can be continued, its rows kept.

The settings that cost money (who judges, with which questions, and the topic measure) are fixed for one output; the
input may grow; all else may change, and only the rows are made again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pipelines.conversation_files import size_bytes
from wildreward import storage
from wildreward.errors import UsageError
from wildreward.settings.label import LabelSettings

OWNED = ("feedback", "quarantine", "wildfb", "export", "summary.json", "report.html", "settings.yaml", ".state")
"""What a run writes to its output, and --overwrite deletes."""

JUDGE_SETTINGS = ("judge", "refusal_validation", "embedder", "hindsight_window_turns")
MODEL_SETTINGS = (
    "judge_model",
    "judge_temperature",
    "judge_max_tokens",
    "judge_extra_body",
    "judge_logprobs",
    "judge_history_turns",
)
"""Of judges that are language models: what the answer depends on. Where and how fast it is asked does not matter."""

ROW_SETTINGS = (
    "hindsight_min_similarity",
    "filters",
    "min_prompt_units",
    "min_response_units",
    "max_history_messages",
    "max_total_units",
    "languages",
    "class_map",
    "test_rows",
    "seed",
    "report_samples",
)
"""What the rows depend on besides the feedback: another value makes the rows again, and asks no judge."""


@dataclass
class LabelState:
    """The files under .state/: the row checkpoint, and what the feedback and the rows there were made from."""

    output: str
    feedback: dict[str, Any]
    rows: dict[str, Any]
    feedback_done: bool = False
    rows_done: bool = False
    feedback_seconds: float = 0.0

    @classmethod
    def open(cls, settings: LabelSettings, files: Sequence[str]) -> Self:
        """Compare with what is in --output, deleting it with --overwrite. Raises UsageError naming what differs."""
        if settings.overwrite:
            for name in OWNED:
                storage.remove(storage.join(settings.output, name))
        feedback = _made_from(settings, files)
        rows = {"feedback": feedback, "settings": settings.model_dump(mode="json", include=set(ROW_SETTINGS))}
        state = cls(settings.output, feedback, rows)
        earlier = state._read("feedback.json")
        if earlier is None:
            state._refuse_foreign()
            state._write("feedback.json", state.feedback | {"done": False, "seconds": 0.0})
            return state
        _refuse_other_judge(settings.output, earlier["settings"], state.feedback["settings"])
        _refuse_other_input(settings.output, earlier, state.feedback)
        same_input = earlier["files"] == state.feedback["files"] and earlier["limit"] == state.feedback["limit"]
        state.feedback_done = bool(earlier["done"]) and same_input
        state.feedback_seconds = earlier["seconds"] if state.feedback_done else 0.0
        state.rows_done = state.feedback_done and state._read("rows.json") == state.rows
        if not state.feedback_done:
            state._write("feedback.json", state.feedback | {"done": False, "seconds": 0.0})
        return state

    @property
    def checkpoint(self) -> str:
        """Directory of Ray Data's row checkpoint."""
        return self._path("checkpoint")

    @property
    def staging(self) -> str:
        """Where the rows are written before they are published."""
        return self._path("staging")

    def feedback_finished(self, seconds: float) -> None:
        """Every conversation of the input is in feedback/; `seconds` is what the last session took."""
        self._write("feedback.json", self.feedback | {"done": True, "seconds": seconds})
        self.feedback_done, self.feedback_seconds = True, seconds

    def rows_started(self) -> None:
        """From here on the rows of an earlier run may be gone."""
        storage.remove(self._path("rows.json"))

    def rows_finished(self) -> None:
        self._write("rows.json", self.rows)

    def _refuse_foreign(self) -> None:
        for name in ("feedback", "wildfb", "quarantine"):
            if storage.exists(storage.join(self.output, name)):
                raise UsageError(
                    f"--output {self.output}: has a {name}/ that no label run left there; "
                    "use another directory, or --overwrite to delete it"
                )

    def _path(self, name: str) -> str:
        return storage.join(self.output, ".state", name)

    def _read(self, name: str) -> Any:
        return json.loads(storage.read_text(self._path(name))) if storage.exists(self._path(name)) else None

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        storage.write_text(self._path(name), json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def expensive_settings(settings: LabelSettings) -> dict[str, Any]:
    """What a judgement depends on, with the version of the questions."""
    if settings.judge == "lexicon":
        from wildreward.judge.lexicon import LexiconJudge

        return {name: getattr(settings, name) for name in JUDGE_SETTINGS} | {
            "prompt_version": LexiconJudge().prompt_version
        }
    from wildreward.judge.prompts import VERSION

    names = (*JUDGE_SETTINGS, *MODEL_SETTINGS, *(("judge_constrain",) if settings.judge == "vllm" else ()))
    return {name: getattr(settings, name) for name in names} | {"prompt_version": VERSION}


def _made_from(settings: LabelSettings, files: Sequence[str]) -> dict[str, Any]:
    sizes = {path: size_bytes(path) for path in files}
    return {"settings": expensive_settings(settings), "files": sizes, "limit": settings.limit}


def _refuse_other_judge(output: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    names = dict.fromkeys([*now, *then])
    differing = [f"{name}: {then.get(name)} -> {now.get(name)}" for name in names if then.get(name) != now.get(name)]
    if differing:
        raise UsageError(
            f"--output {output}: was judged with other settings: {'; '.join(differing)}. "
            "Give its settings to continue it, another --output, or --overwrite to delete it and judge again"
        )


def _refuse_other_input(output: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Judged conversations cannot be taken back: files may be added and the limit raised, nothing else."""
    changed = [path for path, size in then["files"].items() if now["files"].get(path) != size]
    lowered = now["limit"] is not None and (then["limit"] is None or now["limit"] < then["limit"])
    if changed or lowered:
        what = f"{changed[0]} is gone or has changed" if changed else f"limit: {then['limit']} -> {now['limit']}"
        raise UsageError(
            f"--output {output}: was made from other input: {what}. "
            "Use another --output, or --overwrite to delete it and judge again"
        )
