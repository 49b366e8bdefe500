"""What an earlier `label` run left in --output: whether its judgements can be continued, its rows kept.

The settings that cost money (who judges, with which questions, and the topic measure) are fixed for one output; the
input may grow (see pipelines.label_input); all else may change, and only the rows are made again.
"""

import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pipelines.label_input import INPUT_KEYS, describe_input, refuse_other_input
from wildreward import storage
from wildreward.errors import UsageError
from wildreward.settings.label import LabelSettings

OWNED = ("feedback", "quarantine", "wildfb", "export", "summary.json", "report.html", "settings.yaml", ".state")
"""What a run writes to its output, and --overwrite deletes, apart from the judge cache."""

JUDGE_CACHE = "judge_cache"
"""Name of the judge cache in .state. It outlives --overwrite: what was paid for is not paid for again."""

JUDGE_SETTINGS = (
    "judge",
    "refusal_validation",
    "refusal_max_chars",
    "refusal_opening_chars",
    "embedder",
    "hindsight_window_turns",
)
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
    "max_identity_units",
    "filter_edge_chars",
    "languages",
    "max_quarantined_frac",
    "drop_duplicate_prompts",
    "near_duplicate_similarity",
    "max_rows_per_user",
    "usd_per_million_input",
    "usd_per_million_output",
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
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Names the run in the judge cache; kept when it is continued."""
    discarded: dict[str, int] = field(default_factory=dict)
    """What was spent on judgements that --retry-errors took back: requests and tokens."""
    retrying: bool = False
    """Judgements are being taken back: an interruption in between is finished by the next run, whatever its flags."""

    @classmethod
    def open(cls, settings: LabelSettings, files: Sequence[str]) -> Self:
        """Compare with what is in --output, deleting it with --overwrite. Raises UsageError naming what differs."""
        if settings.overwrite:
            _delete_results(settings.output)
        feedback = {"settings": expensive_settings(settings)} | describe_input(settings, files)
        rows = {"feedback": feedback, "settings": settings.model_dump(mode="json", include=set(ROW_SETTINGS))}
        state = cls(settings.output, feedback, rows)
        earlier = state._read("feedback.json")
        if earlier is None:
            state._refuse_foreign()
            state._save_feedback()
            return state
        state.run = earlier.get("run", state.run)
        _refuse_other_judge(settings.output, earlier["settings"], feedback["settings"])
        refuse_other_input(settings.output, earlier, feedback)
        state.discarded = earlier.get("discarded", {})
        state.retrying = earlier.get("retrying", False)
        state.feedback_done = bool(earlier["done"]) and all(earlier[key] == feedback[key] for key in INPUT_KEYS)
        state.feedback_seconds = earlier["seconds"] if state.feedback_done else 0.0
        state.rows_done = state.feedback_done and state._read("rows.json") == state.rows
        if not state.feedback_done:
            state._save_feedback()
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
        self.feedback_done, self.feedback_seconds = True, seconds
        self._save_feedback()

    def retry_started(self, spent: Mapping[str, int]) -> None:
        """From here on until `retry_ready` some judgements with errors may be gone; `spent` is what all had cost."""
        if not self.retrying:  # a run that finishes what another began finds less of them
            self.discarded = dict(Counter(self.discarded) + Counter(spent))
            self.run = uuid.uuid4().hex  # all they had cost is discarded: what the cache gives back is on no account
        self.retrying = True
        self.feedback_done = self.rows_done = False
        self._save_feedback()
        self.rows_started()

    def retry_ready(self) -> None:
        """The judgements with errors are gone."""
        self.retrying = False
        self._save_feedback()

    def feedback_lost(self) -> None:
        """Files of feedback/ are gone: not done before their conversations are judged again, even if that is killed."""
        self.feedback_done = self.rows_done = False
        self._save_feedback()

    def rows_started(self) -> None:
        """From here on the rows of an earlier run may be gone."""
        storage.remove(self._path("rows.json"))

    def rows_finished(self) -> None:
        self._write("rows.json", self.rows)

    def _save_feedback(self) -> None:
        progress: dict[str, Any] = {"done": self.feedback_done, "seconds": self.feedback_seconds, "run": self.run}
        spent = {"retrying": self.retrying, "discarded": self.discarded}
        self._write("feedback.json", self.feedback | progress | spent)

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


def _delete_results(output: str) -> None:
    for name in OWNED:
        path = storage.join(output, name)
        for part in storage.children(path) if name == ".state" else [path]:
            if not part.endswith(f"/{JUDGE_CACHE}"):
                storage.remove(part)


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


def _refuse_other_judge(output: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Settings that were not written down then, because they came later, had their default."""
    earlier = {name: field.default for name, field in LabelSettings.model_fields.items() if name in now} | dict(then)
    pairs = {name: (earlier.get(name), now.get(name)) for name in [*now, *earlier]}
    differing = [f"{name}: {before} -> {after}" for name, (before, after) in pairs.items() if before != after]
    if differing:
        raise UsageError(
            f"--output {output}: was judged with other settings: {'; '.join(differing)}. "
            "Give its settings to continue it, another --output, or --overwrite to delete it and judge again"
        )
