"""Scalar reward models of other makers: AutoModelForSequenceClassification with one label, as on the Hugging Face Hub.

The raw logit is the score: no class probabilities and no scale of its own. The text is rendered by the tokenizer's own
chat template, or by a template file; special tokens come from the template alone, so that none is doubled.

    model = ScalarRewardModel.load("Skywork/Skywork-Reward-V2-Qwen3-0.6B")
    model.score([[{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]])[0].score
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch

from wildreward.errors import CheckpointError
from wildreward.pretrained import from_pretrained, pad
from wildreward.reward_model import CONFIG_KEY, Score, TextScorer, chat_template, check_positions
from wildreward.template import Encoded, InputTemplate


class ScalarRewardModel(TextScorer):
    """A loaded scalar reward model. Without a pad token in its tokenizer it reads one text at a time."""

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "cpu",
        dtype: str = "float32",
        template: InputTemplate | None = None,
        trust_remote_code: bool = False,
        *,
        chat_source: str | None = None,
    ) -> Self:
        """From a directory or hub id; without `template` by the tokenizer's chat template, or the jinja `chat_source`.

        Raises CheckpointError.
        """
        name = str(path)
        model, tokenizer = from_pretrained(name, dtype, trust_remote_code, must_pad=False)
        if model.config.num_labels != 1 or getattr(model.config, CONFIG_KEY, None) is not None:
            raise CheckpointError(f"{name}/config.json: not a scalar reward model: {model.config.num_labels} labels")
        chosen = template or chat_template(tokenizer, model.config, name, chat_source)
        check_positions(model.config, chosen, name)
        return cls(model.to(device), tokenizer, chosen, name)

    def describe(self) -> dict[str, Any]:
        note = (
            f"a scalar reward model read with the {self.template.kind} template, at most {self.max_tokens} tokens; its "
            "raw logit is the score, and there are no class probabilities"
        )
        return super().describe() | {"head": "scalar", "note": note}

    def score_encoded(self, items: Sequence[Encoded], batch_tokens: int = 8192) -> list[Score]:
        can_pad = self.tokenizer.pad_token_id is not None
        return super().score_encoded(items, batch_tokens if can_pad else 1)

    @torch.inference_mode()
    def _score_batch(self, items: Sequence[Encoded]) -> list[Score]:
        input_ids, attention_mask = pad([item.input_ids for item in items], self.tokenizer.pad_token_id or 0)
        output = self.model(input_ids=input_ids.to(self.device), attention_mask=attention_mask.to(self.device))
        return [
            Score(
                score=logit,
                logit=logit,
                tokens=len(item.input_ids),
                prompt_tokens_cut=item.prompt_tokens_cut,
                response_tokens_cut=item.response_tokens_cut,
            )
            for item, logit in zip(items, output.logits.float()[:, 0].tolist(), strict=True)
        ]
