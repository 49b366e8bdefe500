"""Which scorers the settings mean: the one that rewards, and a second one for evaluations, whom nobody trains for."""

import os
from dataclasses import dataclass

from rl.scorer import ScorerFactory
from wildreward.callable_scorer import CallableScorer
from wildreward.checkpoint import check_files
from wildreward.errors import UsageError
from wildreward.scorer import CheckpointScorer, ScorerSource
from wildreward.settings.dpo import SCORERS, DpoSettings

PATIENT_ATTEMPTS = 12
"""At each request to a running scorer, a minute in all: a replica that died is up again by then."""


@dataclass(frozen=True)
class RunScorers:
    """`identity` says what the scores depend on besides the texts: a run that is continued must have the same."""

    reward: ScorerFactory
    second: ScorerFactory | None = None
    identity: str = ""


def scorers_of(settings: DpoSettings) -> "dict[str, ScorerSource]":
    """`reward`, and `second` where there is one. Raises UsageError for what can be known to be wrong before a start."""
    found: dict[str, ScorerSource | None] = {}
    for name, prefix in (("reward", ""), ("second", "eval_")):
        given = {kind: getattr(settings, prefix + kind) for kind in (*SCORERS, "template")}
        try:
            found[name] = _source(settings, **given)
        except UsageError as error:
            raise UsageError(str(error).replace("--", f"--{prefix.replace('_', '-')}", 1)) from error
    if found["reward"] is None:
        raise UsageError("dpo: one of --checkpoint, --handle and --callable must say what scores")
    return {name: source for name, source in found.items() if source is not None}


def identity_of(sources: "dict[str, ScorerSource]") -> str:
    """On the connected cluster: a running scorer is asked what it is. Raises WildrewardError when it does not answer,
    UsageError when both scorers are the same one."""
    identities = [source.identity() for source in sources.values()]
    if len(set(identities)) < len(identities):
        raise UsageError("--eval-checkpoint, --eval-handle, --eval-callable: this is the scorer that gives the rewards")
    return " ".join(identities)


def _source(
    settings: DpoSettings, checkpoint: str | None, handle: str | None, callable: str | None, template: str | None
) -> "ScorerSource | None":
    if callable:
        named = CallableScorer(callable, os.getcwd())
        named.find()
        return named
    if handle:
        from serve.served_scorer import ServedScorer

        return ServedScorer(handle=handle, attempts=PATIENT_ATTEMPTS)
    if not checkpoint:
        return None
    check_files(checkpoint, template)
    options = settings.device, settings.dtype, settings.score_batch_tokens, settings.trust_remote_code
    return CheckpointScorer(checkpoint, template, *options)
