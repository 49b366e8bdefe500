"""Turns a second that the HTTP judge makes of a judge's latency and of the requests it may have in flight.

    python -m tests.benchmarks.judge_throughput [--turns 10000] [--latency-s 0.05] [--concurrency 64]

The server is deterministic, a process of its own, real HTTP on loopback. Three ways to the same answers, one after the
other: the judge stage alone (blocks through `JudgeTurns`, no Ray), the `openai` package in its place (the judge of
before; `--ways openai`, where it is installed), and `wildreward label` from start to end on a local cluster. Every
label is compared with the server's rule. Prints one line of JSON: `turns_per_s` is from the first request at the server
to its last answer, `of_permitted` its ratio to what latency and concurrency permit.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.judge_metrics import JudgeMetrics
from pipelines.judging import JudgeTurns, judge_turns, turn_text
from pipelines.label import run
from tests.judge_server import by_digest
from tests.pipelines.label_chats import rows, summary
from wildreward.judge import prompts, replies
from wildreward.judge.types import RefusalVerdict, TurnText, Verdict
from wildreward.schema import FEEDBACK, table
from wildreward.settings.label import LabelSettings

TURNS_EACH = 4
BLOCK_ROWS = 64
REPLY = "The machine number {n} works in {t} steps, which I will now explain to you one by one. "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--latency-s", type=float, default=0.05)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--ways", nargs="+", choices=["stage", "openai", "label"], default=["stage", "label"])
    args = parser.parse_args()
    permitted = args.concurrency / args.latency_s if args.latency_s else None
    figures: dict[str, Any] = {"turns": args.turns, "permitted_per_s": permitted}
    chats = [conversation(number) for number in range(args.turns // TURNS_EACH)]
    for way in args.ways:
        with server(latency_s=args.latency_s) as url, tempfile.TemporaryDirectory() as folder:
            settings = LabelSettings(
                output=f"{folder}/labels", judge="openai", judge_url=(url,), judge_model="digest",
                judge_concurrency=args.concurrency, hindsight_window_turns=0, filters=("none",),
            )  # fmt: skip
            figures[way] = WAYS[way](settings, chats, Path(folder))
            counts = stats(url)
            figures[way]["most_in_flight"] = counts["most_in_flight"]
            figures[way]["turns_per_s"] = round(counts["requests"] / counts["seconds"], 1)
            if permitted:
                figures[way]["of_permitted"] = round(figures[way]["turns_per_s"] / permitted, 3)
    print(json.dumps(figures))


def conversation(number: int) -> dict[str, Any]:
    """Four turns of about the lengths of WildChat's: prompt 300, reply 1,300 characters."""
    messages = [{"role": "user", "content": f"Please explain how the machine number {number} works. " * 6}]
    for turn in range(TURNS_EACH):
        reply = REPLY.format(n=number, t=turn) * 15
        follow_up = f"And what does part {turn} of the machine number {number} do? Please tell me more about it. " * 3
        messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": follow_up}]
    return {"id": f"chat-{number:05d}", "model": "tiny", "language": "English", "messages": messages}


def stage(settings: LabelSettings, chats: Sequence[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """The judge stage as its actor runs it, with its cache and metrics: four blocks open at a time."""
    return _timed(JudgeTurns(settings, "benchmark", f"{folder}/cache"), chats)


def openai_package(settings: LabelSettings, chats: Sequence[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """The same with the client of the `openai` package, as it was used before: its generic request, its connections."""
    try:
        judge = OpenAIPackageJudge(settings)
    except ImportError as error:
        raise SystemExit(f"way openai: {error}") from None

    metrics, gate = JudgeMetrics("openai package"), asyncio.Semaphore(1024)

    async def judge_block(block: pa.Table) -> pa.Table:
        made = block.select(["row_id", "messages", "turns"]).to_pylist()
        await judge_turns(judge, made, settings, metrics, gate)
        return block.set_column(
            FEEDBACK.get_field_index("turns"), FEEDBACK.field("turns"),
            pa.array([row["turns"] for row in made], FEEDBACK.field("turns").type),
        )  # fmt: skip

    return _timed(judge_block, chats)


def label(settings: LabelSettings, chats: Sequence[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """`wildreward label` on a new local cluster, whose start is in `wall_s` and `feedback_s`."""
    (folder / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    (url,) = settings.judge_url
    given = settings.model_dump() | {"input": (str(folder / "chats.jsonl"),), "address": "local"}
    started = time.monotonic()
    run(LabelSettings.parse(given))
    seconds = time.monotonic() - started
    counts, judged = stats(url), summary(Path(settings.output))
    assert judged["turns"]["labelled"] == counts["requests"] == len(chats) * TURNS_EACH
    check(rows(Path(settings.output) / "feedback"))
    return {
        "wall_s": round(seconds, 2),
        "feedback_s": judged["seconds"]["feedback"],
        "judging_s": round(counts["seconds"], 2),
    }


WAYS = {"stage": stage, "openai": openai_package, "label": label}


def _timed(judge_block: Any, chats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    blocks = [table(map(_feedback_row, chats[first : first + BLOCK_ROWS]), FEEDBACK) for first in
              range(0, len(chats), BLOCK_ROWS)]  # fmt: skip

    async def all_blocks() -> list[pa.Table]:
        open_blocks = asyncio.Semaphore(4)

        async def one(block: pa.Table) -> pa.Table:
            async with open_blocks:
                return await judge_block(block)

        return await asyncio.gather(*map(one, blocks))

    used, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    made = asyncio.run(all_blocks())
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF)
    check([row for block in made for row in block.to_pylist()])
    turns = len(chats) * TURNS_EACH
    cpu_s = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return {"wall_s": round(seconds, 2), "cpu_ms_per_turn": round(1000 * cpu_s / turns, 3)}


def _feedback_row(chat: dict[str, Any]) -> dict[str, Any]:
    turns = [
        {"turn": turn, "prompt_index": 2 * turn, "response_index": 2 * turn + 1, "follow_up_index": 2 * turn + 2}
        for turn in range(TURNS_EACH)
    ]
    return {"row_id": chat["id"], "messages": chat["messages"], "turns": turns}


def check(judged: Sequence[dict[str, Any]]) -> None:
    """Every label is the one that the server's rule gives to this very turn."""
    for row in judged:
        for turn in row["turns"]:
            question = prompts.feedback_messages(turn_text(row, turn))
            expected = by_digest("\n\n".join(message["content"] for message in question))
            assert turn["raw"] == expected, (row["row_id"], turn)
            assert turn["level"] == int(expected[2]), (row["row_id"], turn)


class OpenAIPackageJudge:
    """What the judge was before: one typed client of the `openai` package, its retries off."""

    name, prompt_version = "openai package", prompts.VERSION

    def __init__(self, settings: LabelSettings) -> None:
        import httpx2
        import openai  # type: ignore[import-not-found,unused-ignore]  # not a dependency: measured where it is installed

        size = settings.judge_concurrency
        limits = httpx2.Limits(max_connections=size, max_keepalive_connections=size)
        self._client = openai.AsyncOpenAI(
            base_url=settings.judge_url[0], api_key="none", max_retries=0,
            http_client=openai.DefaultAsyncHttpx2Client(limits=limits),
        )  # fmt: skip
        self._slots = asyncio.Semaphore(size)
        self._settings = settings

    async def feedback(self, turn: TurnText) -> Verdict:
        body = {
            "model": self._settings.judge_model, "messages": prompts.feedback_messages(turn), "temperature": 0.0,
            "max_tokens": self._settings.judge_max_tokens,
        }  # fmt: skip
        async with self._slots, asyncio.timeout(120):
            got: Any = await self._client.post("/chat/completions", body=body, cast_to=object)
        text, usage = got["choices"][0]["message"]["content"], got["usage"]
        level = replies.parse(text, prompts.FEEDBACK_ALPHABET)
        tokens = usage["prompt_tokens"], usage["completion_tokens"]
        return Verdict(level, None, text, self.name, prompts.VERSION, 1, *tokens, None, None)

    async def refusal(self, turn: TurnText) -> RefusalVerdict:
        raise NotImplementedError("no turn here looks like a refusal")

    async def close(self) -> None:
        await self._client.close()


@contextlib.contextmanager
def server(**behaviour: object) -> Iterator[str]:
    """The judge server in a process of its own, with flags for its `Behaviour`; its base URL."""
    command = [sys.executable, "-m", "tests.judge_server", "--port", "0", "--rule", "digest"]
    flags = [text for name, value in behaviour.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    process = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.terminate()
        process.wait()


def stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats") as answer:
        found: dict[str, Any] = json.load(answer)
        return found


if __name__ == "__main__":
    main()
