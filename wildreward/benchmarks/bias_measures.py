"""What scores owe to length and looks. X stands for code_blocks, list_items, headings, bold, or formatting (all four).

    accuracy_when_longer_is_better    and ..._shorter_..., ..._equal_length: accuracy among such pairs
    length_balanced_accuracy          mean of the accuracies when the longer and when the shorter reply is better, so
                                      that length alone gives 1/2; pairs of equal length are left out
    prefers_longer                    how often the longer of two replies scores higher (a tie is half)
    labels_prefer_longer              how often it is the better one
    excess_preference_for_longer      the first minus the second: 0 for a model that likes length as the labels do
    score_length_spearman             of score and characters over all replies
    margin_length_spearman            of margin and difference in characters
    accuracy_when_more_X_is_better    and ..._fewer_...: accuracy among pairs whose better reply has more (fewer) of X
    score_gain_of_more_X              mean score of the reply with more of X minus that of the other one
    formatting_balanced_accuracy, prefers_more_formatting, labels_prefer_more_formatting,
    excess_preference_for_more_formatting, margin_formatting_spearman: as for length

A gain or a correlation is no bias by itself: people may like lists too. An excess is, but scores that know nothing have
one too: 1/2 minus the labels' share. None of these has a better side, so they have no chance and no baselines.
Only measures with a pair to speak of are made. On why length must be controlled: Dubois et al. 2024 (arXiv 2404.04475),
who do it by regression; here the two sides are weighted alike.
"""

import numpy as np

from wildreward.benchmarks.measure import Measure
from wildreward.benchmarks.pair_columns import CHANCE, PairColumns
from wildreward.formatting import FEATURES
from wildreward.metrics import Array, balanced_rate, of_both, rate_within, spearman


def bias_measures(pairs: PairColumns) -> dict[str, Measure]:
    return _length(pairs) | _format(pairs)


def _length(pairs: PairColumns) -> dict[str, Measure]:
    longer_by_N, right_N = pairs.longer_by, pairs.margin > 0
    measures = {
        f"accuracy_when_{name}_is_better": _accuracy_among(right_N, members_N)
        for name, members_N in (("longer", longer_by_N > 0), ("shorter", longer_by_N < 0))
    }
    if (longer_by_N == 0).any():
        measures["accuracy_when_equal_length"] = _accuracy_among(right_N, longer_by_N == 0)
    measures |= _balance(pairs, longer_by_N, "length_balanced_accuracy", "longer")
    measures["score_length_spearman"] = Measure(of_both(spearman(pairs.both("score_N"), pairs.both("chars_N"))))
    measures["margin_length_spearman"] = Measure(spearman(pairs.margin, longer_by_N))
    return measures


def _format(pairs: PairColumns) -> dict[str, Measure]:
    measures: dict[str, Measure] = {}
    right_N = pairs.margin > 0
    for name in (*FEATURES, "formatting"):
        more_by_N = pairs.more_by(name)
        for word, members_N in (("more", more_by_N > 0), ("fewer", more_by_N < 0)):
            if members_N.any():
                measures[f"accuracy_when_{word}_{name}_is_better"] = _accuracy_among(right_N, members_N)
        if more_by_N.any():
            gain_N = np.sign(more_by_N) * pairs.margin
            measures[f"score_gain_of_more_{name}"] = Measure(
                rate_within(gain_N, more_by_N != 0), members_N=more_by_N != 0
            )
    more_by_N = pairs.more_by("formatting")
    measures |= _balance(pairs, more_by_N, "formatting_balanced_accuracy", "more_formatting")
    if more_by_N.any():
        measures["margin_formatting_spearman"] = Measure(spearman(pairs.margin, more_by_N))
    return measures


def _accuracy_among(right_N: Array, members_N: Array) -> Measure:
    return Measure(rate_within(right_N, members_N), chance=CHANCE, members_N=members_N)


def _balance(pairs: PairColumns, more_by_N: Array, balanced: str, word: str) -> dict[str, Measure]:
    """Balanced accuracy, and how often the one with more is preferred, beside how often it is the better one."""
    measures, unequal_N = {}, more_by_N != 0
    sides = (more_by_N > 0, more_by_N < 0)
    if all(side_N.any() for side_N in sides):
        baselines = {"length": balanced_rate(pairs.longer_by > 0, *sides)}
        model = balanced_rate(pairs.margin > 0, *sides)
        measures[balanced] = Measure(model, baselines, CHANCE, members_N=unequal_N, parts=sides)
    if unequal_N.any():
        picked_N = (1 + np.sign(more_by_N) * np.sign(pairs.margin)) / 2
        shares = {
            f"prefers_{word}": picked_N,
            f"labels_prefer_{word}": more_by_N > 0,
            f"excess_preference_for_{word}": picked_N - (more_by_N > 0),
        }
        for name, share_N in shares.items():
            measures[name] = Measure(rate_within(share_N, unequal_N), members_N=unequal_N)
    return measures
