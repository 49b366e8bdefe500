"""The prompts of a run, on this machine's disk: in memory are a position and a conversation's number for each.

    store = PromptStore()
    if store.is_new(prompt):
        store.add(prompt, ids)
    training = store.part(positions)
    training[3].ids

The file has no name: it is gone with the process, however that ends. Memory: 16 bytes a prompt, and while prompts are
added about 80 more to know which are there already.
"""

import hashlib
import json
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

from wildreward.errors import DataError
from wildreward.prompts import Prompt


@dataclass(frozen=True)
class PolicyPrompt:
    """A prompt, and its token ids in the policy's chat template."""

    prompt: Prompt
    ids: tuple[int, ...]


class PromptStore:
    """Prompts in the order added."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="wildreward-prompts-")  # noqa: SIM115 it lives as long as the store
        self._starts, self.groups = array("Q"), array("Q")
        self._seen: set[int] = set()
        self._digest = hashlib.sha256()

    def __len__(self) -> int:
        return len(self._starts)

    def is_new(self, prompt: Prompt) -> bool:
        """Whether this was not asked before of an equal prompt."""
        count = len(self._seen)
        self._seen.add(int(prompt.id, 16))
        return len(self._seen) > count

    def add(self, prompt: Prompt, ids: Sequence[int]) -> None:
        """Raises DataError when the disk has no room."""
        try:
            start = self._file.seek(0, 2)
            self._file.write(json.dumps([prompt.id, prompt.group, prompt.messages, list(ids)]).encode() + b"\n")
        except OSError as error:
            raise DataError(f"{tempfile.gettempdir()}: the prompts could not be kept there: {error}") from error
        self._starts.append(start)
        self.groups.append(int(prompt.group, 16))
        self._digest.update(prompt.id.encode())

    def __getitem__(self, place: int) -> PolicyPrompt:
        self._file.seek(self._starts[place])
        name, group, messages, ids = json.loads(self._file.readline())
        return PolicyPrompt(Prompt(name, group, tuple(messages)), tuple(ids))

    def part(self, positions: Iterable[int]) -> "PromptPart":
        return PromptPart(self, array("Q", positions))

    def digest(self) -> str:
        """Of all prompts and their order: equal for equal input."""
        return self._digest.hexdigest()[:16]


class PromptPart(Sequence[PolicyPrompt]):
    """Some of a store's prompts, as a sequence that reads each from the disk when it is asked for."""

    def __init__(self, store: PromptStore, positions: "array[int]") -> None:
        self._store, self._positions = store, positions

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, place: int) -> PolicyPrompt: ...
    @overload
    def __getitem__(self, place: slice) -> "PromptPart": ...
    def __getitem__(self, place: int | slice) -> "PolicyPrompt | PromptPart":
        if isinstance(place, slice):
            return PromptPart(self._store, self._positions[place])
        return self._store[self._positions[place]]
