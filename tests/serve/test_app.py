"""One settings model decides everything a deployment is, and the shipped YAML says the same to Ray's own tools."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from serve import edge
from serve.app import STATUS_SLOTS, application, version_of
from serve.canary import load_model
from serve.scoring import Scoring
from wildreward.settings.serve import ServeSettings

SHIPPED = Path(__file__).parents[2] / "serve" / "deploy.yaml"


def settings_with(checkpoint: Path, **values: Any) -> ServeSettings:
    return ServeSettings.parse({"checkpoint": str(checkpoint), **values})


def test_every_deployment_setting_takes_effect(checkpoint: Path) -> None:
    settings = settings_with(
        checkpoint, min_replicas=0, max_replicas=7, target_ongoing_requests=5, upscale_delay_s=3, downscale_delay_s=40,
        load_window_s=8, cpus_per_replica=0.5, gpus_per_replica=0.25, max_ongoing_requests=11, max_queued_requests=13,
        retry_after_s=4, update_surge_percent=50, access_log=True,
    )  # fmt: skip
    deployment = application(settings, [])._bound_deployment
    config = deployment._deployment_config
    scaling = config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas, scaling.target_ongoing_requests) == (0, 7, 5)
    assert (scaling.upscale_delay_s, scaling.downscale_delay_s, scaling.look_back_period_s) == (3, 40, 8)
    assert scaling.metrics_interval_s < scaling.look_back_period_s
    assert (config.max_ongoing_requests, config.max_queued_requests) == (11 + STATUS_SLOTS, 13)
    assert (config.backpressure_config.status_code, config.backpressure_config.retry_after_s) == (503, 4)
    assert config.max_surge_percent == 50
    assert config.logging_config["enable_access_log"] is True
    options = deployment.ray_actor_options
    assert (options["num_cpus"], options["num_gpus"]) == (0.5, 0.25)
    assert deployment.init_args[0] == settings.model_dump(mode="json")


def test_batching_threads_and_dtype_reach_the_model(checkpoint: Path) -> None:
    import torch

    before = torch.get_num_threads()
    settings = settings_with(checkpoint, dtype="bfloat16", batch_tokens=99, batch_wait_s=0.5, cpus_per_replica=1.5)
    try:
        model = load_model(settings)
        assert torch.get_num_threads() == 2
        load_model(settings.model_copy(update={"threads": 1}))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    scoring = Scoring(model, settings)
    engine: Any = scoring.engine
    assert scoring.info.dtype == "bfloat16"
    assert (engine.batch_tokens, engine.batch_wait_s) == (99, 0.5)


def test_a_version_is_what_a_replica_is_made_of_and_not_how_it_was_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    plain = settings_with(checkpoint)
    same = settings_with(checkpoint, detach=True, address="auto", port=9, start_timeout_s=1)
    assert version_of(plain, []) == version_of(same, [])
    others = [
        version_of(settings_with(checkpoint, dtype="bfloat16"), []),
        version_of(settings_with(checkpoint, max_replicas=2), []),
        version_of(plain, ["another token"]),
    ]
    notes = checkpoint / "notes.txt"
    notes.write_text("a changed checkpoint in the same place")
    try:
        others.append(version_of(plain, []))
    finally:
        notes.unlink()
    template = tmp_path / "chat.jinja"
    for text in ("{{ messages[0].content }}", "{{ messages[-1].content }}"):  # edited under the same name
        template.write_text(text)
        others.append(version_of(settings_with(checkpoint, chat_template=str(template)), []))
    assert len({version_of(plain, []), *others}) == 7


def test_the_shipped_yaml_is_what_ray_and_the_settings_take() -> None:
    values = yaml.safe_load(SHIPPED.read_text())
    [app] = ServeDeploySchema.model_validate(values).applications
    settings = ServeSettings.parse(app.args)
    assert (app.import_path, app.name) == ("serve.app:build", settings.app_name)
    assert app.route_prefix == settings.route_prefix
    http = values["http_options"]
    assert (http["host"], http["port"]) == (settings.host, settings.port)
    assert http["request_timeout_s"] == settings.request_timeout_s + 1
    assert values["controller_options"] == edge.CONTROLLER_OPTIONS


@pytest.mark.parametrize("name", ["min_replicas", "max_replicas", "target_ongoing_requests", "cpus_per_replica"])
def test_what_the_shipped_yaml_does_not_change_is_the_default(name: str) -> None:
    [app] = yaml.safe_load(SHIPPED.read_text())["applications"]
    shown, default = app["args"][name], ServeSettings.model_fields[name].default
    assert shown == default or name == "max_replicas"
