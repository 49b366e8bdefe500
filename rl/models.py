"""Loading a policy the same way in every role; one at a URL is fetched by each machine that loads it."""

import os
from typing import Any

from wildreward.errors import CheckpointError, UsageError
from wildreward.fetched import local_copy


def threads_here(wanted: int, cores_divided: int = 1) -> int:
    """CPU threads of an actor on this node: as many as wanted, or its share of the cores (0)."""
    return wanted or max(1, (os.cpu_count() or 1) // cores_divided)


def load_policy(
    path: str, device: str = "cpu", dtype: str = "float32", threads: int = 0, trust_remote_code: bool = False
) -> tuple[Any, Any]:
    """(model in evaluation mode, tokenizer). Raises CheckpointError when it cannot be loaded."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from wildreward.onednn_linear import use_onednn

    torch.set_num_threads(threads_here(threads))  # Ray sets 1 for actors that ask for less than a CPU
    logging.disable_progress_bar()
    tokenizer = load_tokenizer(path, trust_remote_code)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            local_copy(path), dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path}: cannot be loaded as a causal language model: {error}") from error
    use_onednn(model.to(device))
    return model.eval(), tokenizer


def load_tokenizer(path: str, trust_remote_code: bool = False) -> Any:
    """Raises UsageError for a path that has none, or whose tokenizer has no chat template or end-of-text token."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(local_copy(path), trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"--policy {path}: its tokenizer cannot be loaded: {error}") from error
    if not tokenizer.chat_template:
        raise UsageError(f"--policy {path}: its tokenizer has no chat template; use an instruction-tuned policy")
    if tokenizer.eos_token_id is None:
        raise UsageError(f"--policy {path}: its tokenizer has no end-of-text token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def prompt_ids(tokenizer: Any, messages: Any) -> list[int]:
    """Token ids of a prompt in the policy's chat template, ready for the assistant's words."""
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
