"""Sentence embeddings for the topic gate: mean pooling, then L2 normalisation, so that a dot product is a cosine.

    Embedder("minilm").encode(["a", "b"]) -> float32 array of shape (2, 384)

N texts, T tokens, D dimensions of the embedding.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wildreward.errors import CheckpointError
from wildreward.minilm import model_directory

MAX_TOKENS = 256
"""What all-MiniLM-L6-v2 was trained on and sentence-transformers cuts at; its positions would reach to 512."""

BATCH_TOKENS = 8192
"""Tokens (padding included) in one forward pass: bounds memory whatever the lengths are."""


class Embedder:
    """A sentence-embedding model: "minilm" is the embedded one, anything else a path or hub id `transformers` loads."""

    def __init__(self, model: str = "minilm", device: str = "cpu", max_tokens: int = MAX_TOKENS) -> None:
        """Raises CheckpointError when the model cannot be loaded."""
        from transformers import AutoModel, AutoTokenizer

        name = model_directory(model)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
            self._model: Any = AutoModel.from_pretrained(name, dtype="auto").to(device).eval()
        except (OSError, ValueError) as error:
            raise CheckpointError(f"embedder {model!r}: cannot be loaded: {error}") from error
        self._device = device
        self._max_tokens = min(max_tokens, getattr(self._model.config, "max_position_embeddings", max_tokens))

    @property
    def dimensions(self) -> int:
        return int(self._model.config.hidden_size)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of the texts, shape (N, D), in their order; equal texts are encoded once."""
        unique = list(dict.fromkeys(texts))
        place = {text: index for index, text in enumerate(unique)}
        vectors_ND = np.zeros((len(unique), self.dimensions), dtype=np.float32)
        if unique:
            ids = self._tokenizer(unique, truncation=True, max_length=self._max_tokens)["input_ids"]
            for batch in _batches([len(tokens) for tokens in ids], BATCH_TOKENS):
                vectors_ND[batch] = self._encode_batch([ids[index] for index in batch])
        return vectors_ND[[place[text] for text in texts]]

    def _encode_batch(self, ids: list[list[int]]) -> np.ndarray:
        import torch

        padded = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            hidden_NTD = self._model(**padded).last_hidden_state.float()
        mask_NT1 = padded["attention_mask"].unsqueeze(-1)
        mean_ND = (hidden_NTD * mask_NT1).sum(1) / mask_NT1.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(mean_ND, dim=1).cpu().numpy()


def _batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices in batches of similar length, each of at most `batch_tokens` tokens with padding (or a single text).

    >>> _batches([9, 1, 2, 8], batch_tokens=18)
    [[0, 3], [2, 1]]
    """
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if not batches or (len(batches[-1]) + 1) * longest > batch_tokens:
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    return batches
