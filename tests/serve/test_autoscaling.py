"""Deployed with the shipped YAML by Ray's own `serve deploy`: from no replica to two under load, and back to none."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve.client import HttpClient
from tests.pipelines.label_kills import wait_for
from tests.serve.rolling import CONVERSATIONS, load, metric, replicas
from tests.serve.test_app import SHIPPED
from tests.serve.test_engine import FP32_TOLERANCE
from wildreward.reward_model import RewardModel

APP = "scaled"

Deploy = Callable[..., None]


@pytest.fixture
def deploy(scorer_url: str, tmp_path: Path) -> Iterator[Deploy]:
    """`serve deploy` of the shipped YAML with other args, under another name, on the session's Serve."""
    import ray
    from ray import serve as ray_serve

    dashboard = f"http://{ray._private.worker.get_dashboard_url()}"

    def run(**args: Any) -> None:
        values = yaml.safe_load(SHIPPED.read_text())
        [app] = values["applications"]
        app |= {"name": APP, "route_prefix": f"/{APP}"}
        app["args"] |= args
        (tmp_path / "deploy.yaml").write_text(yaml.safe_dump(values))
        command = [
            str(Path(sys.executable).with_name("serve")),
            "deploy",
            "--address",
            dashboard,
            str(tmp_path / "deploy.yaml"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    yield run
    if APP in ray_serve.status().applications:
        ray_serve.delete(APP)


def status() -> str:
    from ray import serve as ray_serve

    app = ray_serve.status().applications.get(APP)
    return "" if app is None else str(app.status.value)


def test_replicas_follow_the_load_from_none_to_two_and_back(
    scorer_url: str, checkpoint: Path, model: RewardModel, deploy: Deploy
) -> None:
    from ray import serve as ray_serve

    quick = {"upscale_delay_s": 0.2, "downscale_delay_s": 1, "load_window_s": 1, "cpus_per_replica": 0.1}
    scale = {"min_replicas": 0, "max_replicas": 2, "target_ongoing_requests": 2}
    deploy(checkpoint=str(checkpoint), **quick, **scale)
    wait_for(lambda: status() == "RUNNING", "the application")
    assert replicas(APP) == 0
    url = f"{scorer_url}/{APP}"
    direct = [score.score for score in model.score(CONVERSATIONS)]
    with HttpClient(url) as scorer:
        first = [reply.score for reply in scorer.score(CONVERSATIONS)]
        name = scorer.model().id
    assert first == pytest.approx(direct, abs=FP32_TOLERANCE)
    with load(url, clients=8) as answers:
        wait_for(lambda: replicas(APP) == 2, "a second replica")
        wait_for(lambda: metric("model_info", APP, model=name) >= 1, "the model's name in the metrics")
    assert not answers.failed
    for turn, _, score in answers.scored:
        assert score == pytest.approx(direct[turn], abs=FP32_TOLERANCE)
    wait_for(lambda: replicas(APP) == 0, "no replica")

    scored = len(answers.scored) + 1
    wait_for(lambda: metric("requests_total", APP, route="/v1/score", status="200") >= scored, "the metrics")
    at_start = metric("items_total", APP) - len(answers.scored) - len(CONVERSATIONS)
    assert 2 <= at_start <= 6  # the fixed text of each replica

    deploy(checkpoint=str(checkpoint / "absent"), **quick, **scale)
    wait_for(lambda: status() == "DEPLOY_FAILED", "the refusal")
    assert "no such directory" in ray_serve.status().applications[APP].message
