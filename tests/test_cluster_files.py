"""What is shipped for clusters: `ray up`'s file by Ray's own schema, KubeRay's by Kubernetes' and KubeRay's fields."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import ray
import yaml

from wildreward.cli import ROOT, STAGES, read_settings
from wildreward.settings.base import read_yaml
from wildreward.settings.run import RunSettings
from wildreward.settings.serve import ServeSettings

KUBERNETES = "1.30"

# The fields of KubeRay that we use, from ray-project/kuberay: ray-operator/apis/ray/v1/*_types.go
JOB = {"entrypoint", "submissionMode", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"}
CLUSTER = {"rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / name).read_text(encoding="utf-8")))


def test_cluster_yaml_passes_rays_own_validation() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = read_yaml(ROOT / "cluster.yaml")
    validate_config(prepare_config(config))
    kinds = config["available_node_types"]
    assert all(kind["min_workers"] == 0 for name, kind in kinds.items() if name != config["head_node_type"])
    assert any("GPU" in kind["resources"] for kind in kinds.values())
    assert any(kind["resources"].get("CPU") and "GPU" not in kind["resources"] for kind in kinds.values())


def test_every_image_and_version_is_the_pinned_ray() -> None:
    pinned = ray.__version__
    for name in ("cluster.yaml", "serve/Dockerfile", "pipelines/rayjob.yaml", "serve/rayservice.yaml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        found = re.findall(r"rayproject/ray:(\d+\.\d+\.\d+)", text) + re.findall(r'rayVersion: "([^"]+)"', text)
        assert set(found) == {pinned}, name


def test_the_extras_and_files_that_are_installed_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name in ("cluster.yaml", "serve/Dockerfile"):
        text = (ROOT / name).read_text(encoding="utf-8")
        asked = re.findall(r"wildreward\[([\w,]+)\]", text) + re.findall(r"EXTRAS=([\w,-]+)", text)
        assert asked
        assert set(",".join(asked).split(",")) <= set(extras), name
    for line in (ROOT / "serve/Dockerfile").read_text().splitlines():
        if line.startswith("COPY"):
            *sources, _ = [word for word in line.split()[1:] if not word.startswith("--")]
            assert all((ROOT / source).exists() for source in sources), line


def pods(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The pod templates of a RayClusterSpec, each as a Pod."""
    assert set(spec) <= CLUSTER
    assert set(spec["headGroupSpec"]) <= {"rayStartParams", "template", "serviceType"}
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": group["template"]["spec"]}
    for group in spec["workerGroupSpecs"]:
        assert set(group) == WORKERS


def cluster_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "job", documents("pipelines/rayjob.yaml")[1]["spec"]["rayClusterSpec"]
    yield "service", documents("serve/rayservice.yaml")[0]["spec"]["rayClusterConfig"]


@pytest.mark.parametrize(("name", "spec"), cluster_specs())
def test_pods_are_what_kubernetes_takes_and_mount_what_they_declare(name: str, spec: dict[str, Any]) -> None:
    for pod in pods(spec):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())}
        for container in pod["spec"]["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", ())} == volumes, name


def test_the_job_runs_a_pipeline_that_the_command_line_takes(tmp_path: Any) -> None:
    config_map, job = documents("pipelines/rayjob.yaml")
    kubernetes_validate.validate(config_map, KUBERNETES, strict=True)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) == JOB | {"rayClusterSpec"}
    command, stage, path = shlex.split(job["spec"]["entrypoint"])
    assert (command, path) == ("wildreward", "/etc/wildreward/pipeline.yaml")
    file = tmp_path / "pipeline.yaml"
    file.write_text(config_map["data"]["pipeline.yaml"])
    settings = read_settings(STAGES[stage], [str(file)])
    assert isinstance(settings, RunSettings)
    settings.required()


def test_the_service_deploys_settings_that_the_scorer_takes() -> None:
    from ray.serve.schema import ServeDeploySchema

    [service] = documents("serve/rayservice.yaml")
    assert (service["apiVersion"], service["kind"]) == ("ray.io/v1", "RayService")
    assert set(service["spec"]) == {"serveConfigV2", "rayClusterConfig"}
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    [application] = ServeDeploySchema.model_validate(config).applications
    assert application.import_path == "serve.app:build"
    ServeSettings.parse(application.args)
