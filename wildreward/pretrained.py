"""Hugging Face sequence-classification models and tokenizers, loaded with our errors; and how their input is padded."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wildreward.errors import CheckpointError
from wildreward.minilm import model_directory


def pad(ids: Sequence[Sequence[int]], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """Right-padded (B, T) ids and attention mask, both int64."""
    width = max(map(len, ids))
    input_ids = torch.tensor([[*row, *[pad_token_id] * (width - len(row))] for row in ids])
    attention_mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    return input_ids, attention_mask


def pad_id(tokenizer: Any) -> int:
    if tokenizer.pad_token_id is None:
        raise CheckpointError(
            f"{tokenizer.name_or_path}: the tokenizer has no pad token; name one (train: --pad-token)"
        )
    return int(tokenizer.pad_token_id)


OFFSET_POSITIONS = frozenset(
    {"roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "data2vec-text", "mpnet", "ibert"}
)
"""Models whose positions are counted from the pad token's id on (fairseq's way), so that a few are never used."""


def positions(config: Any) -> int | None:
    """Longest input in tokens that the model has positions for; None where its config states no limit.

    >>> from transformers import BertConfig, RobertaConfig
    >>> positions(BertConfig(max_position_embeddings=512))
    512
    >>> positions(RobertaConfig(max_position_embeddings=514, pad_token_id=1))
    512
    """
    text = config.get_text_config()
    found = getattr(text, "max_position_embeddings", None)
    if found is None or text.model_type not in OFFSET_POSITIONS:
        return found
    return int(found) - (text.pad_token_id or 0) - 1


def load_tokenizer(
    name: str, trust_remote_code: bool = False, pad_token: str | None = None, *, must_pad: bool = True
) -> Any:
    """Tokenizer of a backbone or checkpoint, with a pad token if it must have one. Raises CheckpointError."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model_directory(name), trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{name}: its tokenizer cannot be loaded: {error}") from error
    if tokenizer.pad_token_id is None and pad_token is not None:
        if pad_token not in tokenizer.get_vocab():
            raise CheckpointError(f"{name}: pad_token: found {pad_token!r}, which is not in the tokenizer's vocabulary")
        tokenizer.pad_token = pad_token
    if must_pad:
        pad_id(tokenizer)
    return tokenizer


def from_pretrained(
    name: str,
    dtype: str,
    trust_remote_code: bool,
    pad_token: str | None = None,
    *,
    must_pad: bool = True,
    **kwargs: Any,
) -> tuple[Any, Any]:
    """(sequence-classification model, tokenizer). `kwargs` are for a new head. Raises CheckpointError."""
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    source, fresh_head = model_directory(name), bool(kwargs)
    options = {"trust_remote_code": trust_remote_code}
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what is missing is checked below, not warned of
    tokenizer = load_tokenizer(name, trust_remote_code, pad_token, must_pad=must_pad)
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            source,
            dtype=getattr(torch, dtype),
            ignore_mismatched_sizes=fresh_head,
            output_loading_info=True,
            **options,
            **kwargs,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{name}: cannot be loaded as a sequence-classification model: {error}") from error
    if info["missing_keys"] and not fresh_head:
        raise CheckpointError(f"{name}: weights are missing from the checkpoint: {sorted(info['missing_keys'])}")
    model.config.pad_token_id = pad_id(tokenizer) if must_pad else tokenizer.pad_token_id
    return model, tokenizer
