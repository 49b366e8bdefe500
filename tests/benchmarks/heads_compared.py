"""coral, corn and independent beside plain regression and a pairwise Bradley-Terry model, on the same rows and budget.

    wildreward label --input GENERATED ../shared/data/wildchat ../shared/data/oasst --output runs/label --test-rows 0
    python -m tests.benchmarks.heads_compared --input runs/label --data ../shared/data --output runs/heads_compared

The heads are trained by `wildreward train`, regression by a loop over the same batches, Bradley-Terry by TRL's
RewardTrainer on pairs of the same rows: within an epoch every row is in one pair, with a random row of another class;
the higher class is chosen. All start from MiniLM, train on all rows (no validation, the last step counts), and are
measured by what users said (`rated`), by three sets of pairs, and by generated conversations that were not trained on
(Spearman with the true level): whether they have learned anything. A run that is done is a file in --output; the same
command goes on with what is missing, seed by seed. With --table nothing is trained; both write results.json.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tests.benchmarks.lexicon_quality import turns
from tests.benchmarks.reward_baselines import BASELINES, Budget, batches_of_pairs
from train import tokens
from train.program import open_backbone, prepare, run
from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.inputs import read_sets
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.benchmarks.pairs import Pairs
from wildreward.bootstrap import Estimate, Samples, resample
from wildreward.cluster import cluster
from wildreward.console import print_table
from wildreward.evaluation import evaluate, fresh_copies, show
from wildreward.metrics import Array, Statistic, mean, spearman
from wildreward.reward_model import Score
from wildreward.scale import NEUTRAL
from wildreward.scorer import CheckpointScorer, score_each
from wildreward.settings.train import TrainSettings
from wildreward.synthetic.generate import sample

HEADS = ("coral", "corn", "independent")
MODELS = (*HEADS, *BASELINES)
SETS = ("rated/ratings.parquet", "pairs/oasst.parquet", "pairs/llmbar.parquet", "pairs/pandalm.parquet")
"""Under --data."""

HELD_OUT_SEED, HELD_OUT_CONVERSATIONS = 1001, 300
"""Of the generated conversations that show whether a model has learned what it was trained on."""


def generated(path: str) -> str:
    """Rows of the generator that no model has seen, with the true level as the rating; neutral turns are left out."""
    made = sample(HELD_OUT_SEED, HELD_OUT_CONVERSATIONS)
    truth = {(line["conversation_hash"], line["turn"]): line["true_level"] for line in made.truth}
    rows = []
    for conversation, turn, text in turns([*made.rows, *made.chats]):
        level = truth.get((conversation.conversation_hash, turn))
        if level is not None and level != NEUTRAL:
            rows.append(
                {
                    "conversation_hash": conversation.conversation_hash,
                    "turn": turn,
                    "history": [dict(message) for message in text.history],
                    "prompt": text.prompt,
                    "response": text.response,
                    "rating": level,
                }
            )
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def settings_of(options: argparse.Namespace, model: str, seed: int) -> TrainSettings:
    """The budget: that of the preset minilm, but two epochs, 256 tokens and bfloat16; every row is trained on."""
    head = {"head": model} if model in HEADS else {}
    values: dict[str, Any] = {
        "input": [options.input],
        "output": f"{options.output}/{model}-{seed}",
        "backbone": "minilm",
        "max_tokens": 256,
        "epochs": 2,
        "batch_rows": 16,
        "micro_batch_tokens": 2048,
        "lr": 1e-4,
        "head_lr_multiplier": 10,
        "dtype": "bfloat16",
        "zero_stage": 0,
        "validation_frac": 0,
        "evaluate_every_steps": 10_000,
        "threads": options.threads,
        "device": "cpu",
        "seed": seed,
    }
    return TrainSettings.parse(values | head)


def train(options: argparse.Namespace, model: str, seed: int) -> None:
    """Train one model and write a record of the run, without scores."""
    started = time.monotonic()
    settings = settings_of(options, model, seed)
    facts: dict[str, Any] = {"model": model, "seed": seed, "scores": {}}
    if model in HEADS:
        run(settings)
    else:
        budget = budget_of(settings, options.output)
        BASELINES[model](budget, Path(settings.output))
        facts |= {"steps": budget.steps, "pairs": sum(map(len, batches_of_pairs(budget)))}
    facts["train_s"] = time.monotonic() - started
    record_of(options, model, seed).write_text(json.dumps(facts))


def score(options: argparse.Namespace, model: str, seed: int, sets: Sequence[EvaluationSet]) -> None:
    """Score every text of the sets that the record has no scores of, once, and write them into it."""
    path = record_of(options, model, seed)
    facts = json.loads(path.read_text())
    missing = fresh_copies([found for found in sets if found.name not in facts["scores"]])
    if not missing:
        return
    directory = f"{options.output}/{model}-{seed}"
    template = None if model in HEADS else f"{directory}/wildreward_template.json"
    checkpoint = f"{directory}/checkpoint" if model in HEADS else directory
    loaded = CheckpointScorer(checkpoint, template, dtype="bfloat16", batch_tokens=4096).load()
    _keep_head_exact(loaded.model.model)
    evaluate(missing, lambda talks: score_each(loaded, talks), MeasureOptions(replicates=0))
    facts["scores"] |= {found.name: scores_of(found) for found in missing}
    path.write_text(json.dumps(facts))
    print(f"{path}: done", flush=True)


def record_of(options: argparse.Namespace, model: str, seed: int) -> Path:
    return Path(options.output) / f"{model}-{seed}.json"


def _keep_head_exact(model: Any) -> None:
    """In bfloat16 a logit near 3 has steps of 1/64, and replies would tie: the last layer stays in float32."""
    classifier = getattr(model, "backbone", model).classifier
    classifier.float()
    classifier.register_forward_pre_hook(lambda module, inputs: (inputs[0].float(),))


def budget_of(settings: TrainSettings, output: str) -> Budget:
    """The token ids that `train` makes of the rows, made once for all baselines."""
    backbone = open_backbone(settings)
    files = tokens.inspect(tokens.resolve(settings.input), settings.labelling)
    data = prepare(settings, files, backbone, f"{output}/tokens")
    return Budget(settings, tokens.read(data.directory, data.shards, settings.labelling), backbone.template)


def scores_of(found: EvaluationSet) -> list[list[float]]:
    """Of every scored item the score of its reply, or of chosen and rejected."""
    names = ("score_chosen", "score_rejected") if isinstance(found, Pairs) else ("score",)
    return [[item[name] for name in names] for item in found.scored]


def statistics(found: EvaluationSet, scores: Array) -> Iterator[tuple[str, Statistic, Array]]:
    """(metric, its statistic, what the bootstrap draws) of (N, 1) scores of replies, or (N, 2) of pairs; ties half."""
    groups_N = found.groups(MeasureOptions())
    if isinstance(found, Pairs):
        yield f"{found.name} accuracy", mean(_won(scores[:, 0] - scores[:, 1])), groups_N
        return
    yield f"{found.name} Spearman", spearman(scores[:, 0], found.column("rating")), groups_N
    wins, losses = preferences(found)
    if len(wins):
        yield f"{found.name} preference accuracy", mean(_won(scores[wins, 0] - scores[losses, 0])), groups_N[wins]


def _won(margin_N: Array) -> Array:
    return (1 + np.sign(margin_N)) / 2


def preferences(found: EvaluationSet) -> tuple[Array, Array]:
    """Places of the preferred reply and of the other one, for each pair that a user decided."""
    turns: dict[str, dict[bool, list[int]]] = {}
    for place, item in enumerate(found.scored):
        if item["preferred"] is not None:
            turns.setdefault(item["turn_key"], {True: [], False: []})[item["preferred"]].append(place)
    pairs = [(win, lose) for sides in turns.values() for win in sides[True] for lose in sides[False]]
    wins, losses = np.array(pairs, dtype=int).reshape(-1, 2).T
    return wins, losses


def lengths(found: EvaluationSet) -> Array:
    names = ("chars_chosen", "chars_rejected") if isinstance(found, Pairs) else ("chars",)
    return np.stack([found.column(name) for name in names], axis=1)


def compare(sets: Sequence[EvaluationSet], runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """{metric: {model: mean over seeds, interval, seeds, difference to length and to coral}}, on shared resamples."""
    results: dict[str, dict[str, Any]] = {}
    for found in sets:
        columns = {(run["model"], run["seed"]): np.array(run["scores"][found.name]) for run in runs}
        columns["length", 0] = lengths(found)
        per_metric: dict[str, dict[str, Statistic]] = {}
        groups: dict[str, Array] = {}
        for (model, seed), scores in columns.items():
            for metric, statistic, groups_N in statistics(found, scores):
                per_metric.setdefault(metric, {})[f"{model} {seed}"] = statistic
                groups[metric] = groups_N
        for metric, named in per_metric.items():
            results[metric] = _over_seeds(resample(named, groups[metric], replicates=2000))
    return results


def _over_seeds(drawn: Mapping[str, Samples]) -> dict[str, Any]:
    by_model: dict[str, list[Samples]] = {}
    for name, samples in drawn.items():
        by_model.setdefault(name.rpartition(" ")[0], []).append(samples)
    means = {
        model: Samples(
            float(np.mean([one.value for one in found])), np.mean([one.replicates_R for one in found], axis=0)
        )
        for model, found in by_model.items()
    }
    return {
        model: {
            "estimate": vars(samples.estimate()),
            "seeds": [one.value for one in by_model[model]],
            "minus_length": vars(samples.minus(means["length"]).estimate()),
            "minus_coral": vars(samples.minus(means["coral"]).estimate()) if "coral" in means else None,
        }
        for model, samples in means.items()
    }


def print_results(results: Mapping[str, Mapping[str, Any]]) -> None:
    for metric, found in results.items():
        print(f"\n{metric}")
        rows = [
            [
                model,
                show(Estimate(**one["estimate"])),
                " ".join(f"{value:.3f}" for value in one["seeds"]),
                show(Estimate(**one["minus_length"])),
                show(Estimate(**one["minus_coral"])) if one["minus_coral"] else "-",
            ]
            for model, one in found.items()
        ]
        print_table(["model", "mean [95% interval]", "seeds", "minus length", "minus coral"], rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("input", "data", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    Path(options.output).mkdir(parents=True, exist_ok=True)
    sets = read_sets([*(f"{options.data}/{name}" for name in SETS), generated(f"{options.output}/generated.parquet")])
    wanted = [(model, seed) for seed in range(options.seeds) for model in options.models]
    with cluster("local") if not options.table else nullcontext():
        for model, seed in wanted:
            trained = record_of(options, model, seed).exists()
            if not trained and options.table:
                continue
            if not trained:
                train(options, model, seed)
            score(options, model, seed, sets)
    runs = [json.loads(path.read_text()) for path in sorted(Path(options.output).glob("*-[0-9].json"))]
    chars = fresh_copies(sets)
    evaluate(chars, lambda talks: [Score(0.0) for _ in talks], MeasureOptions(replicates=0))
    results = compare(chars, runs)
    (Path(options.output) / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print_results(results)


if __name__ == "__main__":
    main()
