"""Judges: who reads the user's next message and says how the reply before it was received.

judge = make_judge(settings)            # lexicon, openai or vllm
verdict = await judge.feedback(TurnText(history, prompt, response, follow_up))
"""

from wildreward.judge.choose import make_judge
from wildreward.judge.types import Judge, RefusalVerdict, TurnText, Verdict

__all__ = ["Judge", "RefusalVerdict", "TurnText", "Verdict", "make_judge"]
