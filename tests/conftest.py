"""One local Ray cluster, one process group and one browser for the whole session, shared by whoever needs them."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import open_browser

os.environ.pop("RAY_ADDRESS", None)  # never somebody else's cluster
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_metrics_report_interval_ms", "1000")  # Ray's ten seconds are a long wait for a test
# A vLLM engine for tests: in the process that asks for it, with a small cache, silent.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A connection to a fresh local cluster."""
    from wildreward.cluster import cluster

    with cluster("local"):
        yield


@pytest.fixture(scope="session")
def process_group() -> Iterator[None]:
    """A process group of this process alone, for DeepSpeed engines that run without Ray."""
    import torch.distributed as dist

    from tests.ranks import join

    join()
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, or a skip where there is none."""
    opened = open_browser()
    yield opened
    opened.quit()
