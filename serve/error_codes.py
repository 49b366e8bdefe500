"""Every `error.code` there is, with its HTTP status: what routes declare in OpenAPI and serve/API.md lists."""

from typing import Any

from serve.schema import ErrorAnswer

SERVER_CODES: dict[str, tuple[int, str]] = {
    "malformed_json": (400, "the body is not JSON, or not UTF-8"),
    "unauthorized": (401, "no valid bearer token"),
    "not_found": (404, "no such route"),
    "method_not_allowed": (405, "the route has another method; `Allow` names it"),
    "body_too_large": (413, "the body has more than max_body_bytes"),
    "missing_field": (422, "`field` is required"),
    "unknown_field": (422, "`field` is not known"),
    "invalid_field": (422, "`field` has a wrong type or value, or is a conversation that cannot be scored"),
    "empty_list": (422, "`field` is empty"),
    "too_many_items": (422, "more than max_items texts"),
    "text_too_long": (422, "`field` has more than max_text_chars characters"),
    "too_many_tokens": (422, "`field` is longer than the model reads, and too_long is reject"),
    "http_error": (500, "another refusal of the HTTP layer, with its own status"),
    "internal": (500, "the scorer failed; its log says why"),
    "not_a_number": (500, "the model gives no finite score for one of the texts"),
    "overloaded": (503, "every slot is taken; Retry-After says when to come back"),
    "unavailable": (503, "no replica is up, or the one that had the request died; nothing was scored"),
    "out_of_memory": (503, "one text alone does not fit into the model's memory"),
    "deadline_exceeded": (504, "no answer within request_timeout_s"),
}

CLIENT_CODES: dict[str, tuple[int, str]] = {
    "unexpected_answer": (502, "an answer of another shape or count; never filled up with a score"),
    "timed_out": (504, "the client's own deadline_s or timeout_s passed"),
    "no_scorer": (404, "no application of that name on the cluster"),
}
"""Raised by serve/client.py alone, in the same RequestError; a lost connection is `unavailable` there too."""

HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    405: {"Allow": {"schema": {"type": "string"}}},
    503: {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}},
}
GET_STATUSES = (401, 405, 500, 503, 504)
POST_STATUSES = (400, 401, 405, 413, 422, 500, 503, 504)


def declared(statuses: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` of a route that may answer with these."""
    return {status: _declared(status) for status in statuses}


def _declared(status: int) -> dict[str, Any]:
    codes = [f"`{code}`: {meaning}" for code, (of, meaning) in SERVER_CODES.items() if of == status]
    headers = {"headers": HEADERS[status]} if status in HEADERS else {}
    return {"model": ErrorAnswer, "description": "; ".join(codes), **headers}
