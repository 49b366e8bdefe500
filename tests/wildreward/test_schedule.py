"""The learning rate rises, falls and never goes below its floor."""

import pytest

from wildreward.schedule import learning_rate


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_it_peaks_after_the_warm_up_and_then_falls(kind: str) -> None:
    rates = [learning_rate(step, 100, 1.0, kind=kind, warmup_frac=0.1, min_frac=0.1) for step in range(100)]  # type: ignore[arg-type] # parametrised
    assert max(rates) == rates[10] == 1.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert min(rates[10:]) >= 0.1


def test_a_constant_rate_stays_and_one_step_is_enough() -> None:
    assert learning_rate(0, 1, 0.5, kind="constant") == 0.5
    assert learning_rate(99, 100, 0.5, kind="constant", warmup_frac=0.2) == 0.5
