"""--retry-errors: only conversations in which an answer failed are judged again."""

from pathlib import Path

import pytest

from pipelines.label import run
from pipelines.label_state import LabelState
from pipelines.retry_errors import failed, take_back
from tests.judge_server import Behaviour, judge_server
from tests.pipelines.label_chats import openai, rows, settings, summary, write_chats
from wildreward import storage

pytestmark = pytest.mark.usefixtures("ray_cluster")


def turns_with_errors(output: Path) -> dict[str, int]:
    return {
        row["row_id"]: errors
        for row in rows(output / "feedback")
        if (errors := sum(turn["error"] is not None for turn in row["turns"]))
    }


def test_failed_answers_are_asked_again_what_they_cost_is_kept_and_an_interruption_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chats, output = write_chats(tmp_path / "chats", rows=12), tmp_path / "out"
    with judge_server(Behaviour(garbage_frac=0.3)) as server:
        given = openai(server.url) | {"judge_max_reasks": 0, "usd_per_million_input": 1, "usd_per_million_output": 1}
        run(settings(chats, output, **given))
        first, bad, asked = summary(output)["cost"], turns_with_errors(output), server.stats.as_dict()["requests"]
    assert 3 < len(bad) < 24
    assert first["requests"] == asked
    assert first["usd"] == (first["prompt_tokens"] + first["completion_tokens"]) / 1e6 > 0

    again = settings(chats, output, **given, retry_errors=True)
    state = LabelState.open(again, storage.expand(again.input, [".jsonl"]))
    ids, spent = failed(str(output / "feedback"))
    assert spent["conversations"] == len(bad) == len(ids)
    state.retry_started(spent)
    take_back(ids[:2], str(output / "feedback"), state.checkpoint)  # and here the driver is killed

    with judge_server() as server:
        given |= openai(server.url)
        run(settings(chats, output, **given))  # another run finishes what was begun
        asked += server.stats.as_dict()["requests"]
        assert server.stats.as_dict()["requests"] == sum(bad.values())  # their good answers are in the judge cache
    done = summary(output)
    assert done["turns"]["errors"] == turns_with_errors(output) == {}
    assert len(rows(output / "feedback")) == done["conversations"]["kept"] == 24
    assert (done["cost"]["requests"], done["cost"]["discarded_requests"]) == (asked, 2 * len(bad))
    capsys.readouterr()
    run(settings(chats, output, **given, retry_errors=True))
    said = capsys.readouterr().out
    assert "complete and has no errors; nothing to do" in said
    assert f"judge: {asked} requests ({2 * len(bad)} of them taken back)" in said
