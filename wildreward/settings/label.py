"""Settings of `wildreward label`: what is read, who judges it, how labels are refined, filtered, mapped and split."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from wildreward.scale import FOUR_CLASSES
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

CLASS_MAPS: Mapping[str, Mapping[int, int]] = {
    "four": FOUR_CLASSES,
    "five": {1: 1, 2: 2, 3: 3, 4: 4, 5: 5},
    "binary": {1: 1, 2: 1, 4: 2, 5: 2},
}


class LabelSettings(StageSettings):
    """Conversations in, WildFB rows out."""

    input: tuple[str, ...] = ()
    """Conversations: parquet or JSONL files, directories or globs (local, s3://, hf://, any fsspec URL)."""

    limit: int | None = Field(default=None, ge=1)
    """Read only this many conversations: a trial run. Default: all."""

    judge: Literal["lexicon", "openai", "vllm"] = "lexicon"
    """Who reads the follow-ups: the built-in list of cues, an OpenAI-compatible endpoint, or vLLM in the actors."""

    judge_url: str | None = None
    """openai: base URL of the endpoint, such as http://127.0.0.1:8001/v1. The key is read from OPENAI_API_KEY only."""

    judge_model: str | None = None
    """openai: model name as the endpoint knows it. vllm: a model directory or hub id."""

    judge_concurrency: int = Field(default=64, ge=1)
    """openai: requests in flight per judge actor. vllm: turns in flight per judge actor."""

    judge_timeout_s: float = Field(default=120.0, gt=0)
    """openai: longest wait for one answer, in seconds; then it is asked again."""

    judge_max_retries: int = Field(default=6, ge=0)
    """openai: further tries after a 408, 409, 429, 5xx, a lost connection or a timeout, with growing pauses."""

    judge_retry_base_s: float = Field(default=0.5, gt=0)
    """openai: first pause between tries in seconds; it doubles each time, with jitter; Retry-After overrides it."""

    judge_retry_max_s: float = Field(default=60.0, gt=0)
    """openai: longest pause between two tries, in seconds; a longer Retry-After is cut to this."""

    judge_max_reasks: int = Field(default=2, ge=0)
    """openai, vllm: further questions after an answer without a level; then the turn is an error, without a label."""

    judge_max_consecutive_failures: int = Field(default=20, ge=1)
    """openai: turns in a row that failed for good, in one judge actor, before the run stops: the endpoint is down."""

    judge_temperature: float = Field(default=0.0, ge=0, le=2)
    """openai, vllm: sampling temperature. A re-ask uses at least 0.3, or it would repeat itself."""

    judge_max_tokens: int = Field(default=256, ge=1)
    """openai, vllm: longest answer, in tokens. Models that think before they answer need more."""

    judge_extra_body: dict[str, Any] = Field(default={})
    """openai: further fields of each request, such as {chat_template_kwargs: {enable_thinking: false}}."""

    judge_logprobs: bool = False
    """openai: ask for token log-probabilities and keep the distribution over the levels, where the endpoint can."""

    judge_history_turns: int = Field(default=0, ge=0)
    """openai, vllm: earlier exchanges shown to the judge before the turn in question. 0 is what the paper does."""

    judge_constrain: Literal["level", "level_and_reason"] = "level_and_reason"
    """vllm: constrain the answer to the bare level, or to the level and a short reason."""

    judge_engine: dict[str, Any] = Field(default={})
    """vllm: engine arguments, such as {tensor_parallel_size: 2, max_model_len: 8192}."""

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

    languages: tuple[str, ...] = ("English", "Chinese")
    """language: what is kept, by English name as in WildChat (`Russian`); `all` keeps every language."""

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

    @model_validator(mode="after")
    def _judge_is_named(self) -> Self:
        if self.judge != "lexicon" and not self.judge_model:
            raise ValueError(f"judge_model: required with judge {self.judge} (--judge-model)")
        if self.judge == "openai" and not self.judge_url:
            raise ValueError("judge_url: required with judge openai, such as http://127.0.0.1:8001/v1 (--judge-url)")
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
