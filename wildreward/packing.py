"""Packed sequences: the rows of a micro-batch laid end to end, so that nothing is computed for padding.

Positions start again at each row and attention stays inside it: on a GPU by FlashAttention's variable-length kernel
where flash-attn is installed, else row by row with PyTorch's causal SDPA, which needs no mask. (One block-diagonal
mask over the pack would cost the square of its length.) The reward is read from the last token of each row.

For decoders with the linear `score` head of transformers' `GenericForSequenceClassification` (Llama, Qwen, Mistral,
Gemma 3 and their like). Encoders, whose classifiers read the first token through a pooler, stay padded. Tensors:
T tokens of the pack, B rows in it, H heads, D head size, L labels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

ROW_BY_ROW = "wildreward_row_by_row"
FLASH = "flash_attention_2"
LAYERS = frozenset({"full_attention", "sliding_attention"})


def obstacle(config: Any) -> str | None:
    """Why the rows of a model with this config cannot be packed; None where they can.

    What is refused would be wrong without a word: layers that carry a state from token to token, attention that reads
    more than queries, keys and values, or a head that does not read one token.
    """
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    from transformers.modeling_layers import GenericForSequenceClassification

    text = config.get_text_config()
    model: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(config), None)
    layers = set(getattr(text, "layer_types", None) or ()) - LAYERS
    if model is None or not issubclass(model, GenericForSequenceClassification):
        return f"{config.model_type} is no decoder with a linear score head"
    if text is not config or getattr(text, "use_bidirectional_attention", False):
        return f"{config.model_type} reads more than the text before a token"
    if layers:
        return f"it has layers of {', '.join(sorted(layers))}"
    if getattr(text, "attn_logit_softcapping", None) is not None:
        return "its attention logits are soft-capped"
    if not (model._supports_attention_backend and model._supports_sdpa):
        return f"the attention of {config.model_type} cannot be exchanged"
    return None


def _inner(backbone: Any) -> Any:
    """The model inside a peft wrapper, with its adapters in place."""
    return backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone


def prepare(backbone: Any, device: torch.device | str, dtype: torch.dtype) -> str:
    """Have the model attend inside rows; the name of the attention that does it. From then on it reads packs only."""
    from transformers import AttentionInterface
    from transformers.utils import is_flash_attn_2_available

    flash = torch.device(device).type == "cuda" and dtype != torch.float32 and is_flash_attn_2_available()
    AttentionInterface.register(ROW_BY_ROW, row_by_row)
    _inner(backbone).set_attn_implementation(FLASH if flash else ROW_BY_ROW)
    return FLASH if flash else ROW_BY_ROW


def pack(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids (1, T) of the rows end to end, and where each begins, with the end of the last: bounds (B + 1,), int32.

    >>> pack([[7, 8], [9]])
    (tensor([[7, 8, 9]]), tensor([0, 2, 3], dtype=torch.int32))
    """
    bounds = torch.tensor([0, *map(len, ids)], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return torch.tensor([[token for row in ids for token in row]]), bounds


def packed_logits(backbone: Any, ids_1T: Tensor, bounds: Tensor) -> Tensor:
    """Logits (B, L) of a model that was prepared, equal to those of each row alone up to rounding."""
    backbone, lengths = _inner(backbone), bounds.diff()
    positions_1T = (torch.arange(ids_1T.shape[1]) - bounds[:-1].repeat_interleave(lengths))[None]
    flash = backbone.config._attn_implementation == FLASH
    where = bounds.to(ids_1T.device) if flash else bounds  # the loop over rows reads them on the CPU
    longest = int(lengths.max())
    hidden_1TD = getattr(backbone, backbone.base_model_prefix)(
        input_ids=ids_1T,
        position_ids=positions_1T.to(ids_1T.device),
        use_cache=False,
        cu_seq_lens_q=where,
        cu_seq_lens_k=where,
        max_length_q=longest,
        max_length_k=longest,
    ).last_hidden_state
    ends = (bounds[1:] - 1).long().to(hidden_1TD.device)
    return backbone.score(hidden_1TD[0, ends])


def row_by_row(
    module: torch.nn.Module,
    query_1HTD: Tensor,
    key_1HTD: Tensor,
    value_1HTD: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' SDPA attention inside each row of a pack; output (1, T, H, D)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    lengths = cu_seq_lens_q.diff().tolist()
    parts = (tensor.split(lengths, dim=2) for tensor in (query_1HTD, key_1HTD, value_1HTD))
    outputs = [
        sdpa_attention_forward(module, query, key, value, _band(length, sliding_window, query.device), **kwargs)[0]
        for length, query, key, value in zip(lengths, *parts, strict=True)
    ]
    return torch.cat(outputs, dim=1), None


def _band(length: int, window: int | None, device: torch.device) -> Tensor | None:
    """The causal mask of a row longer than its layer's window; others need none."""
    if window is None or length <= window:
        return None
    return torch.ones(length, length, dtype=torch.bool, device=device).tril().triu(1 - window)[None, None]
