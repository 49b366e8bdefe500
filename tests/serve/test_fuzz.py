"""Whatever is sent to a route that /openapi.json describes is answered as it says, and never with a 500.

The parametrisation of its pytest plugin does not know pytest 9.2 yet; its generators and checks are used directly.
https://schemathesis.readthedocs.io/en/stable/
"""

from pathlib import Path
from typing import Any

import httpx2
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from tests.serve.conftest import LocalScorer
from wildreward.reward_model import RewardModel

EXAMPLES = 25
"""Of each of the routes; the same in every run."""

NOT_OURS = [
    # Any Content-Type is read as JSON by rule (see serve/guard.py), so a body of another media type may be accepted.
    checks.negative_data_rejection,
    # Half of a surrogate pair, an empty reply, more items than allowed: JSON Schema cannot say these, and they are 422.
    checks.positive_data_acceptance,
]


def test_every_route_answers_as_it_says_whatever_is_sent(local_scorer: LocalScorer, model: RewardModel) -> None:
    url = local_scorer(model=model, max_items=8, max_text_chars=2000, max_body_bytes=65536)
    described = schemathesis.openapi.from_url(f"{url}/openapi.json")
    asked = set()
    for found in described.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]  # an invalid schema has none, and fails here
        asked.add((operation.method.upper(), operation.path))
        for mode in GenerationMode if operation.method == "post" else [GenerationMode.POSITIVE]:

            @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def fuzz(case: Any) -> None:
                case.call_and_validate(excluded_checks=NOT_OURS)

            fuzz()
    assert {("POST", "/get_reward"), ("POST", "/v1/score"), ("POST", "/v1/compare"), ("GET", "/v1/model")} <= asked


def test_every_route_and_every_error_is_described(local_scorer: LocalScorer, checkpoint: Path) -> None:
    paths = httpx2.get(f"{local_scorer()}/openapi.json").json()["paths"]
    assert {"/get_reward", "/v1/score", "/v1/compare", "/healthz", "/readyz", "/v1/model"} <= set(paths)
    for path, operations in paths.items():
        for method, operation in operations.items():
            of_all, of_bodies = {"401", "504"}, {"400", "413", "422", "503"} if method == "post" else set()
            assert of_all | of_bodies <= set(operation["responses"]), path
            for status, answer in operation["responses"].items():
                if status != "200":
                    assert answer["content"]["application/json"]["schema"] == {
                        "$ref": "#/components/schemas/ErrorAnswer"
                    }
