"""How good the lexicon judge is: against the generator's true levels, against users' own ratings, on real logs.

    python -m tests.benchmarks.lexicon_quality --wildchat ../shared/data/wildchat --rated ../shared/data/rated

Prints, for the generator: accuracy, quadratic weighted kappa, the confusion of levels, and the refusal verdicts; for
rated conversations: Spearman correlation of levels with ratings; for real logs: the distribution of levels.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import spearmanr

from wildreward.agreement import agreement
from wildreward.bootstrap import Estimate
from wildreward.conversations import Conversation, read_conversation
from wildreward.evaluation import show
from wildreward.judge.lexicon import read_feedback, read_refusal
from wildreward.judge.types import TurnText
from wildreward.refusals import looks_like_refusal
from wildreward.scale import LEVELS, NEGATIVE_LEVELS, NEUTRAL
from wildreward.synthetic.generate import sample


def turns(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Conversation, int, TurnText]]:
    """(conversation, turn number, its texts) of everything that can be judged."""
    for row in rows:
        conversation = read_conversation(row)
        if not isinstance(conversation, Conversation):
            continue
        for turn in conversation.turns:
            texts = [
                conversation.messages[index]["content"]
                for index in (turn.prompt_index, turn.response_index, turn.follow_up_index)
            ]
            yield conversation, turn.turn, TurnText(conversation.messages[: turn.prompt_index], *texts)


def read_rows(folder: Path, pattern: str = "*.parquet") -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob(pattern)) for row in pq.read_table(path).to_pylist()]


def against_truth(conversations: int, seed: int) -> None:
    made = sample(seed, conversations)
    truth = {(line["conversation_hash"], line["turn"]): line for line in made.truth}
    true, read, names, refusals = [], [], [], Counter[tuple[Any, int]]()
    for conversation, number, text in turns([*made.rows, *made.chats]):
        line = truth.get((conversation.conversation_hash, number))
        if line is None:
            continue
        true.append(line["true_level"])
        names.append(conversation.conversation_hash)
        read.append(read_feedback(text).level)
        if read[-1] in NEGATIVE_LEVELS and looks_like_refusal(text.response):
            refusals[line.get("refusal"), read_refusal(text)[0]] += 1
    found = agreement(true, read, names)
    print(f"generator, {conversations} conversations, seed {seed}: {len(true)} turns")
    kappa = show(found.quadratic_kappa or Estimate(None))
    print(f"  accuracy {show(found.accuracy)}, quadratic weighted kappa {kappa}")
    spoken = [(level, guess) for level, guess in zip(true, read, strict=True) if guess != NEUTRAL]
    right = sum(level == guess for level, guess in spoken)
    side = sum((level < NEUTRAL) == (guess < NEUTRAL) and level != NEUTRAL for level, guess in spoken)
    print(
        f"  where it says more than neutral ({len(spoken)} turns): level right {right / len(spoken):.3f}, "
        f"sign right {side / len(spoken):.3f}; of turns that are not neutral it finds "
        f"{sum(level != NEUTRAL for level, _ in spoken) / sum(level != NEUTRAL for level in true):.3f}"
    )
    print("  confusion (rows: true level 1..5, columns: lexicon)")
    print(np.array(found.confusion))
    print(f"  refusals asked about, (truth, verdict): {dict(refusals)}")


def against_ratings(folder: Path) -> None:
    ratings = {
        (row["conversation_hash"], row["turn"]): row["rating"]
        for row in read_rows(folder, "ratings.parquet")
        if row["in_conversation"]
    }
    pairs = [
        (read_feedback(text).level, ratings[conversation.conversation_hash, number])
        for conversation, number, text in turns(read_rows(folder, "conversations.parquet"))
        if (conversation.conversation_hash, number) in ratings
    ]
    levels, given = zip(*pairs, strict=True)
    print(f"{folder}: {len(pairs)} rated replies with a follow-up; levels {sorted(Counter(levels).items())}")
    if len(set(levels)) == 1:
        print("  Spearman: undefined, the lexicon reads every follow-up alike")
        return
    result = spearmanr(levels, given)
    print(f"  Spearman of level and rating {result.statistic:.3f}, p = {result.pvalue:.3g}")


def distribution(folder: Path) -> None:
    by_language: dict[str, Counter[int]] = {}
    for conversation, _, text in turns(read_rows(folder)):
        by_language.setdefault(conversation.language, Counter())[read_feedback(text).level] += 1
    total = sum(by_language.values(), Counter[int]())
    print(f"{folder}: {total.total()} turns")
    for name, counts in [("all", total), *sorted(by_language.items(), key=lambda item: -item[1].total())[:3]]:
        shares = "  ".join(f"{level}: {counts[level]} ({counts[level] / counts.total():.1%})" for level in LEVELS)
        print(f"  {name:<10}{shares}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wildchat", type=Path, help="directory of WildChat parquet files")
    parser.add_argument("--rated", type=Path, help="directory with conversations.parquet and ratings.parquet")
    parser.add_argument("--conversations", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    against_truth(given.conversations, given.seed)
    if given.rated:
        against_ratings(given.rated)
    if given.wildchat:
        distribution(given.wildchat)


if __name__ == "__main__":
    main()
