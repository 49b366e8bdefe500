"""The HTTP routes over `Scoring`, and their errors (serve/API.md). OpenAPI is at /openapi.json, its page at /docs."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from serve.error_codes import GET_STATUSES, POST_STATUSES, declared
from serve.guard import OPEN_PATHS, Guard
from serve.metrics import metrics
from serve.schema import (
    CompareAnswer,
    CompareRequest,
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
from serve.status import ReplicaCounter, StatusAnswer
from wildreward import __version__
from wildreward.settings.serve import ServeSettings

PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def http_app(scoring: Scoring, settings: ServeSettings, digests: Sequence[str], admission: Admission) -> FastAPI:
    """The ASGI application of one replica."""
    app = FastAPI(
        title="wildreward scorer",
        version=__version__,
        description="Scores replies with a reward model. Every answer that is not 2xx says why, naming the field.",
        docs_url=None,  # FastAPI's page loads its scripts from another host; ours is served below
        redoc_url=None,
    )
    _add_errors(app)
    _add_scoring(app, scoring)
    _add_status(app, scoring, settings, admission)
    _add_pages(app)
    _describe(app, with_token=bool(digests or settings.token_file))
    app.add_middleware(Guard, settings=settings, digests=digests, admission=admission, model_id=scoring.info.id)
    return app


def _add_scoring(app: FastAPI, scoring: Scoring) -> None:
    errors = declared(POST_STATUSES)

    @app.post("/get_reward", response_model=RewardAnswer, responses=errors)
    async def get_reward(request: RewardRequest) -> Response:
        """Score finished texts: the shape of WildReward's and OpenRLHF's reward servers."""
        return _json(await scoring.get_reward(request))

    @app.post("/v1/score", response_model=ScoreAnswer, responses=errors)
    async def score(request: ScoreRequest) -> Response:
        """Score conversations, or several replies to one prompt."""
        return _json(await scoring.score(request))

    @app.post("/v1/compare", response_model=CompareAnswer, responses=errors)
    async def compare(request: CompareRequest) -> Response:
        """Probability that reply A is better than reply B, from their class distributions."""
        return _json(await scoring.compare(request))


def _add_status(app: FastAPI, scoring: Scoring, settings: ServeSettings, admission: Admission) -> None:
    errors = declared(GET_STATUSES)
    replicas = ReplicaCounter()

    @app.get("/healthz", responses=errors)
    async def healthz() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @app.get("/readyz", responses=errors)
    async def readyz() -> dict[str, str]:
        """The model is loaded."""
        return {"status": "ready", "model": scoring.info.id}

    @app.get("/v1/model", response_model=ModelInfo, responses=errors)
    async def model() -> Response:
        """The checkpoint, its head, its classes, its template and its calibration."""
        return _json(scoring.info)

    @app.get("/v1/status", response_model=StatusAnswer, responses=errors)
    async def status() -> Response:
        """How many replicas there are, and how long the recent requests of this one took."""
        answer = StatusAnswer(
            model=scoring.info.id,
            replicas=await replicas.count(),
            min_replicas=settings.min_replicas,
            max_replicas=settings.max_replicas,
            ongoing=admission.inside,
            max_ongoing_requests=admission.limit,
            latency=scoring.latencies.summary(),
        )
        return _json(answer)


def _add_pages(app: FastAPI) -> None:
    """Self-contained: what they need is in the file, and the policy forbids everything else."""
    for path, name in (("/", "page.html"), ("/docs", "docs.html")):
        page = files("serve").joinpath(name).read_text(encoding="utf-8")
        app.add_api_route(path, _page(page), response_class=HTMLResponse, include_in_schema=False)


def _page(text: str) -> Any:
    async def page() -> HTMLResponse:
        return HTMLResponse(text, headers={"Content-Security-Policy": PAGE_POLICY})

    return page


def _describe(app: FastAPI, with_token: bool) -> None:
    """OpenAPI as FastAPI makes it, and which routes want a bearer token where tokens are configured."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            if with_token:
                schema["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
                for path, operations in schema["paths"].items():
                    for operation in operations.values():
                        operation["security"] = [] if path in OPEN_PATHS else [{"bearer": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema


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
