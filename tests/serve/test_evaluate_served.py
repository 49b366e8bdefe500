"""The same checkpoint has the same scores through evaluate however it is reached: loaded, over HTTP, by its handle."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wildreward.cli import main
from wildreward.reward_model import RewardModel

TOLERANCE = 5e-5
"""The served model has other kernels than the one asked directly, and these random weights are large on purpose."""

REPLIES = ["word " * (i * 7 % 60) + str(i) for i in range(24)]


def _talk(reply: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "question"}, {"role": "assistant", "content": reply}]


def test_checkpoint_http_and_handle_agree(
    scorer_url: str, checkpoint: Path, model: RewardModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": "question", "chosen": REPLIES[i], "rejected": REPLIES[i - 1]} for i in range(len(REPLIES))]
    pairs = tmp_path / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(rows), pairs)
    ways = {
        "checkpoint": ["--checkpoint", str(checkpoint)],
        "url": ["--url", scorer_url],
        "handle": ["--handle", "wildreward"],
    }
    expected = model.score([_talk(reply) for reply in REPLIES])
    for way, flags in ways.items():
        output = tmp_path / way
        given = ["--input", str(pairs), "--output", str(output), "--bootstrap", "0"]
        assert main(["evaluate", *flags, *given]) == 0
        items = pq.read_table(output / "items" / "pairs.parquet").to_pylist()
        for name in ("score", "uncertainty", "logit", "tokens"):
            wanted = [getattr(score, name) for score in expected]
            assert [item[f"{name}_chosen"] for item in items] == pytest.approx(wanted, abs=TOLERANCE), (way, name)
        probs = [item["probs_chosen"] for item in items]
        assert [p for row in probs for p in row] == pytest.approx(
            [p for s in expected for p in s.probs or ()], abs=TOLERANCE
        )
    assert "24 different replies with scores" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "checkpoint"), str(tmp_path / "url"), str(tmp_path / "handle")]) == 0
    shown = capsys.readouterr().out
    assert shown.count("+0.000 [+0.000, +0.000]  1.000  no difference") >= 2 * 2
    assert not [line for line in shown.splitlines() if line.endswith(("better", "worse"))]


@pytest.mark.usefixtures("ray_cluster")
def test_an_application_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    given = ["--input", str(pairs), "--output", str(tmp_path / "out")]
    assert main(["evaluate", "--handle", "nobody", *given]) == 1
    assert "--handle nobody: no scorer answers there" in capsys.readouterr().err
