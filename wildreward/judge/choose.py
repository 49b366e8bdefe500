"""From settings to a judge. Only the judge that was chosen is imported."""

from wildreward.judge.shared import Shared
from wildreward.judge.types import Judge
from wildreward.settings.label import LabelSettings


def make_judge(settings: LabelSettings, shared: Shared | None = None) -> Judge:
    """The judge the settings name. Raises JudgeError when it cannot be had here (package missing, model unreadable).

    `shared`: what the judge actors of one run have in common; without it the judge has the run to itself.
    """
    if settings.judge == "openai":
        from wildreward.judge.openai_client import OpenAIJudge

        return OpenAIJudge(settings, shared)
    if settings.judge == "vllm":
        from wildreward.judge.vllm_engine import VllmJudge

        return VllmJudge(settings)
    from wildreward.judge.lexicon import LexiconJudge

    return LexiconJudge()
