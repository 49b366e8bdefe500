"""Settings of `wildreward dpo`: online DPO of a policy against a reward model."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from wildreward.settings.base import StageSettings

SCORERS = ("checkpoint", "handle", "callable")

ROLES = ("rollout", "scorer", "reference", "learner")

WHERE_AND_HOW = frozenset(
    {
        "checkpoint_every_steps",
        "keep_checkpoints",
        "track",
        "rollout_engines",
        "scorers",
        "cpus_per_actor",
        "gpus_per_actor",
        *(f"{role}_{kind}" for role in ROLES for kind in ("cpus", "gpus")),
        "gradient_checkpointing",
        "sync_bucket_bytes",
    }
)
"""Fields without which the run makes the same."""

FREE_ON_RESUME = WHERE_AND_HOW | {"steps", "sample_every_steps", "max_failed_scores_frac"}
"""Fields that do not change what the steps compute: the same run may be continued with other values of these.

zero_stage and learner_workers are not among them: they change the order in which gradients are summed, and a checkpoint
holds each worker's part of the optimiser.
"""


class DpoSettings(StageSettings):
    """Who improves what, on which prompts, and how."""

    PLACEMENT = WHERE_AND_HOW

    policy: str = ""
    """The starting policy: a Hugging Face causal language model with a chat template (directory, URL or hub id)."""

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
    """Strength of the pull towards the reference (the starting policy)."""

    beta_end: float | None = Field(default=None, gt=0, le=10)
    """What beta becomes by the end of its schedule."""

    beta_schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How beta goes to beta_end."""

    reference_refresh_steps: int = Field(default=0, ge=0)
    """Every so many optimiser steps the policy of then becomes the reference; 0: it stays the starting policy."""

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
    """Steps of linear warm-up."""

    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Decay after warm-up."""

    min_lr_frac: float = Field(default=0.0, ge=0, le=1)
    """Learning rate at the end of the decay, in units of lr."""

    schedule_steps: int | None = Field(default=None, ge=1)
    """Optimiser steps in which lr decays and beta goes to beta_end; both then stay. Default: steps, where one changes.
    To continue a finished run with more steps, give the number it began with."""

    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's weight decay; biases and norms are left out."""

    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW betas."""

    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""

    micro_batch_tokens: int = Field(default=8192, ge=64)
    """Padded tokens in one forward and backward pass of a worker; gradients accumulate over a step's passes."""

    learner_workers: int = Field(default=1, ge=1)
    """Processes that share the learner's work, one GPU each where device is cuda."""

    zero_stage: Literal[0, 1, 2, 3] = 2
    """DeepSpeed ZeRO stage of the learner: 1 shards the optimiser, 2 the gradients too, 3 the weights too."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    lora_rank: int = Field(default=0, ge=0)
    """Rank of LoRA adapters; 0 trains all weights. With adapters the reference is the policy with them off, only they
    travel to the rollout engines, and policy/ holds the merged policy with adapter/ in it."""

    lora_alpha: int = Field(default=16, ge=1)
    """LoRA's scale: adapters add alpha / rank times their product."""

    lora_targets: tuple[str, ...] = Field(default=("all-linear",), min_length=1)
    """Modules that get an adapter, by the end of their names (q_proj, v_proj); all-linear: every one but the head."""

    sync_bucket_bytes: int = Field(default=2**28, ge=2**10)
    """Weights travel to the rollout engines in pieces of about this size: the memory that takes beside the models."""

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
    """Precision of weights and activations in every role; the learner's optimiser keeps float32."""

    gpus_per_actor: float = Field(default=1.0, gt=0, le=8)
    """GPU share asked of Ray for each actor when device is cuda (0.25 puts the four roles on one GPU)."""

    cpus_per_actor: float = Field(default=0.5, ge=0, le=64)
    """CPU slots asked of Ray for each actor: where it is placed, not how many threads it uses."""

    rollout_gpus: float | None = Field(default=None, gt=0, le=8)
    """GPU share of a rollout engine. Default: gpus_per_actor."""

    rollout_cpus: float | None = Field(default=None, ge=0, le=64)
    """CPU slots of a rollout engine. Default: cpus_per_actor."""

    scorer_gpus: float | None = Field(default=None, gt=0, le=8)
    """GPU share of a scorer. Default: gpus_per_actor."""

    scorer_cpus: float | None = Field(default=None, ge=0, le=64)
    """CPU slots of a scorer. Default: cpus_per_actor."""

    reference_gpus: float | None = Field(default=None, gt=0, le=8)
    """GPU share of the reference. Default: gpus_per_actor."""

    reference_cpus: float | None = Field(default=None, ge=0, le=64)
    """CPU slots of the reference. Default: cpus_per_actor."""

    learner_gpus: float | None = Field(default=None, gt=0, le=1)
    """GPU share of a learner worker; below 1 only for a single one, as NCCL wants a GPU for each. Default:
    gpus_per_actor."""

    learner_cpus: float | None = Field(default=None, ge=0, le=64)
    """CPU slots of a learner worker. Default: cpus_per_actor."""

    threads: int = Field(default=0, ge=0)
    """CPU threads of each actor; 0: all cores of its node, as the roles take turns (learner workers share them), and
    half of them where rollouts overlap with learning on CPUs: threads that wait for a core stall all others."""

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

    @property
    def cores_divided(self) -> int:
        """Among how many roles that compute at the same time a node's cores are divided."""
        return 1 + self.staleness if self.device == "cpu" else 1

    @model_validator(mode="before")
    @classmethod
    def _schedules_end(cls, values: Any) -> Any:
        """Kept with the settings of the run: a run that is continued with more steps must not change its schedule."""
        kinds = [values.get(name, "constant") for name in ("lr_schedule", "beta_schedule")]
        if values.get("schedule_steps") is None and set(kinds) != {"constant"}:
            return {**values, "schedule_steps": values.get("steps", cls.model_fields["steps"].default)}
        return values

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
        if (self.beta_end is None) != (self.beta_schedule == "constant"):
            raise ValueError(
                f"beta_end: found {self.beta_end} with beta_schedule {self.beta_schedule}; a linear or cosine schedule "
                "needs beta_end, a constant one has none"
            )
        if "all-linear" in self.lora_targets and len(self.lora_targets) > 1:
            raise ValueError(f"lora_targets: found {self.lora_targets}; all-linear stands alone")
        return self

    @model_validator(mode="after")
    def _learner_can_be_placed(self) -> Self:
        share = self.gpus_per_actor if self.learner_gpus is None else self.learner_gpus
        if self.device == "cuda" and (share > 1 or (share < 1 and self.learner_workers > 1)):
            raise ValueError(
                f"learner_gpus: found {share} for each of {self.learner_workers} learner workers; "
                "several need 1 each, a single one may have less"
            )
        return self
