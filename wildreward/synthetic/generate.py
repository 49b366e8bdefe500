"""A sample of conversations, and the truth about them in a file of its own.

OUTPUT/conversations/train-0000?-of-0000N.parquet   WildChat-1M's schema
OUTPUT/conversations/chat-log.jsonl                 OpenAI chat format, with bad lines
OUTPUT/conversations/damaged-*.parquet              files that cannot be read
OUTPUT/truth.parquet                                true levels by conversation_hash and turn; never an input
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from wildreward.storage import write_bytes
from wildreward.synthetic import malformed, material
from wildreward.synthetic.conversations import Conversation, ordinary
from wildreward.synthetic.special import CASES

if TYPE_CHECKING:
    import pyarrow as pa

MODELS = ("gpt-3.5-turbo-0613", "gpt-4-0314", "gpt-4-1106-preview", "gpt-3.5-turbo-0301")
CHAT_LOG_FRAC = 0.02
REFERENCE_CONVERSATIONS = 600
"""The sample for which the counts in `special.CASES` are given."""
START = datetime(2024, 1, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Sample:
    """What was generated: rows to read, chats for the JSONL log, and what is true of both."""

    rows: list[dict[str, Any]]
    chats: list[dict[str, Any]]
    truth: list[dict[str, Any]]


def generate(seed: int, conversations: int) -> list[dict[str, Any]]:
    """The rows of a sample in WildChat-1M's schema, some of them malformed."""
    return sample(seed, conversations).rows


def sample(seed: int, conversations: int) -> Sample:
    """A sample of about `conversations` readable ones; the same seed gives the same sample."""
    rng = Random(f"wildreward {seed}")
    talks = _talks(rng, conversations)
    rng.shuffle(talks)
    hashes = [_hash(seed, index, talk) for index, talk in enumerate(talks)]
    truth = [line for key, talk in zip(hashes, talks, strict=True) for line in _truth(key, talk)]
    pairs = list(zip(hashes, talks, strict=True))
    logged = max(1, round(len(talks) * CHAT_LOG_FRAC))
    rows = [_row(rng, key, talk) for key, talk in pairs[logged:]]
    rows[len(rows) // 2 : len(rows) // 2] = malformed.rows(rows[0])
    return Sample(rows, [_chat(key, talk) for key, talk in pairs[:logged]], truth)


def write(directory: str | Path, seed: int, conversations: int, shards: int = 4) -> Sample:
    """Write a sample as described at the top of this module; returns it."""
    made = sample(seed, conversations)
    data = Path(directory) / "conversations"
    per_shard = -(-len(made.rows) // shards)
    shard = b""
    for index in range(shards):
        rows = made.rows[index * per_shard : (index + 1) * per_shard]
        shard = parquet(rows, wildchat_schema())
        write_bytes(f"{data}/train-{index:05d}-of-{shards:05d}.parquet", shard)
    malformed.write_files(data, shard, made.chats)
    write_bytes(f"{directory}/truth.parquet", parquet(made.truth, truth_schema()))
    return made


def _talks(rng: Random, conversations: int) -> list[Conversation]:
    share = conversations / REFERENCE_CONVERSATIONS
    special = [make(rng) for make, count in CASES.values() for _ in range(max(1, round(count * share)))]
    return special + [ordinary(rng) for _ in range(max(0, conversations - len(special)))]


def _hash(seed: int, index: int, talk: Conversation) -> str:
    text = "".join(f"{message['role']}{message['content']}" for message in talk.messages)
    return hashlib.md5(f"{seed} {index} {text}".encode(), usedforsecurity=False).hexdigest()


def _language(talk: Conversation) -> str:
    return talk.language or material.LANGUAGE_NAMES[talk.lang]


def _row(rng: Random, key: str, talk: Conversation) -> dict[str, Any]:
    time = START + timedelta(minutes=rng.randrange(525_600))
    user = hashlib.sha256(f"user {rng.randrange(2000)}".encode()).hexdigest()
    country = {"zh": "China", "en": rng.choice(["United States", "United Kingdom", "Canada", "India"])}[talk.lang]
    language, turn_id = _language(talk), rng.randrange(10_000, 900_000)
    place = {"country": country, "state": None, "hashed_ip": user}
    messages = [
        {
            **message, **place, "language": language, "redacted": False, "toxic": False,
            "turn_identifier": turn_id + index // 2,
            "timestamp": time + timedelta(minutes=index) if message["role"] == "assistant" else None,
        }
        for index, message in enumerate(talk.messages)
    ]  # fmt: skip
    return {
        "conversation_hash": key, "model": rng.choice(MODELS), "timestamp": time + timedelta(minutes=len(messages)),
        "conversation": messages, "turn": len(messages) // 2, "language": language, "toxic": False,
        "redacted": False, **place,
    }  # fmt: skip


def _chat(key: str, talk: Conversation) -> dict[str, Any]:
    return {"conversation_hash": key, "messages": talk.messages, "language": _language(talk)}


def _truth(key: str, talk: Conversation) -> Sequence[dict[str, Any]]:
    return [
        {
            "conversation_hash": key, "turn": turn.turn, "true_level": turn.level, "true_level_refined": turn.refined,
            "grade": turn.grade, "refusal": turn.refusal, "drop": turn.drop, "case": talk.case,
            "language": _language(talk),
        }
        for turn in talk.turns
    ]  # fmt: skip


def parquet(rows: Sequence[dict[str, Any]], schema: "pa.Schema") -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer)
    return buffer.getvalue()


def wildchat_schema() -> "pa.Schema":
    """WildChat-1M's columns, without the moderation scores and the request header."""
    import pyarrow as pa

    text, flag, time = pa.string(), pa.bool_(), pa.timestamp("us", tz="UTC")
    message = pa.struct({
        "content": text, "country": text, "hashed_ip": text, "language": text, "redacted": flag, "role": text,
        "state": text, "timestamp": time, "toxic": flag, "turn_identifier": pa.int64(),
    })  # fmt: skip
    return pa.schema({
        "conversation_hash": text, "model": text, "timestamp": time, "conversation": pa.list_(message),
        "turn": pa.int64(), "language": text, "toxic": flag, "redacted": flag, "state": text, "country": text,
        "hashed_ip": text,
    })  # fmt: skip


def truth_schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema({
        "conversation_hash": pa.string(),
        "turn": pa.int32(),  # ordinal of the prompt among the conversation's user messages
        "true_level": pa.int8(),  # what the follow-up says
        "true_level_refined": pa.int8(),  # after hindsight and refusal validation
        "grade": pa.int8(),  # quality at which the reply was written; null in the special cases
        "refusal": pa.int8(),  # 0 false refusal, 1 justified refusal
        "drop": pa.string(),  # the quality filter that must drop the row
        "case": pa.string(),
        "language": pa.string(),
    })  # fmt: skip
