"""Whether policy, prompts and scorer fit together: said or refused before the first step."""

from collections.abc import Mapping, Sequence
from typing import Any

from rl.roles import Roles
from wildreward.errors import CheckpointError, UsageError
from wildreward.fetched import described
from wildreward.prompt_store import PolicyPrompt
from wildreward.settings.dpo import DpoSettings

FACTS = ("checkpoint", "handle", "callable", "head", "num_classes", "template", "max_tokens")
"""Of what a scorer says of itself, shown at the start."""
TASTED_PROMPTS = 256
"""Held-out prompts on which is measured whether the reward model's tokenizer knows their words."""


def check_positions(settings: DpoSettings) -> None:
    """Raises UsageError where prompt and completion together may have more tokens than the policy has positions."""
    from transformers import AutoConfig

    from wildreward.pretrained import positions

    try:
        config = AutoConfig.from_pretrained(described(settings.policy), trust_remote_code=settings.trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"--policy {settings.policy}: its config cannot be loaded: {error}") from error
    limit, asked = positions(config), settings.max_prompt_tokens + settings.max_new_tokens
    if limit is not None and asked > limit:
        raise UsageError(
            f"--max-prompt-tokens {settings.max_prompt_tokens} and --max-new-tokens {settings.max_new_tokens}: "
            f"{asked} in all; {settings.policy} has {limit} positions"
        )


def check_scale(settings: DpoSettings, described: Mapping[str, Any]) -> None:
    """Say what scores, and whether it reads a whole completion. Raises UsageError for a reward gap that its scale does
    not have."""
    facts = {name: described[name] for name in FACTS if described.get(name) is not None}
    print(
        f"rewards: {', '.join(f'{name} {value}' for name, value in facts.items()) or 'a scorer without a description'}"
    )
    classes, tokens = described.get("num_classes"), described.get("max_tokens")
    if classes is not None and settings.min_reward_gap >= classes - 1:
        raise UsageError(
            f"--min-reward-gap {settings.min_reward_gap}: rewards of this scorer lie between 1 and {classes}; no two "
            f"differ by more than {classes - 1}"
        )
    if tokens is not None and settings.max_new_tokens >= tokens:
        print(
            f"warning: --max-new-tokens {settings.max_new_tokens}, and the scorer reads {tokens} tokens of a "
            "conversation: the end of a long completion has no say in its reward (scored/replies_cut_frac counts them)"
        )


def check_words(settings: DpoSettings, roles: Roles, held_out: Sequence[PolicyPrompt]) -> None:
    """Raises CheckpointError when the reward model's tokenizer cannot read what these prompts are about."""
    shown = [held_out[place] for place in range(min(TASTED_PROMPTS, len(held_out)))]
    unknown = roles.unknown_frac([message["content"] for item in shown for message in item.prompt.messages])
    if unknown is None:
        return
    print(f"tokens of the held-out prompts that the reward model's tokenizer does not know: {unknown:.2%}", flush=True)
    if unknown > settings.max_unknown_tokens_frac:
        raise CheckpointError(
            f"--checkpoint {settings.checkpoint}: its tokenizer does not know {unknown:.0%} of the held-out prompts' "
            f"tokens, over --max-unknown-tokens-frac {settings.max_unknown_tokens_frac}: it cannot read this language"
        )
