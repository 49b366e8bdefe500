"""One tiny policy for all tests of rl, and an object store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rl.tiny import tiny_policy
from tests.s3 import s3_endpoint


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starting policy's directory; nobody writes to it."""
    return tiny_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def s3() -> Iterator[dict[str, str]]:
    """Environment of a process that finds the bucket `runs`."""
    with s3_endpoint("runs") as environment:
        yield environment
