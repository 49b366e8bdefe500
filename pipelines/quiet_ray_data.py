"""Ray Data without its own talk: our progress lines and plain errors say enough."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def quiet(context: Any) -> Any:
    """The `ray.data.DataContext`, set to print no progress bars, execution plans and operator tables."""
    context.enable_progress_bars = context.print_on_execution_start = False
    return context


@contextmanager
def quiet_log() -> Iterator[None]:
    """Ray Data does not print the frames of a failure that we are about to tell in a line."""
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
