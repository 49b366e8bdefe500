import pytest

from wildreward.errors import UsageError
from wildreward.settings.compare import CompareSettings


def test_two_evaluations_at_least_are_compared() -> None:
    assert CompareSettings.parse({"results": ("a", "b", "c")}).results == ("a", "b", "c")
    for given in ((), ("a",)):
        with pytest.raises(UsageError, match="two or more outputs of `wildreward evaluate` are needed; found"):
            CompareSettings.parse({"results": given})
