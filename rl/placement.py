"""Which resources each role's actors ask of Ray: apart on GPUs of their own, or together on one by shares below 1."""

from typing import Any, Literal

from wildreward.resources import Ask
from wildreward.settings.dpo import DpoSettings

Role = Literal["rollout", "scorer", "reference", "learner"]


def actor_options(settings: DpoSettings, role: Role) -> dict[str, Any]:
    """`num_cpus` and `num_gpus` of one actor of the role."""
    cpus, gpus = getattr(settings, f"{role}_cpus"), getattr(settings, f"{role}_gpus")
    on_gpu = settings.device == "cuda"
    return {
        "num_cpus": settings.cpus_per_actor if cpus is None else cpus,
        "num_gpus": (settings.gpus_per_actor if gpus is None else gpus) if on_gpu else 0,
    }


def asks(settings: DpoSettings) -> list[Ask]:
    """Every actor of a run. A LoRA policy is its own reference, with the adapter off: no actor for that."""
    roles: list[tuple[str, Role, int]] = [
        ("rollout engine", "rollout", settings.rollout_engines),
        ("scorer", "scorer", settings.scorers),
        ("reference", "reference", 0 if settings.lora_rank else 1),
        ("learner worker", "learner", settings.learner_workers),
    ]
    found = []
    for what, role, count in roles:
        options = actor_options(settings, role)
        if count:
            found.append(Ask(what, count, {"CPU": options["num_cpus"], "GPU": options["num_gpus"]}))
    return found
