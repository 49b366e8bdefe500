"""Settings of `wildreward label`: what is read, who judges it, how labels are refined, filtered, mapped and split."""

import urllib.parse
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from wildreward.scale import CLASS_MAPS
from wildreward.settings.base import StageSettings

FILTERS = (
    "image_generation",
    "search_or_links",
    "identity_question",
    "missing_attachment",
    "media",
    "personal_data",
    "too_short",
    "history_too_long",
    "language",
)
"""The quality filters in the order they are asked; the first that says no names the reason."""


def _url_problem(url: str) -> str | None:
    """What is wrong with the base URL of an endpoint, without showing it."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in {"http", "https"} or not host:
        return "is no URL; expected one such as http://127.0.0.1:8001/v1"
    if "@" in parts.netloc:
        return "holds a user or password; keys are read from the environment only (OPENAI_API_KEY)"
    if parts.query or parts.fragment:
        return "has a ?query or #fragment; expected a base URL such as http://127.0.0.1:8001/v1"
    return None


class LabelSettings(StageSettings):
    """Conversations in, WildFB rows out."""

    PLACEMENT = frozenset(
        {
            "judge_url", "judge_concurrency", "judge_timeout_s", "judge_requests_per_minute", "judge_tokens_per_minute",
            "judge_retry_base_s", "judge_retry_max_s", "judge_max_outage_s", "judge_max_consecutive_failures",
            "judge_engine", "judge_actors", "judge_gpus_per_actor", "label_batch_rows", "max_cpus",
        }
    )  # fmt: skip

    input: tuple[str, ...] = ()
    """Conversations: parquet or JSONL files, directories or globs (local, s3://, hf://, any fsspec URL)."""

    limit: int | None = Field(default=None, ge=1)
    """Read only this many conversations, the first in the order of the files: a trial run. Default: all."""

    sample_frac: float = Field(default=1.0, gt=0, le=1)
    """Read only this share of the conversations, chosen by id (or content) and seed. With limit: the first of these."""

    max_quarantined_frac: float | None = Field(default=None, ge=0, le=1)
    """Stop when more than this share of the input cannot be read. Default: 0.5, and only from 100 rows on."""

    dry_run: bool = False
    """Count what would be asked and what it would cost; ask nothing and write nothing."""

    retry_errors: bool = False
    """Judge those conversations again in which an answer failed; all the others in --output are kept."""

    usd_per_million_input: float | None = Field(default=None, ge=0)
    """Price of a million prompt tokens, in dollars: the run, or the dry run, then tells what it costs."""

    usd_per_million_output: float | None = Field(default=None, ge=0)
    """Price of a million tokens of answers, in dollars."""

    judge_tokenizer: str | None = None
    """dry_run: tokenizer that counts prompt tokens (a directory or hub id). Default: judge_model's, if it is here."""

    assumed_negative_frac: float = Field(default=0.17, ge=0, le=1)
    """dry_run: share of negative feedback on replies that look like refusals (0.17: of all replies in WildChat)."""

    assumed_answer_tokens: int = Field(default=40, ge=1)
    """dry_run: tokens of one answer: the level and a reason of at most twenty words. Models that think need more."""

    judge: Literal["lexicon", "openai", "vllm"] = "lexicon"
    """Who reads the follow-ups: the built-in list of cues, an OpenAI-compatible endpoint, or vLLM in the actors."""

    judge_url: tuple[str, ...] = ()
    """openai: base URLs, such as http://127.0.0.1:8001/v1; several share the load and stand in for one another. Keys
    come from the environment only: OPENAI_API_KEY, or OPENAI_API_KEY_1 for the first URL, _2 for the second, ..."""

    judge_model: str | None = None
    """openai: model name as the endpoint knows it. vllm: a model directory or hub id."""

    judge_concurrency: int = Field(default=64, ge=1)
    """openai: requests in flight per judge actor. vllm: turns in flight per judge actor."""

    judge_timeout_s: float = Field(default=120.0, gt=0)
    """openai: longest wait for one answer, in seconds; then it is asked again."""

    judge_requests_per_minute: int | None = Field(default=None, ge=1)
    """openai: most requests in any minute of the run, over all judge actors and endpoints. Default: no limit."""

    judge_tokens_per_minute: int | None = Field(default=None, ge=1)
    """openai: most tokens (prompts and answers) a minute, alike. Estimated before, put right by the usage reported."""

    judge_max_retries: int = Field(default=6, ge=0)
    """openai: further tries after a 408, 409, 5xx, a lost connection or a timeout, with growing pauses, before the turn
    is an error. Only failures while the judge answers other turns count; a 429 is waited out instead."""

    judge_retry_base_s: float = Field(default=0.5, gt=0)
    """openai: first pause between tries in seconds; it doubles each time, with jitter; Retry-After overrides it."""

    judge_retry_max_s: float = Field(default=60.0, gt=0)
    """openai: longest pause between two tries, in seconds, where the server names none (Retry-After)."""

    judge_max_outage_s: float = Field(default=600.0, gt=0)
    """openai: how long the run waits for a judge that answers nothing, in seconds, before it stops. No turn becomes an
    error by it; also the longest a turn waits out 429 answers, and the longest Retry-After that is kept to."""

    judge_max_reasks: int = Field(default=2, ge=0)
    """openai, vllm: further questions after an answer without a level; then the turn is an error, without a label."""

    judge_max_consecutive_failures: int = Field(default=20, ge=1)
    """openai: turns in a row that became errors, in one judge actor, before the run stops: the judge answers, but it is
    sick or set up wrongly. Answers without a level and refused requests count until the first level has come."""

    judge_temperature: float = Field(default=0.0, ge=0, le=2)
    """openai, vllm: sampling temperature. A re-ask uses at least 0.3, or it would repeat itself."""

    judge_max_tokens: int = Field(default=256, ge=1)
    """openai, vllm: longest answer, in tokens. Models that think before they answer need more."""

    judge_extra_body: dict[str, Any] = Field(default={})
    """openai: further fields of each request, such as {chat_template_kwargs: {enable_thinking: false}}."""

    judge_logprobs: bool = False
    """openai, vllm: ask for token log-probabilities and keep the distribution over the five levels (`level_probs`). An
    endpoint that refuses is not used; labels that came without are counted at the end."""

    judge_cache: str | None = None
    """openai, vllm: directory of the judge cache (local, s3://, any fsspec URL), which outputs may share; `none`: no
    cache. Default: .state/judge_cache in --output, which --overwrite leaves alone."""

    judge_history_turns: int = Field(default=0, ge=0)
    """openai, vllm: earlier exchanges shown to the judge before the turn in question. 0 is what the paper does."""

    judge_constrain: Literal["level", "level_and_reason"] = "level_and_reason"
    """vllm: constrain the answer to the bare level, or to the level and a short reason."""

    judge_engine: dict[str, Any] = Field(default={})
    """vllm: engine arguments, such as {tensor_parallel_size: 2, max_model_len: 8192}."""

    max_cpus: float | None = Field(default=None, ge=1)
    """Most CPUs of the cluster that reading and judging take at a time; the rest is for other stages. Default: all."""

    judge_actors: int = Field(default=1, ge=1)
    """Judge actors. openai: one with a high concurrency is usually enough. vllm: one per engine."""

    judge_gpus_per_actor: float = Field(default=0.0, ge=0)
    """vllm: GPUs Ray reserves for one engine (tensor_parallel_size times pipeline_parallel_size)."""

    embedder: str = "minilm"
    """Sentence embeddings of the topic gate: `minilm` (the packaged all-MiniLM-L6-v2), a directory or a hub id."""

    hindsight_window_turns: int = Field(default=2, ge=0)
    """How many turns ahead a neutral turn looks for an explicit positive on its topic. 0 switches hindsight off."""

    hindsight_min_similarity: float = Field(default=0.5, ge=-1, le=1)
    """Cosine of two follow-ups from which they count as the same topic."""

    refusal_validation: bool = True
    """Ask the judge a second question where negative feedback meets a reply that looks like a refusal."""

    refusal_max_chars: int = Field(default=1000, ge=0)
    """Longest reply that may be a refusal, in characters, a Chinese one counting as three."""

    refusal_opening_chars: int = Field(default=300, ge=1)
    """Characters of a reply in which the cues of a refusal are looked for."""

    filters: tuple[str, ...] = FILTERS
    """Quality filters that are on; `none` switches all off."""

    min_prompt_units: int = Field(default=5, ge=0)
    """too_short: least length of a prompt, in words plus Chinese, Japanese or Korean characters."""

    min_response_units: int = Field(default=10, ge=0)
    """too_short: least length of a reply, counted alike."""

    max_history_messages: int = Field(default=20, ge=0)
    """history_too_long: most messages before the prompt."""

    max_total_units: int = Field(default=4096, ge=1)
    """history_too_long: most words (and CJK characters) of history, prompt and reply together."""

    max_identity_units: int = Field(default=40, ge=0)
    """identity_question: a longer prompt that asks for a name is a story or a program that does."""

    filter_edge_chars: int = Field(default=300, ge=1)
    """Start and end of a prompt, in characters each, where filters look for what it asks for."""

    languages: tuple[str, ...] = ("English", "Chinese")
    """language: what is kept, by English name as in WildChat (`Russian`); `all` keeps every language."""

    drop_duplicate_prompts: Literal["none", "exact", "near"] = "none"
    """Keep one row of those whose prompt (all the user said up to the reply) is the same, or nearly the same."""

    near_duplicate_similarity: float = Field(default=0.8, gt=0, le=1)
    """drop_duplicate_prompts near: Jaccard similarity of two prompts' character 5-grams from which one of them goes."""

    max_rows_per_user: int | None = Field(default=None, ge=1)
    """Keep at most this many rows of a user (WildChat's hashed_ip), drawn by seed. Default: all."""

    class_map: Literal["four", "five", "binary"] = "four"
    """Levels to classes. four: 1,2,4,5 -> 1..4, neutral dropped (the paper). five: as judged. binary: 1,2 and 4,5."""

    test_rows: int | None = Field(default=None, ge=0)
    """Rows for the test split, by whole conversations. Default: 5000, or a tenth when there are fewer than 50000."""

    report_samples: int = Field(default=5, ge=0, le=100)
    """Rows shown in report.html for each level and each reason they were dropped for: users' words. 0 shows none."""

    export: tuple[Literal["jsonl"], ...] = ()
    """Also write the rows in another layout. jsonl: WildReward's WildFB, one object a line, in export/."""

    export_template: str | None = None
    """jsonl: a text file for `text`, with {history}, {query} and {response} where these go. Default: a built-in one."""

    card_license: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.\-]*$")
    """License named in the data set card, by the Hub's identifier, such as odc-by. Default: none is claimed."""

    card_name: str = Field(default="WildFB rows", min_length=1)
    """Name of the data set in its card."""

    label_batch_rows: int = Field(default=64, ge=1)
    """Conversations per block: what is judged together, and what is lost at most by a block when the run is killed."""

    @field_validator("filters")
    @classmethod
    def _known_filters(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if names == ("none",):
            return ()
        unknown = [name for name in names if name not in FILTERS]
        if unknown:
            raise ValueError(f"unknown filter {unknown[0]!r}; allowed are {', '.join(FILTERS)}, or none alone")
        return tuple(name for name in FILTERS if name in names)

    @field_validator("languages")
    @classmethod
    def _all_languages(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return () if names == ("all",) else names

    @field_validator("judge_url", mode="before")
    @classmethod
    def _one_url_is_a_list(cls, urls: Any) -> Any:
        return (urls,) if isinstance(urls, str) else urls or ()

    @model_validator(mode="after")
    def _judge_requests_hold_no_key(self) -> Self:
        for place, url in enumerate(self.judge_url, 1):
            if problem := _url_problem(url):
                # The URL itself is not shown: it may hold a key.
                raise ValueError(f"judge_url: number {place} {problem}")
        if len(set(self.judge_url)) < len(self.judge_url):
            raise ValueError("judge_url: the same URL is given twice")
        if taken := sorted(set(self.judge_extra_body) & {"messages", "stream", "api_key"}):
            raise ValueError(f"judge_extra_body: {taken[0]} cannot be set here; keys come from the environment only")
        return self

    @model_validator(mode="after")
    def _prices_come_together(self) -> Self:
        given = {name: getattr(self, name) is not None for name in ("usd_per_million_input", "usd_per_million_output")}
        if any(given.values()) and not all(given.values()):
            missing = next(name for name, there in given.items() if not there)
            raise ValueError(f"{missing}: required with the other price (--{missing.replace('_', '-')})")
        return self

    @model_validator(mode="after")
    def _judge_is_named(self) -> Self:
        if self.dry_run:
            return self  # nobody is asked
        if self.judge != "lexicon" and not self.judge_model:
            raise ValueError(f"judge_model: required with judge {self.judge} (--judge-model)")
        if self.judge == "openai" and not self.judge_url:
            raise ValueError("judge_url: required with judge openai, such as http://127.0.0.1:8001/v1 (--judge-url)")
        return self

    @model_validator(mode="after")
    def _engine_fits_its_gpus(self) -> Self:
        ranks = [int(self.judge_engine.get(f"{name}_parallel_size", 1)) for name in ("tensor", "pipeline")]
        if 0 < self.judge_gpus_per_actor < ranks[0] * ranks[1]:
            raise ValueError(
                f"judge_gpus_per_actor: found {self.judge_gpus_per_actor:g}; judge_engine spreads the model over "
                f"{ranks[0] * ranks[1]} GPUs (tensor_parallel_size times pipeline_parallel_size)"
            )
        return self

    @model_validator(mode="after")
    def _export_has_four_classes(self) -> Self:
        if "jsonl" in self.export and self.class_map != "four":
            raise ValueError(f"export: jsonl is a layout of four classes; class_map is {self.class_map}, not four")
        return self

    @property
    def classes(self) -> Mapping[int, int]:
        """Level -> class; a level that is missing is dropped."""
        return CLASS_MAPS[self.class_map]
