"""One tiny policy for all tests of rl."""

from pathlib import Path

import pytest

from tests.rl.tiny import tiny_policy


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starting policy's directory; nobody writes to it."""
    return tiny_policy(tmp_path_factory.mktemp("policy"))
