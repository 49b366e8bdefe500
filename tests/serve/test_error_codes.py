"""serve/API.md, the declared error codes and the source say the same."""

import ast
import re
from pathlib import Path

import httpx2

from serve import schema, status
from serve.error_codes import CLIENT_CODES, SERVER_CODES
from tests.serve.conftest import LocalScorer

ROOT = Path(__file__).parents[2]
API = (ROOT / "serve" / "API.md").read_text(encoding="utf-8")


def raised() -> set[tuple[int, str]]:
    """(status, code) of every RequestError that is written out in serve/."""
    found = set()
    for path in (ROOT / "serve").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RequestError":
                first, second = (getattr(argument, "value", None) for argument in node.args[:2])
                if isinstance(first, int) and isinstance(second, str):
                    found.add((first, second))
    return found


def test_every_code_in_the_source_is_declared_with_its_status() -> None:
    declared = {(status_, code) for code, (status_, _) in (SERVER_CODES | CLIENT_CODES).items()}
    assert raised() - declared == set()
    assert set(schema.CODES.values()) <= set(SERVER_CODES)


def test_the_reference_lists_exactly_the_declared_codes() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (\d{3} \| .*) \|$", API, re.MULTILINE))
    expected = {code: f"{of} | {meaning}" for code, (of, meaning) in (SERVER_CODES | CLIENT_CODES).items()}
    assert listed == expected


def test_the_reference_names_every_route_and_every_field_of_an_answer(local_scorer: LocalScorer) -> None:
    paths = httpx2.get(f"{local_scorer()}/openapi.json").json()["paths"]
    listed = set(re.findall(r"^\| `((?:GET|POST) /\S*)`", API, re.MULTILINE))
    assert listed == {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    answers = (schema.ScoredReply, schema.ComparedPair, schema.RewardAnswer, schema.ErrorBody, schema.RewardRequest)
    fields = {name for answer in answers for name in answer.model_fields}
    fields |= set(schema.ScoreItem.model_fields) | {"replicas", "ongoing", "latency"} & set(
        status.StatusAnswer.model_fields
    )
    assert {name for name in fields if not re.search(rf"`{name}`|\"{name}\"", API)} == set()
