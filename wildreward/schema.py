"""Arrow schemas of everything written to disk. Blocks are always built with these, never inferred.

An inferred block whose nullable column happens to be all null gets another Arrow type, and later reads fail with
"Types mismatch": hence `table()`, the one way rows become a table here.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
MESSAGES = pa.list_(MESSAGE)

SKIPPED_MESSAGE = pa.struct([("index", pa.int32()), ("reason", pa.string())])

SIMILARITY = pa.struct([("turn", pa.int32()), ("cosine", pa.float32())])

CACHED = pa.struct(
    [
        ("answers", pa.int8()),  # 1, or 2 with the refusal question
        ("attempts", pa.int32()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
    ]
)
"""The part of a turn's evidence that came from the judge cache: requests and tokens this run did not spend."""

JUDGED_TURN = pa.struct(
    [
        (
            "turn",
            pa.int32(),
        ),  # user messages before its prompt, readable or not
        ("prompt_index", pa.int32()),  # positions in `messages`
        ("response_index", pa.int32()),
        ("follow_up_index", pa.int32()),
        ("level", pa.int8()),  # 1..5; null where `error` is set
        (
            "level_probs",
            pa.list_(pa.float32()),
        ),  # five, over the label tokens; null when the judge gives none
        ("raw", pa.string()),
        ("judge", pa.string()),
        ("prompt_version", pa.string()),
        ("attempts", pa.int32()),  # requests and tokens of its answers, whoever paid for them
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("cached", CACHED),  # of attempts and tokens, what the judge cache saved; null when all was asked
        ("error", pa.string()),  # reason code, e.g. unparsable, timeout, http_400; null where there is a level
        ("error_detail", pa.string()),
        ("refusal_verdict", pa.int8()),  # 0 false refusal, 1 justified refusal, 2 not a refusal; null when not asked
        ("refusal_raw", pa.string()),
        ("refusal_error", pa.string()),
        (
            "similarities",
            pa.list_(SIMILARITY),
        ),  # follow-up against later ones within the window; null when unneeded
    ]
)

FEEDBACK = pa.schema(
    [
        ("row_id", pa.string()),  # unique in a run: hash of file name, row number and conversation hash
        ("conversation_hash", pa.string()),
        ("source_file", pa.string()),
        ("source_row", pa.int64()),
        ("status", pa.string()),  # kept | no_follow_up | quarantined
        ("reason", pa.string()),  # why it is quarantined
        ("detail", pa.string()),
        ("model", pa.string()),
        ("language", pa.string()),
        ("user", pa.string()),  # hashed_ip, or the log's own user id
        ("messages", MESSAGES),
        ("skipped_messages", pa.list_(SKIPPED_MESSAGE)),
        ("turns", pa.list_(JUDGED_TURN)),
    ]
)
"""feedback/: one row per input conversation, with all the evidence the judge gave."""

QUARANTINE = pa.schema(
    [
        ("row_id", pa.string()),
        ("conversation_hash", pa.string()),
        ("source_file", pa.string()),
        ("source_row", pa.int64()),  # null when the whole file could not be read
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)

WILDFB = pa.schema(
    [
        ("id", pa.string()),  # row_id/turn
        ("conversation_hash", pa.string()),
        ("turn", pa.int32()),
        ("messages", MESSAGES),  # history, prompt and, last, the assistant's reply that was judged
        ("follow_up", pa.string()),  # the user's next message: the evidence, never an input of the reward model
        ("label", pa.int8()),  # class 1..4
        ("level", pa.int8()),  # 1..5 after refinement
        ("judged_level", pa.int8()),  # 1..5 as the judge gave it
        ("level_probs", pa.list_(pa.float32())),
        ("source", pa.string()),  # explicit | hindsight | refusal
        ("donor_turn", pa.int32()),  # hindsight: the later turn that gave its label
        ("language", pa.string()),
        ("model", pa.string()),  # the model that wrote the reply
        ("user", pa.string()),
        ("judge", pa.string()),
        ("prompt_version", pa.string()),
    ]
)
"""wildfb/{train,test}/: one row per labelled reply."""


def table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of exactly this schema; a missing field is null, an unknown one is an error.

    >>> table([{"row_id": "a"}], QUARANTINE).column("reason").type
    DataType(string)
    """
    rows = list(rows)
    unknown = {key for row in rows for key in row} - set(schema.names)
    if unknown:
        raise ValueError(f"unknown columns {sorted(unknown)}; the schema has {schema.names}")
    return pa.Table.from_pylist(rows, schema=schema)
