from pathlib import Path

import pytest

from wildreward.callable_scorer import CallableScorer
from wildreward.errors import DataError, UsageError
from wildreward.reward_model import Score
from wildreward.scorer import Unscored, score_each

MODULE = """
import math
from wildreward.reward_model import Score

def length(conversations):
    return [len(messages[-1]["content"]) for messages in conversations]

class Offset:
    def __init__(self):
        self.offset = 10
    def __call__(self, conversations):
        return [Score(self.offset + value, probs=(1.0,)) for value in length(conversations)]

def nan(conversations):
    return [math.nan for _ in conversations]

def short(conversations):
    return [1.0]

def words(conversations):
    return ["good" for _ in conversations]

def nothing(conversations):
    pass
"""
TALKS = [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": reply}] for reply in ("a", "bb")]


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    (tmp_path / f"mine_{request.node.name[:20]}.py").write_text(MODULE)
    return str(tmp_path)


@pytest.fixture
def module(folder: str) -> str:
    return next(Path(folder).glob("mine_*.py")).stem


def test_numbers_of_a_function_and_scores_of_a_class_are_scores(folder: str, module: str) -> None:
    assert CallableScorer(f"{module}:length", folder).load().score(TALKS) == [Score(1.0), Score(2.0)]
    assert CallableScorer(f"{module}:Offset", folder).load().score(TALKS)[1] == Score(12, probs=(1.0,))


def test_nan_is_a_text_without_a_score(folder: str, module: str) -> None:
    scores = score_each(CallableScorer(f"{module}:nan", folder).load(), TALKS)
    assert scores == [Unscored("nan_score", "score is nan")] * 2


def test_an_answer_of_another_shape_names_the_callable_and_what_was_found(folder: str, module: str) -> None:
    for name, said in (
        ("short", "1 scores for 2 conversations"),
        ("words", "score 0 is 'good'; a number is needed"),
        ("nothing", "returned NoneType; a list of numbers is needed"),
    ):
        with pytest.raises(DataError, match=f"--callable {module}:{name}: {said}"):
            CallableScorer(f"{module}:{name}", folder).load().score(TALKS)


def test_a_callable_that_is_not_there_is_told_before_anything_starts(folder: str, module: str) -> None:
    with pytest.raises(UsageError, match=f"--callable {module}:g: {module} has no function or class g"):
        CallableScorer(f"{module}:g", folder).find()


def test_its_identity_changes_with_its_name_and_with_its_source(folder: str, module: str) -> None:
    before = {CallableScorer(f"{module}:{name}", folder).identity() for name in ("length", "short")}
    assert len(before) == 2
    (Path(folder) / f"{module}.py").write_text(MODULE + "# changed\n")
    assert CallableScorer(f"{module}:length", folder).identity() not in before
