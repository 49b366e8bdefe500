"""A Python callable as a scorer: `--callable module:function`.

The contract: it is called with a list of conversations (each a list of {"role", "content"} that ends with the reply)
and returns as many numbers in the same order, or `Score` objects where it can say more; higher is better. It gets up to
a few thousand conversations of similar length at once, and every text once. A class is made without arguments, once in
each replica (the place to load a model), and its instances are called. NaN is counted as no score; anything else, and
an exception, ends the run.

    # mine.py
    def shortest(conversations):
        return [-len(messages[-1]["content"]) for messages in conversations]

    wildreward evaluate --callable mine:shortest --input pairs.parquet --output runs/shortest
"""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildreward.errors import DataError
from wildreward.named_function import call_named, named_function

if TYPE_CHECKING:
    from wildreward.reward_model import Score
    from wildreward.scorer import Conversation


@dataclass(frozen=True)
class CallableScorer:
    """Recipe of a callable. `folder` is where its module may lie besides the usual places: the user's directory."""

    name: str
    folder: str

    def load(self) -> "LoadedCallable":
        """Raises UsageError where it cannot be imported."""
        found = self.find()
        made: Any = call_named("--callable", self.name, found) if inspect.isclass(found) else found
        return LoadedCallable(self.name, made)

    def find(self) -> Any:
        """The function or class. Raises UsageError naming what is missing."""
        return named_function("--callable", self.name, self.folder)

    def identity(self) -> str:
        """Its name and the content of its module; what the module imports is not seen."""
        source = inspect.getsourcefile(self.find())
        digest = hashlib.blake2b(self.name.encode(), digest_size=16)
        digest.update(Path(source).read_bytes() if source else b"")
        return f"callable-{digest.hexdigest()}"


@dataclass(frozen=True)
class LoadedCallable:
    """What is called, with its answers checked."""

    name: str
    call: Callable[[list[Any]], Sequence[Any]]

    def score(self, conversations: "Sequence[Conversation]") -> "list[Score]":
        """Raises DataError for an answer that is not one number or Score for each conversation."""
        given = [[dict(message) for message in messages] for messages in conversations]
        returned = call_named("--callable", self.name, self.call, given)
        try:
            answers = list(returned)
        except TypeError as error:
            found = type(returned).__name__
            raise DataError(f"--callable {self.name}: returned {found}; a list of numbers is needed") from error
        if len(answers) != len(conversations):
            raise DataError(f"--callable {self.name}: {len(answers)} scores for {len(conversations)} conversations")
        return [self._checked(answer, place) for place, answer in enumerate(answers)]

    def _checked(self, answer: Any, place: int) -> "Score":
        from wildreward.reward_model import Score

        if isinstance(answer, Score):
            return answer
        try:
            return Score(float(answer))
        except (TypeError, ValueError) as error:
            raise DataError(f"--callable {self.name}: score {place} is {answer!r}; a number is needed") from error

    def describe(self) -> dict[str, Any]:
        return {"callable": self.name}
