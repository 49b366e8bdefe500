"""Which conversations a `label` output was made of, and how that may change between two runs on it.

Judged conversations cannot be taken back, so a later run must read at least what an earlier one read: files may be
added, the sample and the limit raised. A file that was edited since is refused, even if its size is the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from wildreward import storage
from wildreward.errors import DataError, UsageError
from wildreward.settings.label import LabelSettings

INPUT_KEYS = ("files", "limit", "sample_frac", "sample_seed")
"""What `describe_input` tells."""

VERSION_KEYS = ("ETag", "etag", "md5Hash", "blob_id", "mtime", "LastModified", "last_modified", "modified")
"""Where file systems say which version of a file it is: by content where they can, else by the time of the change."""


def describe_input(settings: LabelSettings, files: Sequence[str]) -> dict[str, Any]:
    """Files with size and version, limit, and sample (its seed matters only where there is one)."""
    sample_seed = settings.seed if settings.sample_frac < 1 else None
    return {
        "files": {path: file_version(path) for path in files},
        "limit": settings.limit,
        "sample_frac": settings.sample_frac,
        "sample_seed": sample_seed,
    }


def file_version(path: str) -> list[Any]:
    """Size in bytes, and something that changes with the content: None where the file system tells nothing of the kind.

    Raises DataError when the file is not there any more.
    """
    fs, inner = storage.filesystem(path)
    try:
        entry = fs.info(inner)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    version = next((str(entry[key]) for key in VERSION_KEYS if entry.get(key) is not None), None)
    return [entry["size"], version]


def refuse_other_input(output: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises UsageError naming what was judged before and would not be read now."""
    found = _changed_file(then["files"], now["files"]) or _smaller_sample(then, now) or _smaller_limit(then, now)
    if found:
        raise UsageError(
            f"--output {output}: was made from other input: {found}. "
            "Use another --output, or --overwrite to delete it and judge again"
        )


def _changed_file(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    changed = next((path for path, version in then.items() if now.get(path) != version), None)
    return changed and f"{changed} is gone or has changed"


def _smaller_sample(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    if now["sample_frac"] < then["sample_frac"]:
        return f"sample_frac: {then['sample_frac']} -> {now['sample_frac']}"
    if now["sample_frac"] < 1 and now["sample_seed"] != then["sample_seed"]:
        return f"seed of the sample: {then['sample_seed']} -> {now['sample_seed']}"
    return None


def _smaller_limit(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """With a limit the first of the sample are read: what comes before them must stay as it was."""
    if now["limit"] is None:
        return None
    if then["limit"] is None or now["limit"] < then["limit"]:
        return f"limit: {then['limit']} -> {now['limit']}"
    if now["sample_frac"] != then["sample_frac"]:
        return f"sample_frac: {then['sample_frac']} -> {now['sample_frac']} under a limit, which would skip judged ones"
    if list(now["files"])[: len(then["files"])] != list(then["files"]):
        return "files were added before those of the earlier run, under a limit, which would skip judged ones"
    return None
