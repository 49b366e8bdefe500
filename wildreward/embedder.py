"""Sentence embeddings for the topic gate: mean pooling, then L2 normalisation, so that a dot product is a cosine.

    Embedder("minilm").encode(["a", "b"]) -> float32 array of shape (2, 384)

On a CPU the arithmetic is what costs, not the calls: what is saved is padding (only texts of equal length share a
batch) and width (bfloat16 where the CPU multiplies it natively: 2.5 times as fast, cosines move by less than 0.01).
Without padding the vector of a text is the same to the last bit whatever it is batched with, so that a run that was
interrupted measures what an undisturbed one does.

N texts, T tokens, D dimensions of the embedding.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wildreward.errors import CheckpointError
from wildreward.minilm import model_directory

MAX_TOKENS = 256
"""What all-MiniLM-L6-v2 was trained on and sentence-transformers cuts at; its positions would reach to 512."""

BATCH_TOKENS = 1024
"""Tokens in one forward pass: what fits the caches of a CPU core. Larger batches are no faster there."""


class Embedder:
    """A sentence-embedding model: "minilm" is the embedded one, anything else a path or hub id `transformers` loads."""

    def __init__(
        self, model: str = "minilm", device: str = "cpu", max_tokens: int = MAX_TOKENS, dtype: str = "auto"
    ) -> None:
        """`dtype`: float32, bfloat16, or auto for the faster one. Raises CheckpointError when it cannot be loaded."""
        import torch
        from transformers import AutoModel, AutoTokenizer

        name = model_directory(model)
        chosen = _fastest_dtype(device) if dtype == "auto" else getattr(torch, dtype)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
            self._model: Any = AutoModel.from_pretrained(name, dtype=chosen).to(device).eval()
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

    def _encode_batch(self, ids_NT: list[list[int]]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            hidden_NTD = self._model(torch.tensor(ids_NT, device=self._device)).last_hidden_state.float()
        return torch.nn.functional.normalize(hidden_NTD.mean(1), dim=1).cpu().numpy()


def _fastest_dtype(device: str) -> Any:
    import torch

    return torch.bfloat16 if device == "cpu" and torch.cpu._is_avx512_bf16_supported() else torch.float32


def _batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices in batches of equal length, each of at most `batch_tokens` tokens (or a single text), longest first.

    >>> _batches([4, 1, 4, 4], batch_tokens=9)
    [[0, 2], [3], [1]]
    """
    alike: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        alike.setdefault(length, []).append(index)
    batches: list[list[int]] = []
    for length in sorted(alike, reverse=True):
        rows = max(1, batch_tokens // max(1, length))
        batches += [alike[length][first : first + rows] for first in range(0, len(alike[length]), rows)]
    return batches
