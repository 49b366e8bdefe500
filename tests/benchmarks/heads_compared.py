"""coral, corn and independent beside plain regression and a pairwise Bradley-Terry model, on the same rows and budget.

    wildreward label --input GENERATED ../shared/data/wildchat ../shared/data/oasst --output runs/label --test-rows 0
    python -m tests.benchmarks.heads_compared --input runs/label --data ../shared/data --output runs/heads_compared

The heads are trained by `wildreward train`, regression by a loop over the same batches, Bradley-Terry by TRL's
RewardTrainer on pairs of the same rows: within an epoch every row is in one pair, with a random row of another class;
the higher class is chosen. All start from MiniLM, train on all rows (no validation, the last step counts), and are
measured by what users said (`rated`) and by three sets of pairs. A run that is done is a file in --output; the same
command goes on with what is missing, seed by seed. With --table it only prints what there is, and writes results.json.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.reward_baselines import BASELINES, Budget, batches_of_pairs
from train import tokens
from train.program import open_backbone, prepare, run
from wildreward.benchmarks.evaluation_set import EvaluationSet
from wildreward.benchmarks.inputs import read_sets
from wildreward.benchmarks.measure import MeasureOptions
from wildreward.benchmarks.pairs import Pairs
from wildreward.bootstrap import Samples, resample
from wildreward.cluster import cluster
from wildreward.console import print_table
from wildreward.evaluation import evaluate, fresh_copies, show
from wildreward.metrics import Array, Statistic, mean, spearman
from wildreward.reward_model import Score
from wildreward.scorer import CheckpointScorer, score_each
from wildreward.settings.train import TrainSettings

HEADS = ("coral", "corn", "independent")
MODELS = (*HEADS, *BASELINES)
SETS = ("rated/ratings.parquet", "pairs/oasst.parquet", "pairs/llmbar.parquet", "pairs/pandalm.parquet")
"""Under --data."""


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


def train_and_score(options: argparse.Namespace, model: str, seed: int, sets: Sequence[EvaluationSet]) -> Path:
    """Train one model, score every evaluation text once, and write the scores. Returns the file."""
    started = time.process_time(), time.monotonic()
    settings = settings_of(options, model, seed)
    facts: dict[str, Any] = {"model": model, "seed": seed}
    if model in HEADS:
        run(settings)
        directory, template = f"{settings.output}/checkpoint", None
    else:
        budget = budget_of(settings, options.output)
        BASELINES[model](budget, Path(settings.output))
        directory, template = settings.output, f"{settings.output}/wildreward_template.json"
        facts["pairs"] = sum(map(len, batches_of_pairs(budget))) if model == "bradley-terry" else None
        facts["steps"] = budget.steps
    facts["train_s"] = time.monotonic() - started[1]
    loaded = CheckpointScorer(directory, template, dtype="bfloat16", batch_tokens=4096).load()
    _keep_head_exact(loaded.model.model)
    copies = fresh_copies(sets)
    made = evaluate(copies, lambda talks: score_each(loaded, talks), MeasureOptions(replicates=0))
    facts |= {"seconds": time.monotonic() - started[1], "texts": made.texts}
    facts["scores"] = {found.name: scores_of(found) for found in copies}
    path = Path(options.output) / f"{model}-{seed}.json"
    path.write_text(json.dumps(facts))
    return path


def _keep_head_exact(model: Any) -> None:
    """In bfloat16 a logit near 3 has steps of 1/64, and replies would tie: the last layer stays in float32."""
    classifier = getattr(model, "backbone", model).classifier
    classifier.float()
    classifier.register_forward_pre_hook(lambda module, inputs: (inputs[0].float(),))


def budget_of(settings: TrainSettings, output: str) -> Budget:
    """The token ids that `train` makes of the rows, made once for all baselines."""
    backbone = open_backbone(settings)
    files = tokens.inspect(tokens.resolve(settings.input), settings.num_classes)
    data = prepare(settings, files, backbone, f"{output}/tokens")
    return Budget(settings, tokens.read(data.directory, data.shards), backbone.template)


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
    wins, losses = preferences(found)
    yield "rated preference accuracy", mean(_won(scores[wins, 0] - scores[losses, 0])), groups_N[wins]
    yield "rated Spearman", spearman(scores[:, 0], found.column("rating")), groups_N


def _won(margin_N: Array) -> Array:
    return (1 + np.sign(margin_N)) / 2


def preferences(found: EvaluationSet) -> tuple[Array, Array]:
    """Places of the preferred reply and of the other one, for each pair that a user decided."""
    turns: dict[str, dict[bool, list[int]]] = {}
    for place, item in enumerate(found.scored):
        if item["preferred"] is not None:
            turns.setdefault(item["turn_key"], {True: [], False: []})[item["preferred"]].append(place)
    pairs = [(win, lose) for sides in turns.values() for win in sides[True] for lose in sides[False]]
    wins, losses = np.array(pairs).T
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
    from wildreward.bootstrap import Estimate

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
    sets = read_sets([f"{options.data}/{name}" for name in SETS])
    Path(options.output).mkdir(parents=True, exist_ok=True)
    wanted = [(model, seed) for seed in range(options.seeds) for model in options.models]
    missing = [pair for pair in wanted if not (Path(options.output) / f"{pair[0]}-{pair[1]}.json").exists()]
    if missing and not options.table:
        with cluster("local"):
            for model, seed in missing:
                path = train_and_score(options, model, seed, sets)
                print(f"{path}: done", flush=True)
    runs = [json.loads(path.read_text()) for path in sorted(Path(options.output).glob("*-[0-9].json"))]
    chars = fresh_copies(sets)
    evaluate(chars, lambda talks: [Score(0.0) for _ in talks], MeasureOptions(replicates=0))
    results = compare(chars, runs)
    (Path(options.output) / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print_results(results)


if __name__ == "__main__":
    main()
