"""`wildreward label`: conversations -> judged feedback -> WildFB rows with a train and a test side.

    python -m pipelines.label --input chats/ --output runs/label          # judged by the built-in lexicon
    python -m pipelines.label --input chats/ --output runs/label --judge openai --judge-url URL --judge-model NAME
    python -m pipelines.label --input chats/ --dry-run ...                # what would be asked, and what it would cost

The same command again continues what was interrupted, makes only the rows again when only cheap settings changed, and
does nothing when all is done.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from pipelines.conversation_files import SUFFIXES
from pipelines.export import Export, discard
from pipelines.label_state import LabelState
from wildreward import storage
from wildreward.card import write_card
from wildreward.cluster import stage_cluster
from wildreward.cost import Spent, cost_lines
from wildreward.errors import UsageError
from wildreward.funnel import Funnel, funnel_lines
from wildreward.label_report import label_report
from wildreward.logs import run_id
from wildreward.resources import Ask, require
from wildreward.scale import LEVEL_NAMES
from wildreward.settings.label import LabelSettings


def run(settings: LabelSettings) -> None:
    """Run or continue. Raises UsageError before anything starts, JudgeError when the judge cannot be used."""
    if not settings.input:
        raise UsageError("label: input is required (--input)")
    if not settings.output and not settings.dry_run:
        raise UsageError("label: output is required (--output)")
    files = storage.expand(settings.input, SUFFIXES)
    if settings.dry_run:
        _dry_run(settings, files)
        return
    export = Export.of(settings)
    state = LabelState.open(settings, files)
    if state.rows_done and not settings.retry_errors and export.done(state):
        print(f"label: {settings.output} is complete; nothing to do")
    else:
        storage.write_text(storage.join(settings.output, "settings.yaml"), settings.to_yaml())
        with stage_cluster("label", settings):
            if not state.rows_done or settings.retry_errors:
                _label(settings, state, files)
            export.write(state)
    summary = json.loads(storage.read_text(storage.join(settings.output, "summary.json")))
    sample = {"limit": settings.limit, "sample_frac": settings.sample_frac}
    write_card(settings, summary, {**state.feedback["settings"], **state.rows["settings"], **sample})
    print(_closing(settings, summary))


def _dry_run(settings: LabelSettings, files: list[str]) -> None:
    from pipelines.dry_run import estimate

    with stage_cluster("label", settings, here_only={"output"}):
        print(estimate(settings, files))


def _label(settings: LabelSettings, state: LabelState, files: list[str]) -> None:
    from pipelines.feedback_files import lost
    from pipelines.wildfb import write_rows

    judges = Ask("judge actor", settings.judge_actors, {"CPU": 0, "GPU": settings.judge_gpus_per_actor})
    require("label", [Ask("reading task", 1, {"CPU": 1}), judges])
    if state.retrying:
        _take_back_errors(state)
    if state.feedback_done and lost(storage.join(settings.output, "feedback")):
        state.feedback_lost()
    session = _judge(settings, state, files)
    if settings.retry_errors and _take_back_errors(state):  # now that no file is left half written
        session = _judge(settings, state, files)
    if state.rows_done:
        print(f"label: {settings.output} is complete and has no errors; nothing to do")
        return
    started = time.monotonic()
    storage.remove(state.staging)
    funnel = write_rows(settings, state.staging)
    seconds = {"feedback": state.feedback_seconds, "rows": time.monotonic() - started}
    publish(settings, state, funnel, seconds, session)


def _judge(settings: LabelSettings, state: LabelState, files: list[str]) -> Mapping[str, float] | None:
    """Judge what is not judged yet; what the judges counted, where they are asked over HTTP."""
    from pipelines.feedback import write_feedback

    if state.feedback_done:
        return None
    started = time.monotonic()
    news = write_feedback(settings, files, state.checkpoint, state.run)
    state.feedback_finished(time.monotonic() - started)
    if news is None:
        return None
    print(*news.lines(), sep="\n")
    return news.stats


def _take_back_errors(state: LabelState) -> int:
    """Make conversations in which an answer failed unjudged again; how many."""
    from pipelines.retry_errors import failed, take_back

    feedback = storage.join(state.output, "feedback")
    ids, spent = failed(feedback)
    if len(ids):
        print(f"label: {len(ids):,} conversations in which an answer failed are judged again")
        state.retry_started(spent)
        take_back(ids, feedback, state.checkpoint)
    if state.retrying:
        state.retry_ready()
    return len(ids)


def publish(
    settings: LabelSettings,
    state: LabelState,
    funnel: Funnel,
    seconds: dict[str, float],
    session: Mapping[str, float] | None = None,
) -> None:
    """Put the rows in their places, report and summary beside them, and mark the run done.

    `session`: what the judges counted if this process asked them; it is for the report alone, since a run that was
    interrupted had several.

    summary.json goes first and comes last: where it is, all of the output belongs together. On a local disk a folder is
    replaced by renames, so that a reader finds all of its files or none; on an object store its objects are copied, and
    the files' own numbers (`part-00000-of-00003`) tell readers whether all are there.
    """
    summary: dict[str, Any] = funnel.summary() | {
        "run_id": run_id(),
        "cost": Spent.of_run(funnel.judge, state.discarded, settings).summary(),
        "seconds": {name: round(s, 2) for name, s in seconds.items()},
    }
    state.rows_started()
    for name in ("summary.json", "report.html"):
        storage.remove(storage.join(state.output, name))
    discard(state.output)
    for folder in ("wildfb", "quarantine"):
        final = storage.join(state.output, folder)
        _clear(final, storage.join(state.staging, "replaced", folder))
        _move(storage.join(state.staging, folder), final)
    shown = summary | ({"judge_session": session} if session else {})
    report = label_report(shown, settings.classes, funnel.timeline, funnel.samples)
    storage.write_text(storage.join(state.output, "report.html"), report.html())
    storage.write_text(
        storage.join(state.output, "summary.json"), json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    )
    storage.remove(state.staging)
    state.rows_finished()


def _clear(folder: str, aside: str) -> None:
    """Take a folder away: at once where that can be, since a reader in the middle would find the half of it."""
    if not storage.is_local(folder):
        storage.remove(folder)
    elif storage.exists(folder):
        _move(folder, aside)


def _move(source: str, target: str) -> None:
    fs, start = storage.filesystem(source)
    _, end = storage.filesystem(target)
    if storage.is_local(source):
        os.makedirs(os.path.dirname(end), exist_ok=True)
        os.rename(start, end)
        return
    fs.invalidate_cache()  # the workers wrote these files
    for path in fs.find(start):
        fs.mv(path, end + path.removeprefix(start))


def _closing(settings: LabelSettings, summary: dict[str, Any]) -> str:
    """What happened, and where the files are."""
    output = settings.output
    levels = summary["levels"]
    shares = [
        f"  {level} {name:<22}{levels['judged'][str(level)]:>9,}{levels['refined'][str(level)]:>9,}"
        for level, name in LEVEL_NAMES.items()
    ]
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in summary["seconds"].items())
    lines = [
        *funnel_lines(summary),
        f"{'levels':<24}   judged  refined",
        *shares,
        *_probabilities(settings, summary),
        *cost_lines(summary["cost"]),
        f"time: {times}",
        f"rows: {storage.join(output, 'wildfb')}/train, /test   report: {storage.join(output, 'report.html')}",
    ]
    return "\n".join(lines)


def _probabilities(settings: LabelSettings, summary: dict[str, Any]) -> list[str]:
    """Where log-probabilities were asked for: how many labels came with them, and what it means when some did not."""
    if not settings.judge_logprobs:
        return []
    labelled, given = summary["turns"]["labelled"], summary["judge"].get("level_probs", 0)
    lacking = "" if given == labelled else "; the judge gave no usable log-probabilities for the others"
    return [f"level_probs: {given:,} of {labelled:,} labelled turns{lacking}"]


if __name__ == "__main__":
    from wildreward.cli import main

    raise SystemExit(main(["label", *sys.argv[1:]]))
