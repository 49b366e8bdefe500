"""The HTTP routes over `Scoring`, and their errors. OpenAPI is at /openapi.json, a page to try them at /docs."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from serve.guard import Guard
from serve.metrics import metrics
from serve.schema import (
    CompareAnswer,
    CompareRequest,
    ErrorAnswer,
    ModelInfo,
    RequestError,
    RewardAnswer,
    RewardRequest,
    ScoreAnswer,
    ScoreRequest,
    Wire,
    refusal_of,
)
from serve.scoring import Admission, Scoring
from wildreward import __version__
from wildreward.settings.serve import ServeSettings

STATUSES = {
    400: "malformed JSON",
    401: "no valid bearer token",
    413: "body too large",
    422: "a field is wrong; `field` names it",
    503: "overloaded: Retry-After says when to come back",
    504: "deadline passed",
}
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
)


def http_app(scoring: Scoring, settings: ServeSettings, digests: Sequence[str], admission: Admission) -> FastAPI:
    """The ASGI application of one replica."""
    app = FastAPI(
        title="wildreward scorer",
        version=__version__,
        description="Scores replies with a reward model. `Authorization: Bearer TOKEN` where tokens are configured.",
        responses={status: {"model": ErrorAnswer, "description": text} for status, text in STATUSES.items()},
        redoc_url=None,
    )
    _add_errors(app)
    _add_scoring(app, scoring)
    _add_status(app, scoring)
    app.add_middleware(Guard, settings=settings, digests=digests, admission=admission, model_id=scoring.info.id)
    return app


def _add_scoring(app: FastAPI, scoring: Scoring) -> None:
    @app.post("/get_reward", response_model=RewardAnswer)
    async def get_reward(request: RewardRequest) -> Response:
        """Score finished texts: the shape of WildReward's and OpenRLHF's reward servers."""
        return _json(await scoring.get_reward(request))

    @app.post("/v1/score", response_model=ScoreAnswer)
    async def score(request: ScoreRequest) -> Response:
        """Score conversations, or several replies to one prompt."""
        return _json(await scoring.score(request))

    @app.post("/v1/compare", response_model=CompareAnswer)
    async def compare(request: CompareRequest) -> Response:
        """Probability that reply A is better than reply B: sigmoid(score A - score B)."""
        return _json(await scoring.compare(request))


def _add_status(app: FastAPI, scoring: Scoring) -> None:
    page = files("serve").joinpath("page.html").read_text(encoding="utf-8")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY})

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """The model is loaded."""
        return {"status": "ready", "model": scoring.info.id}

    @app.get("/v1/model", response_model=ModelInfo)
    async def model() -> Response:
        """The checkpoint, its head and its template."""
        return _json(scoring.info)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        return _refusal(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return _refusal(refusal_of(error.errors()))

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        codes = {400: "malformed_json", 404: "not_found", 405: "method_not_allowed"}
        code = codes.get(error.status_code, "http_error")
        return _refusal(RequestError(error.status_code, code, str(error.detail)), error.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        # The text of an unforeseen failure may hold what was sent; it goes to the log (Starlette raises it again).
        return _refusal(RequestError(500, "internal", f"the scorer failed ({type(error).__name__}); see its log"))


def _refusal(refusal: RequestError, headers: Any = None) -> Response:
    metrics().refusal(refusal.code)
    extra = dict(headers or {})
    if refusal.retry_after_s is not None:
        extra["Retry-After"] = str(refusal.retry_after_s)
    return JSONResponse(refusal.body(), status_code=refusal.status, headers=extra)


def _json(answer: Wire) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")
