"""label against a judge that fails in every way: 10 percent HTTP 500, 5 percent 429, 5 percent garbage, stalls of 5 s.

    python -m tests.benchmarks.judge_faults [--turns 2000]

Checks that every turn is labelled or counted as an error, that every label is what the server gives to that turn,
and that the requests at the server are the attempts in the rows. Prints one line of JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from pipelines.label import run
from tests.benchmarks.judge_throughput import TURNS_EACH, check, conversation, server, stats
from tests.pipelines.label_chats import rows, summary
from wildreward.settings.label import LabelSettings

FAULTS = {
    "latency_s": 0.05, "error_frac": 0.1, "limit_frac": 0.05, "retry_after_s": 0.5, "garbage_frac": 0.05,
    "stall_frac": 0.01, "stall_s": 5.0,
}  # fmt: skip
TIMEOUT_S = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=2000)
    conversations = parser.parse_args().turns // TURNS_EACH
    with server(**FAULTS) as url, tempfile.TemporaryDirectory() as folder:
        chats, output = Path(folder, "chats.jsonl"), Path(folder, "labels")
        chats.write_text("".join(json.dumps(conversation(number)) + "\n" for number in range(conversations)))
        started = time.monotonic()
        run(
            LabelSettings(
                input=(str(chats),), output=str(output), address="local", judge="openai", judge_url=(url,),
                judge_model="digest", judge_timeout_s=TIMEOUT_S, hindsight_window_turns=0, filters=("none",),
            )
        )  # fmt: skip
        seconds = time.monotonic() - started
        asked, counts, made = stats(url), summary(output), rows(output / "feedback")
    labelled = [turn for row in made for turn in row["turns"] if turn["level"] is not None]
    errors = [turn["error"] for row in made for turn in row["turns"] if turn["error"] is not None]
    attempts = sum(turn["attempts"] for row in made for turn in row["turns"])
    assert len(labelled) == counts["turns"]["labelled"]
    assert len(errors) == sum(counts["turns"]["errors"].values())
    assert len(labelled) + len(errors) == counts["turns"]["in"] == conversations * TURNS_EACH
    assert attempts == counts["judge"]["attempts"] == asked["requests"]
    check([row | {"turns": [turn for turn in row["turns"] if turn["level"] is not None]} for row in made])
    print(json.dumps({"turns": counts["turns"], "requests": asked["requests"], "attempts": attempts,
                      "at_the_server": asked["outcomes"], "seconds": round(seconds, 1)}))  # fmt: skip


if __name__ == "__main__":
    main()
