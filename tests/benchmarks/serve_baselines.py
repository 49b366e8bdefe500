"""What the scorer is measured against: a plain FastAPI worker that scores request by request, a router over several.

    python -m tests.benchmarks.serve_baselines worker --checkpoint DIR --port 9001 --threads 1
    python -m tests.benchmarks.serve_baselines router --port 9000 --backend http://127.0.0.1:9001 http://127.0.0.1:9002

The shape of the usual reward servers of RLHF projects: one model in one uvicorn process, the request's texts as one
batch, no batching over requests, a round-robin router in front.
"""

import argparse
import itertools
from typing import Any

import httpx2
import torch
import uvicorn
from fastapi import FastAPI, Request
from transformers import AutoModelForSequenceClassification, AutoTokenizer

MAX_TOKENS = 512


def worker(checkpoint: str, threads: int) -> FastAPI:
    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    app = FastAPI()

    @app.post("/get_reward")
    async def get_reward(request: Request) -> dict[str, Any]:
        texts = (await request.json())["query"]
        with torch.inference_mode():
            inputs = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=MAX_TOKENS)
            logits = model(**inputs).logits
        return {"rewards": (1 + torch.sigmoid(logits).sum(-1)).tolist()}

    return app


def router(backends: list[str]) -> FastAPI:
    app = FastAPI()
    turn = itertools.cycle(backends)
    http = httpx2.AsyncClient(timeout=200, limits=httpx2.Limits(max_connections=256))

    @app.post("/get_reward")
    async def get_reward(request: Request) -> Any:
        return (await http.post(f"{next(turn)}/get_reward", content=await request.body())).json()

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["worker", "router"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--checkpoint")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backend", nargs="*", default=[])
    args = parser.parse_args()
    app = worker(args.checkpoint, args.threads) if args.what == "worker" else router(args.backend)
    uvicorn.run(app, host="127.0.0.1", port=args.port, log_level="error", access_log=False)


if __name__ == "__main__":
    main()
