"""The weights of a policy in its own safetensors files, read one by one: never more than one of them in memory."""

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from torch import Tensor

from wildreward.errors import CheckpointError
from wildreward.fetched import local_copy

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


class BaseWeights:
    """Names and tensors of the policy in `name`: a directory or URL, or a hub id that was loaded before."""

    def __init__(self, name: str) -> None:
        self.name = name

    def names(self) -> Iterable[str]:
        return self._files.keys()

    def read(self, weight: str) -> Tensor:
        """Raises CheckpointError for a weight that the files do not have under this name."""
        from safetensors import safe_open

        if weight not in self._files:
            raise CheckpointError(
                f"--policy {self.name}: {weight} is not in its safetensors files; LoRA needs it there"
            )
        with safe_open(self._files[weight], framework="pt") as file:
            tensor: Tensor = file.get_tensor(weight)
        return tensor

    @cached_property
    def _files(self) -> dict[str, Path]:
        directory = self._directory
        if (directory / INDEX).is_file():
            where = json.loads((directory / INDEX).read_text(encoding="utf-8"))["weight_map"]
            return {weight: directory / file for weight, file in where.items()}
        if not (directory / SINGLE).is_file():
            raise CheckpointError(f"--policy {self.name}: found neither {SINGLE} nor {INDEX}; LoRA needs safetensors")
        from safetensors import safe_open

        with safe_open(directory / SINGLE, framework="pt") as file:
            return dict.fromkeys(file.keys(), directory / SINGLE)

    @cached_property
    def _directory(self) -> Path:
        name = local_copy(self.name)
        if Path(name).is_dir():
            return Path(name)
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(self.name, local_files_only=True))
