"""Which prompts a run uses: read from --input in one pass, in the policy's chat template, split into training and held
out. Texts and tokens go to a temporary file (wildreward/prompt_store.py): memory holds about 100 bytes a prompt.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from rl.models import prompt_ids
from wildreward.errors import UsageError
from wildreward.prompt_store import PromptPart, PromptStore
from wildreward.prompts import read_prompts, split_held_out
from wildreward.settings.dpo import DpoSettings


@dataclass(frozen=True)
class RunPrompts:
    """`digest` names input and split: a run that is continued must have the same."""

    training: PromptPart
    held_out: PromptPart
    skipped: Counter[str]
    digest: str


def prompts_of_run(settings: DpoSettings, tokenizer: Any) -> RunPrompts:
    """Raises UsageError when too few are left, with the reasons why others were skipped."""
    skipped: Counter[str] = Counter()
    store = PromptStore()
    _fill(store, settings, "--input", tokenizer, skipped)
    if settings.eval_input:
        others = PromptStore()
        _fill(others, settings, "--eval-input", tokenizer, skipped)
        held_out = others.part(range(len(others)))
        groups = set(others.groups)
        training = store.part(place for place, group in enumerate(store.groups) if group not in groups)
        skipped["also_held_out"] += len(store) - len(training)
    else:
        others = store
        count = min(settings.eval_prompts, len(store) // 2)
        training, held_out = map(store.part, split_held_out(store.groups, count, settings.seed))
    _refuse_too_few(settings, len(training), len(held_out), +skipped)
    return RunPrompts(training, held_out, +skipped, f"{store.digest()}-{others.digest()}-{len(held_out)}")


def _fill(store: PromptStore, settings: DpoSettings, flag: str, tokenizer: Any, skipped: Counter[str]) -> None:
    """Distinct prompts that the chat template takes and that are short enough, until there are as many as are wanted;
    the others are counted."""
    from jinja2 import TemplateError

    evaluation = flag == "--eval-input"
    inputs = settings.eval_input if evaluation else settings.input
    wanted = settings.eval_prompts if evaluation else settings.max_prompts
    for prompt in read_prompts(inputs, skipped, settings.prompt_turn, flag):
        if not store.is_new(prompt):
            skipped["duplicate"] += 1
            continue
        try:
            ids = prompt_ids(tokenizer, prompt.messages)
        except (TemplateError, TypeError):  # what a template says with raise_exception, and mixed types
            skipped["refused_by_chat_template"] += 1
            continue
        if len(ids) > settings.max_prompt_tokens:
            skipped["too_long"] += 1
            continue
        store.add(prompt, ids)
        if len(store) == wanted:
            return


def _refuse_too_few(settings: DpoSettings, training: int, held_out: int, skipped: Counter[str]) -> None:
    if training and held_out:
        return
    flag, inputs = ("--eval-input", settings.eval_input) if training else ("--input", settings.input)
    limit = f" (--max-prompt-tokens {settings.max_prompt_tokens})" if skipped["too_long"] else ""
    raise UsageError(
        f"{flag} {' '.join(inputs)}: {training} prompts to train on and {held_out} held out are left; "
        f"skipped: {dict(skipped) or 'none'}{limit}"
    )
