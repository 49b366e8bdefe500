"""Arrow schemas of everything written to disk. Blocks are always built with these, never inferred.

An inferred block whose nullable column happens to be all null gets another Arrow type, and later reads fail with
"Types mismatch": hence `table()`, the one way rows become a table here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Column:
    """A column, or a field of a nested one, and what it means: the data set card shows this text."""

    name: str
    type: pa.DataType
    meaning: str

    def field(self) -> pa.Field:
        return pa.field(self.name, self.type)


JUDGED_TURN_COLUMNS = (
    Column("turn", pa.int32(), "0-based: user messages before its prompt, readable or not"),
    Column("prompt_index", pa.int32(), "position of the user's prompt in `messages`"),
    Column("response_index", pa.int32(), "position of the reply that is judged"),
    Column("follow_up_index", pa.int32(), "position of the user's next message"),
    Column("level", pa.int8(), "1..5; null where `error` is set"),
    Column(
        "level_probs",
        pa.list_(pa.float32()),
        "five, over the label tokens, summing to 1; null when the judge gives none",
    ),
    Column("raw", pa.string(), "the judge's answer as it came"),
    Column("judge", pa.string(), "who judged: `lexicon`, or the model's name"),
    Column("prompt_version", pa.string(), "which wording of the questions was asked"),
    Column("attempts", pa.int32(), "requests its answers took, both questions together, whoever paid for them"),
    Column("prompt_tokens", pa.int32(), "tokens of all these requests; null when the judge does not count them"),
    Column("completion_tokens", pa.int32(), "tokens of all these answers; null alike"),
    Column("cached", CACHED, "of attempts and tokens, what the judge cache saved; null when all was asked"),
    Column("error", pa.string(), "reason code, e.g. unparsable, timeout, http_400; null where there is a level"),
    Column("error_detail", pa.string(), "the error in words"),
    Column("refusal_verdict", pa.int8(), "0 false refusal, 1 justified refusal, 2 not a refusal; null when not asked"),
    Column("refusal_raw", pa.string(), "the judge's answer to the refusal question as it came"),
    Column("refusal_error", pa.string(), "reason code where the refusal question has no answer"),
    Column(
        "similarities",
        pa.list_(SIMILARITY),
        "cosine of its follow-up with later ones in the hindsight window; null when unneeded",
    ),
)
JUDGED_TURN = pa.struct([column.field() for column in JUDGED_TURN_COLUMNS])

FEEDBACK_COLUMNS = (
    Column("row_id", pa.string(), "unique in a run: hash of file name, row number and conversation hash"),
    Column("conversation_hash", pa.string(), "the log's own id, or a hash of what was said"),
    Column("source_file", pa.string(), "the file it was read from"),
    Column("source_row", pa.int64(), "its row in that file, from 0; null when the whole file could not be read"),
    Column("status", pa.string(), "kept, no_follow_up or quarantined"),
    Column("reason", pa.string(), "why it is quarantined; null otherwise"),
    Column("detail", pa.string(), "the reason in words"),
    Column("model", pa.string(), "the model that wrote the replies"),
    Column("language", pa.string(), "English name, as in WildChat"),
    Column("user", pa.string(), "hashed_ip, or the log's own user id"),
    Column("messages", MESSAGES, "the readable messages, alternating after at most one system message"),
    Column("skipped_messages", pa.list_(SKIPPED_MESSAGE), "which messages of the log were left out, and why"),
    Column("turns", pa.list_(JUDGED_TURN), "the turns that can be judged, with all that the judge said"),
)
FEEDBACK = pa.schema([column.field() for column in FEEDBACK_COLUMNS])
"""feedback/: one row per input conversation, with all the evidence the judge gave."""

QUARANTINE_COLUMNS = tuple(
    column
    for column in FEEDBACK_COLUMNS
    if column.name in ("row_id", "conversation_hash", "source_file", "source_row", "reason", "detail")
)
QUARANTINE = pa.schema([column.field() for column in QUARANTINE_COLUMNS])
"""quarantine/: one row per conversation, or whole file, that could not be read."""

WILDFB_COLUMNS = (
    Column("id", pa.string(), "row_id/turn"),
    Column("conversation_hash", pa.string(), "all rows of a conversation are on the same side of the split"),
    Column("turn", pa.int32(), "0-based ordinal of its prompt among the conversation's user messages"),
    Column("messages", MESSAGES, "history, prompt and, last, the assistant's reply that was judged"),
    Column("follow_up", pa.string(), "the user's next message: the evidence, never an input of the reward model"),
    Column("label", pa.int8(), "class 1..4 (other class maps: 1..5 or 1..2)"),
    Column("level", pa.int8(), "feedback level 1..5 after refinement"),
    Column("judged_level", pa.int8(), "feedback level 1..5 as the judge gave it"),
    Column("level_probs", pa.list_(pa.float32()), "the judge's five probabilities; null where the level was refined"),
    Column("source", pa.string(), "where the level comes from: explicit, hindsight or refusal"),
    Column("donor_turn", pa.int32(), "hindsight: the later turn that gave its label; null otherwise"),
    Column("language", pa.string(), "English name, as in WildChat"),
    Column("model", pa.string(), "the model that wrote the reply"),
    Column("user", pa.string(), "hashed_ip, or the log's own user id"),
    Column("judge", pa.string(), "who judged: `lexicon`, or the model's name"),
    Column("prompt_version", pa.string(), "which wording of the questions was asked"),
)
WILDFB = pa.schema([column.field() for column in WILDFB_COLUMNS])
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
