"""Which resources each role's actors ask of Ray: apart on GPUs of their own, or together on one by shares below 1."""

from typing import Any, Literal

from wildreward.resources import Ask
from wildreward.settings.dpo import DpoSettings

Role = Literal["rollout", "scorer", "reference", "learner"]


def actor_options(settings: DpoSettings, role: Role, is_client: bool = False) -> dict[str, Any]:
    """`num_cpus` and `num_gpus` of one actor of the role. The client of a running application takes nothing: the
    application has its own place."""
    cpus, gpus = getattr(settings, f"{role}_cpus"), getattr(settings, f"{role}_gpus")
    on_gpu = settings.device == "cuda"
    if is_client:
        return {"num_cpus": 0, "num_gpus": 0}
    return {
        "num_cpus": settings.cpus_per_actor if cpus is None else cpus,
        "num_gpus": (settings.gpus_per_actor if gpus is None else gpus) if on_gpu else 0,
    }


def asks(settings: DpoSettings, second_scorer: bool = False) -> list[Ask]:
    """Every actor of a run. A LoRA policy is its own reference, with the adapter off: no actor for that."""
    counted: list[tuple[str, Role, int, bool]] = [
        ("rollout engine", "rollout", settings.rollout_engines, False),
        ("scorer", "scorer", settings.scorers, settings.handle is not None),
        ("second scorer", "scorer", int(second_scorer), settings.eval_handle is not None),
        ("reference", "reference", 0 if settings.lora_rank else 1, False),
        ("learner worker", "learner", settings.learner_workers, False),
    ]
    places = [(what, count, actor_options(settings, role, client)) for what, role, count, client in counted if count]
    return [Ask(what, count, {"CPU": place["num_cpus"], "GPU": place["num_gpus"]}) for what, count, place in places]
