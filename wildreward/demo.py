"""`wildreward demo [--output runs/demo]`: the main job end to end on generated conversations, on one Ray cluster.

    generate -> label -> train -> evaluate -> serve, score over HTTP -> online DPO of a small policy

Each stage is the command a user would type, and is printed before it runs. A second run goes on where an earlier one
stopped and reuses what it finished; --overwrite begins again. Exit code 1 when the reward model does not beat the
length-only baseline, or the policy's mean reward does not rise.
"""

import contextlib
import json
import os
import shlex
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wildreward import demo_report, run_directory
from wildreward.cli import run_stage
from wildreward.cluster import cluster
from wildreward.errors import WildrewardError
from wildreward.progress import Progress
from wildreward.settings.demo import DemoSettings
from wildreward.storage import write_text

OWNED = ("data", "label", "train", "evaluate", "policy", "dpo", "summary.json")
WARM_STARTED = "warm_start.json"
REPLIES = (
    (
        "why is the sea salty?",
        "The sea is salty because rivers wash salts out of rocks, and the salt stays when the water evaporates.",
        "The sea is salty because fish produce salt when they breathe. This is well known.",
        "It really depends on a lot of factors. Perhaps an expert could tell you more.",
    ),
    (
        "澳大利亚的首都是哪里？",
        "澳大利亚的首都是堪培拉，它是悉尼和墨尔本妥协的结果。",
        "澳大利亚的首都是悉尼。大家在学校都学过。",
        "这要看很多因素，建议您自己查一查。",
    ),
)
"""Prompts with a right, a wrong and an evasive reply, to be scored over HTTP."""


@dataclass
class Demo:
    """Where the run writes, and how long each stage took."""

    settings: DemoSettings
    seconds: dict[str, float] = field(default_factory=dict)

    def path(self, *parts: str) -> str:
        return "/".join([self.settings.output.rstrip("/"), *parts])

    @contextlib.contextmanager
    def timed(self, stage: str, what: str) -> Iterator[None]:
        print(f"\n== {stage}: {what}", flush=True)
        started = time.monotonic()
        yield
        self.seconds[stage] = time.monotonic() - started

    def command(self, name: str, *arguments: object, what: str) -> None:
        """Run a stage by its command line, having shown it."""
        argv = [str(argument) for argument in arguments]
        with self.timed(name, what):
            print(f"$ wildreward {shlex.join([name, *argv])}", flush=True)
            run_stage(name, argv)


def run(settings: DemoSettings) -> None:
    """Raises UsageError before anything starts; WildrewardError when a stage or one of the two claims fails."""
    run_directory.open_run(settings, OWNED, free={"dpo_steps"})
    demo = Demo(settings)
    started = time.monotonic()
    with cluster(settings.address):
        scored = _stages(demo)
    summary = demo_report.summarise(settings.output, demo.seconds, time.monotonic() - started, scored)
    write_text(demo.path("summary.json"), json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    run_directory.finish(settings.output, {"failures": demo_report.failures(summary)})
    demo_report.show(summary, settings.output)
    if failures := demo_report.failures(summary):
        raise WildrewardError("the demo ran to its end, but " + "; and ".join(failures))


def _stages(demo: Demo) -> list[dict[str, Any]]:
    """All stages in order; the replies that were scored over HTTP."""
    seed = ("--seed", demo.settings.seed)
    label, checkpoint = demo.path("label"), demo.path("train", "checkpoint")
    _generate(demo)
    demo.command(
        "label", "--input", demo.path("data", "conversations"), "--output", label,
        "--test-rows", demo.settings.test_rows, *seed,
        what="read the users' follow-ups with the built-in lexicon, refine, filter, split",
    )  # fmt: skip
    demo.command(
        "train", "--config", "demo", "--input", label, "--output", demo.path("train"),
        "--epochs", f"{demo.settings.train_epochs:g}", *seed, what="an ordinal reward model from MiniLM",
    )  # fmt: skip
    demo.command(
        "evaluate", "--checkpoint", checkpoint, "--input", label, "--output", demo.path("evaluate"), *seed,
        what="the reward model on the test split, beside a baseline that knows only the length",
    )  # fmt: skip
    scored = _serve(demo, checkpoint)
    _warm_start(demo)
    demo.command(
        "dpo", "--config", "demo", "--policy", demo.path("policy"), "--checkpoint", checkpoint, "--input", label,
        "--output", demo.path("dpo"), "--steps", demo.settings.dpo_steps, *seed,
        what="the policy writes, the reward model chooses best and worst, the policy learns",
    )  # fmt: skip
    return scored


def _generate(demo: Demo) -> None:
    from wildreward.synthetic.generate import write

    settings = demo.settings
    with demo.timed("generate", f"{settings.conversations} conversations in WildChat's schema"):
        if Path(demo.path("data", "truth.parquet")).exists():
            print(f"reused: {demo.path('data')}")
            return
        made = write(demo.path("data"), settings.seed, settings.conversations, settings.shards)
        print(f"{len(made.rows)} rows, {len(made.chats)} logged chats, {len(made.truth)} turns whose level is known")


def _serve(demo: Demo, checkpoint: str) -> list[dict[str, Any]]:
    """Start the scorer, ask it over HTTP, take it down."""
    from ray import serve as ray_serve

    port = _free_port()
    arguments = ("--checkpoint", checkpoint, "--port", port, "--address", "auto", "--detach")
    try:
        demo.command("serve", *arguments, what="the reward model as an HTTP service")
        started = time.monotonic()
        scored = score_over_http(f"http://127.0.0.1:{port}/v1/score")
        demo.seconds["serve"] += time.monotonic() - started
    finally:
        ray_serve.shutdown()
    print(f"\nPOST http://127.0.0.1:{port}/v1/score")
    for item in scored:
        print(f"  {item['score']:.2f}  {item['prompt']}  ->  {item['reply']}")
    return scored


def score_over_http(url: str) -> list[dict[str, Any]]:
    """Prompt, reply and score of each of REPLIES. Raises WildrewardError when the scorer does not answer."""
    items = [{"prompt": prompt, "responses": list(replies)} for prompt, *replies in REPLIES]
    headers = {"Content-Type": "application/json"}
    if tokens := os.environ.get("WILDREWARD_SERVE_TOKENS"):
        headers["Authorization"] = f"Bearer {tokens.split(',')[0].strip()}"
    request = urllib.request.Request(url, json.dumps({"items": items}).encode(), headers)
    try:
        # Loopback must not go through a proxy that the environment names.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
            found = json.load(answer)["items"]
    except OSError as error:
        raise WildrewardError(f"POST {url}: {error}") from error
    return [
        {"prompt": item["prompt"], "reply": reply, "score": result["score"]}
        for item, results in zip(items, found, strict=True)
        for reply, result in zip(item["responses"], results["responses"], strict=True)
    ]


def _warm_start(demo: Demo) -> None:
    """A small policy that writes replies of all qualities: there is no hub here to take one from."""
    from transformers.utils import logging

    from wildreward.policies import new_policy, warm_start

    logging.disable_progress_bar()  # bars of files that are written in a blink
    directory, settings = demo.path("policy"), demo.settings
    done = Path(directory, WARM_STARTED)
    with demo.timed("policy", "a 2M Llama, warm-started on the generated conversations, good and bad replies alike"):
        if done.exists():
            print(f"reused: {directory}")
            return
        talks = conversations(settings)
        new_policy(directory, talks, settings.seed)
        with Progress("warm start", total=settings.warm_start_steps) as progress:
            loss = warm_start(
                directory, talks, settings.warm_start_steps, settings.seed,
                on_step=lambda step, loss: progress.advance(1, loss=loss),
            )  # fmt: skip
        write_text(str(done), json.dumps({"loss": loss}) + "\n")


def conversations(settings: DemoSettings) -> list[list[dict[str, str]]]:
    """The generated conversations that are sound: the policy's reading matter."""
    from wildreward.synthetic.generate import generate

    found = []
    for row in generate(settings.seed, settings.conversations):
        talk = [{"role": m["role"], "content": m["content"]} for m in row["conversation"] or () if m is not None]
        if talk and all(m["role"] in {"user", "assistant"} and (m["content"] or "").strip() for m in talk):
            found.append(talk)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
