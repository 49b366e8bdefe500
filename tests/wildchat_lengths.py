"""How long the inputs of real WildChat turns are: counts only, no texts.

    python -m tests.wildchat_lengths ../shared/data/wildchat    # writes tests/wildchat_lengths.json again

An input is a conversation up to a reply that has a follow-up, which is what `label` makes rows of, in the plain
template with MiniLM's tokenizer, not truncated.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from wildreward import storage
from wildreward.batching import Rows
from wildreward.conversations import Conversation, read_conversation
from wildreward.errors import DataError
from wildreward.pretrained import load_tokenizer
from wildreward.template import InputTemplate

FILE = Path(__file__).parent / "wildchat_lengths.json"


def wildchat_lengths(max_tokens: int) -> Rows:
    """Tokens of every input, truncated as training does."""
    return np.minimum(np.array(json.loads(FILE.read_text()), dtype=np.int64), max_tokens)


def count(patterns: Sequence[str]) -> Iterator[int]:
    template, tokenizer = InputTemplate(max_tokens=10**9), load_tokenizer("minilm")
    for path in storage.expand(patterns, [".parquet"]):
        for row in pq.read_table(path).to_pylist():
            found = read_conversation(row)
            if not isinstance(found, Conversation):
                continue
            for turn in found.turns:
                try:
                    yield len(template.encode(found.messages[: turn.response_index + 1], tokenizer).input_ids)
                except DataError as error:
                    print(f"{path}: {found.conversation_hash}: {error}", file=sys.stderr)


if __name__ == "__main__":
    FILE.write_text(json.dumps(list(count(sys.argv[1:]))) + "\n")
