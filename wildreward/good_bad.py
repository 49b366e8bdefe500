"""One measure that means the same for every head, loss and class map: does a good reply score above a bad one?

Good and bad are the user's feedback: satisfaction and engagement against rejection and correction; neutral rows are
left out. The three class maps (four, five, binary) keep the order of the levels and put the neutral one, if they have
it, in the middle: so a class above the middle is good and one below it is bad. This is the cross-sample AUC of the
WildReward paper (arXiv 2602.08829): one scale over all prompts.
"""

from wildreward.metrics import Array, among, concordance, value


def good_bad_auc(scores_N: Array, labels_N: Array, num_classes: int) -> float:
    """P(a good reply scores above a bad one), ties half; classes are 1..num_classes. NaN where a side is empty.

    >>> import numpy as np
    >>> scores = np.array([0.9, 0.4, 0.7, 0.1])
    >>> good_bad_auc(scores, np.array([4, 2, 3, 1]), num_classes=4)  # four: 1, 2 bad; 3, 4 good
    1.0
    >>> good_bad_auc(scores, np.array([5, 2, 4, 1]), num_classes=5)  # the same levels by the class map five
    1.0
    >>> good_bad_auc(scores, np.array([2, 1, 2, 1]), num_classes=2)  # and by binary
    1.0
    >>> good_bad_auc(np.array([0.2, 0.9]), np.array([3, 5]), num_classes=5)  # neutral is neither
    nan
    """
    middle = (num_classes + 1) / 2
    return value(among(concordance(scores_N, labels_N > middle), labels_N != middle), len(scores_N))
