"""Settings of `wildreward dpo`: online DPO of a policy against a reward model."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wildreward.settings.base import StageSettings

SCORERS = ("checkpoint", "handle", "callable")

FREE_ON_RESUME = frozenset(
    {
        "steps",
        "checkpoint_every_steps",
        "keep_checkpoints",
        "sample_every_steps",
        "track",
        "max_failed_scores_frac",
        "rollout_engines",
        "scorers",
        "cpus_per_actor",
        "gpus_per_actor",
    }
)
"""Fields that do not change what the steps compute: the same run may be continued with other values of these."""


class DpoSettings(StageSettings):
    """Who improves what, on which prompts, and how."""

    policy: str = ""
    """The starting policy: a Hugging Face causal language model with a chat template (directory or hub id)."""

    checkpoint: str = ""
    """The reward model, loaded in the run's own actors: a directory written by `wildreward train`, or any other ordinal
    or scalar Hugging Face reward model."""

    handle: str | None = Field(default=None, min_length=1)
    """Instead of --checkpoint: name of a running `wildreward serve` application on the same cluster, asked without
    HTTP."""

    callable: str | None = Field(default=None, min_length=1)
    """Instead of --checkpoint: module:function that gets a list of conversations and returns as many numbers
    (wildreward/callable_scorer.py)."""

    template: str | None = None
    """Template file of a --checkpoint that carries none, or "chat" for its tokenizer's own chat template."""

    eval_checkpoint: str | None = Field(default=None, min_length=1)
    """A second, independent reward model that only evaluations ask: where the reward rises and this one's does not, the
    policy has found a weakness of the reward model."""

    eval_handle: str | None = Field(default=None, min_length=1)
    """The second scorer as a running application, as --handle."""

    eval_callable: str | None = Field(default=None, min_length=1)
    """The second scorer as a function, as --callable."""

    eval_template: str | None = None
    """Template of --eval-checkpoint, as --template."""

    input: tuple[str, ...] = ()
    """Prompts: wildfb or label directories, parquet, JSONL or globs with a messages, conversation or prompt column
    (local, s3://, any fsspec URL)."""

    max_prompts: int | None = Field(default=None, ge=2)
    """At most so many prompts of --input are used, the first ones that fit; the rest is not read. Each is tokenised
    before the first step. Default: all."""

    eval_input: tuple[str, ...] = ()
    """Held-out prompts, in the same formats. Default: a part of --input, kept apart by conversation."""

    steps: int = Field(default=100, ge=1)
    """Optimiser steps. A finished run continues when this is raised."""

    prompt_turn: Literal["first", "last", "all"] = "last"
    """Which user messages of a conversation become prompts, each with the history before it."""

    prompts_per_step: int = Field(default=64, ge=1)
    """Prompts a step (the batch of the published run is 64)."""

    completions_per_prompt: int = Field(default=8, ge=2, le=64)
    """Completions sampled for each prompt; the best and the worst become the pair."""

    max_prompt_tokens: int = Field(default=1024, ge=8)
    """Longer prompts are skipped and counted, in tokens of the policy."""

    max_new_tokens: int = Field(default=512, ge=1)
    """A completion is cut at this length, in tokens of the policy."""

    temperature: float = Field(default=1.0, gt=0, le=10)
    """Sampling temperature."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling: the probability mass sampled from."""

    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    """DPO's logistic loss, or IPO's squared one."""

    beta: float = Field(default=0.1, gt=0, le=10)
    """Strength of the pull towards the starting policy."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Assumed share of wrongly ordered pairs (sigmoid loss only)."""

    sft_weight: float = Field(default=0.0, ge=0)
    """Weight of an added negative log-likelihood of the chosen completion, per token."""

    length_normalized: bool = False
    """Divide log-probabilities by the completion's length in tokens."""

    min_reward_gap: float = Field(default=0.0, ge=0)
    """Pairs whose rewards differ by no more than this are skipped and counted (0: exact ties only)."""

    length_penalty: float = Field(default=0.0, ge=0)
    """Subtracted from the reward for every 100 tokens of a completion before best and worst are chosen."""

    choose_cut_off: bool = True
    """Whether a completion cut at max_new_tokens may be the chosen one."""

    max_length_gap: int | None = Field(default=None, ge=0)
    """Most tokens by which chosen and rejected may differ in length: of the pairs that keep to it the one with the
    largest reward gap is taken; a prompt without one is skipped and counted."""

    max_failed_scores_frac: float = Field(default=0.25, ge=0, le=1)
    """The run stops when more than this share of a step's completions could not be scored."""

    lr: float = Field(default=5e-7, gt=0, le=1)
    """Peak learning rate of AdamW."""

    lr_warmup_steps: int = Field(default=0, ge=0)
    """Steps of linear warm-up; constant afterwards."""

    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's weight decay."""

    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""

    micro_batch_tokens: int = Field(default=8192, ge=64)
    """Padded tokens in one forward and backward pass; gradients accumulate over a step's passes."""

    staleness: Literal[0, 1] = 1
    """0: strictly on-policy. 1: the next step's rollouts run while the learner works, with weights one step old."""

    rollout: Literal["transformers", "vllm"] = "transformers"
    """The engine that writes completions."""

    rollout_engines: int = Field(default=1, ge=1)
    """Rollout actors."""

    rollout_batch_prompts: int = Field(default=16, ge=1)
    """Prompts generated in one call; the result does not depend on how many engines share the calls."""

    scorers: int = Field(default=1, ge=1)
    """Scorer actors."""

    score_batch_tokens: int = Field(default=8192, ge=64)
    """Tokens in one forward pass of the reward model."""

    max_unknown_tokens_frac: float = Field(default=0.3, ge=0, le=1)
    """The run does not start when more than this share of the held-out prompts' tokens is unknown to the reward model's
    tokenizer. Policy and reward model exchange text, so their tokenizers may differ."""

    trust_remote_code: bool = False
    """Run code that a policy or reward model brings along."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where the roles compute."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of rollouts, reference and scorer; the learner keeps float32 weights and computes in this one."""

    gpus_per_actor: float = Field(default=1.0, gt=0, le=8)
    """GPU share asked of Ray for each actor when device is cuda (0.25 puts the four roles on one GPU)."""

    cpus_per_actor: float = Field(default=0.5, ge=0, le=64)
    """CPU slots asked of Ray for each actor: where it is placed, not how many threads it uses."""

    threads: int = Field(default=0, ge=0)
    """CPU threads of each actor; 0: all cores of its node, as the roles take turns."""

    eval_prompts: int = Field(default=64, ge=2)
    """Held-out prompts."""

    eval_completions: int = Field(default=1, ge=1)
    """Completions for each held-out prompt, sampled with the same seed at every evaluation."""

    eval_every_steps: int = Field(default=0, ge=0)
    """Steps between evaluations; 0: only before the first and after the last step."""

    select_by: Literal["reward", "second"] = "reward"
    """Whose evaluation says which step is published as policy_best: the reward model's, or the second scorer's."""

    checkpoint_every_steps: int = Field(default=20, ge=1)
    """Steps between checkpoints (policy, optimiser, position)."""

    keep_checkpoints: int = Field(default=2, ge=1)
    """Newest checkpoints kept, besides that of the best evaluation."""

    sample_every_steps: int = Field(default=5, ge=1)
    """Steps between lines in samples.jsonl (completions with their rewards)."""

    track: tuple[Literal["wandb", "mlflow"], ...] = ()
    """Also log to Weights & Biases or MLflow (extras wandb, mlflow); a run that continues goes on in the same run."""

    track_project: str = "wildreward"
    """Project (Weights & Biases) or experiment (MLflow) of the run."""

    @model_validator(mode="after")
    def _one_scorer_each(self) -> Self:
        for prefix in ("", "eval_"):
            given = [prefix + name for name in SCORERS if getattr(self, prefix + name)]
            if len(given) > 1:
                raise ValueError(f"{given[1]}: one scorer is enough; found {' and '.join(given)}")
            if getattr(self, f"{prefix}template") and given != [f"{prefix}checkpoint"]:
                raise ValueError(f"{prefix}template: it is for a {prefix}checkpoint; other scorers apply their own")
        if self.select_by == "second" and not any(getattr(self, f"eval_{name}") for name in SCORERS):
            raise ValueError("select_by: second needs a second scorer: eval_checkpoint, eval_handle or eval_callable")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.loss == "ipo" and self.label_smoothing:
            raise ValueError(f"label_smoothing: found {self.label_smoothing}; the ipo loss has none, set it to 0")
        return self
