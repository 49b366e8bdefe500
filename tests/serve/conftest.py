"""A scorer on the session's Ray cluster, and quick ones in this process where only settings or a slow model matter."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import uvicorn

from serve.routes import http_app
from serve.scoring import Admission, Scoring
from tests.checkpoints import tiny_checkpoint
from wildreward.reward_model import RewardModel
from wildreward.settings.serve import ServeSettings

LocalScorer = Callable[..., str]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("serve") / "tiny")


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> RewardModel:
    """The same checkpoint, asked directly: what every route must agree with."""
    return RewardModel.load(checkpoint)


@pytest.fixture(scope="session")
def scorer_url(ray_cluster: None, checkpoint: Path) -> Iterator[str]:
    """Two replicas behind Ray Serve's proxy on a free port; they leave the session's CPUs to other tests."""
    from serve.program import start, stop

    settings = ServeSettings(
        checkpoint=str(checkpoint), port=0, min_replicas=2, max_replicas=2, cpus_per_replica=0.1, batch_tokens=1024
    )
    yield start(settings)
    stop()


@pytest.fixture
def local_scorer(checkpoint: Path) -> Iterator[LocalScorer]:
    """Starts a replica's HTTP app in this process: `local_scorer(max_items=2)` is its URL."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(digests: Sequence[str] = (), model: RewardModel | None = None, **settings: Any) -> str:
        chosen = ServeSettings(**{"checkpoint": str(checkpoint)} | settings)
        scoring = Scoring(model or RewardModel.load(chosen.checkpoint), chosen)
        app = http_app(scoring, chosen, digests, Admission(chosen.max_ongoing_requests, chosen.retry_after_s))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started:
            thread.join(0.01)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()


class SlowModel(RewardModel):
    """A model whose forward pass waits until it is let go."""

    go: threading.Event
    running: threading.Event

    @classmethod
    def of(cls, checkpoint: Path) -> Self:
        slow = cls.load(checkpoint)
        slow.go, slow.running = threading.Event(), threading.Event()
        return slow

    def score_encoded(self, *args: Any, **kwargs: Any) -> Any:
        self.running.set()
        assert self.go.wait(30)
        return super().score_encoded(*args, **kwargs)


@pytest.fixture
def slow_model(checkpoint: Path) -> Iterator[SlowModel]:
    slow = SlowModel.of(checkpoint)
    yield slow
    slow.go.set()


@contextmanager
def in_background(call: Callable[[], Any]) -> Iterator[list[Any]]:
    """Runs a call in a thread; its result is in the list after the block."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    yield results
    thread.join()
