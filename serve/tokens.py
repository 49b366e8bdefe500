"""Bearer tokens: where they come from, and which are accepted now. Replicas keep sha256 digests, never the tokens.

Tokens of the environment are those of the command that deployed. Those of a file are read by every replica and again
when the file changes, so that a token is added or revoked without a restart.
"""

import hashlib
import hmac
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from wildreward.errors import UsageError
from wildreward.settings.serve import ServeSettings

CHECK_S = 1.0
"""How long a changed token file may go unnoticed."""

logger = logging.getLogger("ray.serve")


def environment_digests(settings: ServeSettings) -> list[str]:
    """sha256 of every token in the environment variable `token_env`."""
    return _digests(os.environ.get(settings.token_env, "").split(","))


def file_digests(path: str) -> list[str]:
    """sha256 of every token in a file. Raises UsageError for one that cannot be read or holds none."""
    try:
        digests = _digests(Path(path).read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--token-file {path}: {error}") from None
    if not digests:
        raise UsageError(f"--token-file {path}: it holds no token")
    return digests


def token_digests(settings: ServeSettings) -> list[str]:
    """Of all tokens accepted when this is called. Raises UsageError."""
    return environment_digests(settings) + (file_digests(settings.token_file) if settings.token_file else [])


def _digests(tokens: Sequence[str]) -> list[str]:
    return [hashlib.sha256(token.strip().encode()).hexdigest() for token in tokens if token.strip()]


def accepted(authorization: str, digests: Sequence[str]) -> bool:
    """Whether a header is `Bearer TOKEN` with an accepted token. Every digest is compared, each in constant time.

    >>> digests = [hashlib.sha256(b"secret").hexdigest()]
    >>> accepted("Bearer secret", digests), accepted("Bearer other", digests), accepted("secret", digests)
    (True, False, False)
    """
    scheme, _, token = authorization.partition(" ")
    found = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest()
    matches = [hmac.compare_digest(found, digest) for digest in digests]
    return scheme.lower() == "bearer" and any(matches)


class Tokens:
    """The digests that hold now: those given, and those of a file as it is. Raises UsageError for a file unread yet."""

    def __init__(self, given: Sequence[str], file: str | None) -> None:
        self._given, self._file = list(given), file
        self._version = _version(file)
        self._of_file = file_digests(file) if file else []
        self._checked = time.monotonic()

    @property
    def needed(self) -> bool:
        return bool(self._given or self._file)

    def accept(self, authorization: str) -> bool:
        if self._file and time.monotonic() - self._checked >= CHECK_S:
            self._read_again(self._file)
        return accepted(authorization, self._given + self._of_file)

    def _read_again(self, file: str) -> None:
        """A file that is gone, empty or unreadable leaves the last tokens in force: never none at all."""
        self._checked = time.monotonic()
        version = _version(file)
        if version == self._version:
            return
        self._version = version
        try:
            self._of_file = file_digests(file)
        except UsageError as error:
            logger.warning("%s; the tokens read before stay in force", error)


def _version(file: str | None) -> tuple[int, ...] | None:
    try:
        found = os.stat(file) if file else None
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)
