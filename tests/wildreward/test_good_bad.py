"""The measure that compares trials does not change with the class map."""

import numpy as np

from wildreward.good_bad import good_bad_auc
from wildreward.scale import LEVELS


def test_it_is_the_same_for_the_same_scores_whatever_the_class_map() -> None:
    rng = np.random.default_rng(0)
    levels = rng.choice(LEVELS, 300)
    scores = rng.normal(levels)
    four = {1: 1, 2: 2, 4: 3, 5: 4}
    binary = {1: 1, 2: 1, 4: 2, 5: 2}
    found = {good_bad_auc(scores, levels, 5)}
    for class_map, count in ((four, 4), (binary, 2)):
        kept = levels != 3
        found.add(good_bad_auc(scores[kept], np.array([class_map[level] for level in levels[kept].tolist()]), count))
    assert len(found) == 1
    assert 0.9 < found.pop() < 1


def test_equal_scores_count_half_and_an_empty_side_leaves_it_undefined() -> None:
    assert good_bad_auc(np.zeros(4), np.array([1, 2, 3, 4]), 4) == 0.5
    assert np.isnan(good_bad_auc(np.arange(3.0), np.array([1, 2, 2]), 4))
